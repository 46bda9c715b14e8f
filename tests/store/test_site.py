"""edge.store.site: what people decided, and who may talk to us."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.errors import Corrupt, Refused
from edge.model import AETitle, Peer
from edge.store import site
from edge.store.site import SiteState

CT = Peer(AETitle("CT99"), address="10.0.0.8", host="10.0.0.8", port=104, rights=frozenset({"store"}), accept_quarantined=True)
VIEWER = Peer(AETitle("VIEWER"), address="10.1.0.0/16", host="viewer.local", port=11112, max_pdu_bytes=16384, idle_seconds=5.5)
ANYWHERE = Peer(AETitle("ANY"))


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
    assert state.destination(AETitle("CT99")) == changed
    assert state.remove_peer(AETitle("CT99"))
    assert not state.remove_peer(AETitle("CT99"))
    assert state.peers() == [ANYWHERE, VIEWER]


@pytest.mark.parametrize(
    ("title", "address", "admitted"),
    [
        ("CT99", "10.0.0.8", True),
        ("CT99", "10.0.0.9", False),
        ("CT99", "::1", False),
        ("VIEWER", "10.1.255.3", True),
        ("VIEWER", "10.2.0.1", False),
        ("ANY", "192.0.2.1", True),
        ("ANY", "2001:db8::1", True),
        ("ct99", "10.0.0.8", False),
        ("NOBODY", "10.0.0.8", False),
    ],
)
def test_who_is_not_in_the_table_is_not_admitted(state: SiteState, title: str, address: str, admitted: bool) -> None:
    assert (state.admit(AETitle(title), address) is not None) == admitted


@pytest.mark.parametrize(
    "peer", [Peer(AETitle("")), Peer(AETitle("X" * 17)), Peer(AETitle("X"), port=0), Peer(AETitle("X"), max_pdu_bytes=1)]
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
    before, changes = state.copy(), state.changes
    state.put_peer(Peer(AETitle("NEW")))
    assert state.changes > changes
    assert state.copy() != before
    state.remove_peer(AETitle("NEW"))
    assert state.copy() == before
    assert len(site.digest(before)) == 64


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
