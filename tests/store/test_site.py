"""edge.store.site: what people decided, and who may talk to us."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge.errors import Corrupt, Refused, StoreFailed, StoreFull
from edge.model import UID, AETitle, Commitment, Correction, Peer, Urgency
from edge.store import site
from edge.store.commitments import CommitmentRows
from edge.store.decisions import Decisions
from edge.store.pins import Pin, Pins
from edge.store.routes import Route, RouteTable
from edge.store.site import SiteState
from edge.store.variants import Choice

PAIR = (UID("1.2.840.10008.5.1.4.1.1.2"), UID("1.2.3.4"))

CT = Peer(AETitle("CT99"), address="10.0.0.8", host="10.0.0.8", port=104, rights=frozenset({"store"}), accept_quarantined=True)
VIEWER = Peer(AETitle("VIEWER"), address="10.1.0.0/16", host="viewer.local", port=11112, max_pdu_bytes=16384, idle_seconds=5.5)
ANYWHERE = Peer(AETitle("ANY"))
FULL = Peer(
    AETitle("FULL"),
    address="10.0.0.0/8",
    host="full.local",
    port=2762,
    tls=True,
    tls_subject="CN=full,O=Clinic",
    user_name="reader",
    passcode="scrypt:00:11",
    rights=frozenset({"store", "commit"}),
    accept_syntaxes=frozenset({UID("1.2.840.10008.1.2"), UID("1.2.840.10008.1.2.1")}),
    max_pdu_bytes=16_384,
    idle_seconds=5.5,
    max_associations=3,
    send_associations=2,
    default_issuer="CLINIC",
    query_charset="ISO_IR 100",
    commitment=Commitment.ARCHIVED,
    report_after_seconds=7200.0,
    commitment_falls_back=True,
    urgency=Urgency.BACKGROUND,
    send_skip_sop_classes=frozenset({UID("1.2.840.10008.5.1.4.1.1.88.59")}),
    accept_quarantined=True,
    retrieve_limit_seconds=45.0,
)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[SiteState]:
    made = SiteState(tmp_path / "site.db")
    for peer in (VIEWER, CT, ANYWHERE):
        made.put_peer(peer)
    yield made
    made.close()


def test_peers_come_back_as_they_were_put_and_are_changed_by_their_title(state: SiteState) -> None:
    assert state.peers() == [ANYWHERE, CT, VIEWER]
    changed = Peer(AETitle("CT99"), address="10.0.0.9", rights=frozenset())
    state.put_peer(changed)
    assert state.peer(AETitle("CT99")) == changed
    assert state.remove_peer(AETitle("CT99"))
    assert not state.remove_peer(AETitle("CT99"))
    assert state.peers() == [ANYWHERE, VIEWER]


def test_a_peer_keeps_each_of_its_fields(state: SiteState) -> None:
    for peer in (FULL, Peer(FULL.ae_title)):
        state.put_peer(peer)
        assert state.peer(FULL.ae_title) == peer


def test_only_a_peer_with_a_host_is_called_back(state: SiteState) -> None:
    assert state.destination(CT.ae_title) == CT
    assert state.peer(ANYWHERE.ae_title) == ANYWHERE
    assert state.destination(ANYWHERE.ae_title) is None
    assert state.peer(AETitle("ct99")) is None


@pytest.mark.parametrize(
    "peer",
    [
        Peer(AETitle("")),
        Peer(AETitle("X" * 17)),
        Peer(AETitle("X"), port=0),
        Peer(AETitle("X"), max_pdu_bytes=1),
        Peer(AETitle("X"), max_associations=-1),
        Peer(AETitle("X"), send_associations=0),
        Peer(AETitle("X"), report_after_seconds=0),
        Peer(AETitle("X"), retrieve_limit_seconds=-1),
    ],
)
def test_the_schema_refuses_a_peer_that_cannot_be(state: SiteState, peer: Peer) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        state.put_peer(peer)


def test_a_copy_makes_the_same_site_again(state: SiteState, tmp_path: Path) -> None:
    copy = state.copy()
    site.restore(tmp_path / "other.db", copy)
    again = SiteState(tmp_path / "other.db")
    assert again.peers() == state.peers()
    assert again.copy() == copy
    again.close()


def test_a_copy_is_a_function_of_the_decisions(state: SiteState) -> None:
    before = state.copy()
    state.put_peer(Peer(AETitle("NEW")))
    assert state.copy() != before
    state.remove_peer(AETitle("NEW"))
    assert state.copy() == before
    assert len(site.digest(before)) == 64


def test_a_copy_holds_the_errands_that_are_not_done_and_nothing_of_how_they_fare(state: SiteState, tmp_path: Path) -> None:
    rows = CommitmentRows(state)
    before = state.copy()
    number = rows.ask(UID("1.2.3"), CT.ae_title, AETitle("OUTPOST"), [PAIR], now=1.0, next_at=1.0, reused=0)
    rows.seek(UID("1.2.4"), CT.ae_title, 1, now=1.0)
    waiting = state.copy()
    rows.postpone(number, 60.0)
    assert state.copy() == waiting != before
    rows.decide(number, [], 61.0)
    decided = state.copy()
    rows.report_failed(number, "nobody answers", 90.0)
    rows.hurry(CT.ae_title, 80.0)
    assert state.copy() == decided != waiting
    site.restore(tmp_path / "other.db", decided)
    with closing(SiteState(tmp_path / "other.db")) as other:
        assert [(one.transaction, one.wanted, one.attempts) for one in CommitmentRows(other).due(1.0, ())] == [("1.2.3", (PAIR,), 0)]
    rows.end(number, 95.0, delivered=True)
    rows.answer(UID("1.2.4"), CT.ae_title, [], 95.0)
    assert state.copy() == before


def test_a_copy_holds_the_settings_of_the_box_that_makes_it_alone(state: SiteState, tmp_path: Path) -> None:
    assert state.settings() == {}
    settings = {"outpost.toml": b"[site]", "key_file": b"-----"}
    copy = state.copy(settings)
    assert state.settings() == {}
    site.restore(tmp_path / "other.db", copy)
    with closing(SiteState(tmp_path / "other.db")) as other:
        assert other.settings() == settings
        assert other.copy(settings) == copy
        assert other.copy() == state.copy()


def test_only_what_a_person_decided_is_said_to_be_decided(tmp_path: Path) -> None:
    said: list[str] = []
    with closing(SiteState(tmp_path / "site.db", lambda: said.append("decided"))) as state:
        rows, routes = CommitmentRows(state), RouteTable(state)
        number = rows.ask(UID("1.2.3"), CT.ae_title, AETitle("OUTPOST"), [PAIR], now=1.0, next_at=1.0, reused=0)
        rows.postpone(number, 60.0)
        rows.end(number, 61.0, delivered=False)
        routes.move_since("night", 1.0)
        state.remove_peer(AETitle("NOBODY"))
        assert not said
        routes.put(Route("night", "CT99", "", "", "", "", (), "", "", "", 0.0))
        Pins(state).put(Pin(UID("1.2"), None, 1.0))
        Decisions(state).put_correction(Correction(UID("1.2"), {}, 1.0, rejected=True))
        Decisions(state).put_choice(Choice(UID("1.2"), UID("1.2.3"), UID("1.2.3.4"), None, 1.0))
        state.put_peer(CT)
        state.remove_peer(CT.ae_title)
        assert len(said) == 6


@pytest.mark.parametrize("damage", [b"", b"not zstd at all"])
def test_what_is_no_copy_is_corrupt_and_leaves_no_site(tmp_path: Path, damage: bytes) -> None:
    with pytest.raises(Corrupt):
        site.restore(tmp_path / "site.db", damage)
    assert not (tmp_path / "site.db").exists()


def test_a_site_of_a_newer_outpost_is_refused(tmp_path: Path) -> None:
    SiteState(tmp_path / "site.db").close()
    with sqlite3.connect(tmp_path / "site.db") as beside:
        beside.execute("PRAGMA user_version = 99")
    beside.close()
    with pytest.raises(Refused, match="newer Outpost"):
        SiteState(tmp_path / "site.db")


def test_damage_anywhere_in_the_site_state_is_named_with_its_cure(tmp_path: Path) -> None:
    with closing(SiteState(tmp_path / "site.db")) as state:
        for number in range(100):
            state.put_peer(Peer(AETitle(f"CT{number}")))
    whole = (tmp_path / "site.db").read_bytes()
    for page in range(0, len(whole), 4096):
        path = tmp_path / f"damaged{page}.db"
        path.write_bytes(whole[:page] + b"\xff" * 4096 + whole[page + 4096 :])
        with pytest.raises(Corrupt, match="outpost site restore"):
            SiteState(path)


def test_a_copy_takes_the_place_of_what_is_damaged_and_its_log(state: SiteState, tmp_path: Path) -> None:
    copy, peers = state.copy(), state.peers()
    path = tmp_path / "damaged.db"
    path.write_bytes(b"not a database at all")
    path.with_name("damaged.db-wal").write_bytes(b"a log of that")
    site.restore(path, copy)
    assert path.with_name("damaged.db.old").read_bytes() == b"not a database at all"
    assert not path.with_name("damaged.db-wal").exists()
    with closing(SiteState(path)) as again:
        assert again.peers() == peers


@pytest.fixture
def file_size_limit() -> Iterator[Callable[[int], None]]:
    """Sets how large a file this process may make, until the test ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_refuses_a_peer_is_an_error_of_ours(state: SiteState, file_size_limit: Callable[[int], None]) -> None:
    file_size_limit(4096)
    for refused in (lambda: state.put_peer(FULL), lambda: state.remove_peer(CT.ae_title)):
        with pytest.raises((StoreFull, StoreFailed)):
            refused()
    file_size_limit(resource.RLIM_INFINITY)
    assert state.peers() == [ANYWHERE, CT, VIEWER]
