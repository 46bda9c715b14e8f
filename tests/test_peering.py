"""edge.peering: what a person enters about peers is checked, kept, audited; who was turned away is let in from where it was seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from edge.audit import PeerChanged
from edge.config import Config, Dicom
from edge.control.peers import ApprovePeer, ListCallers, ListPeers, PutPeer, RemovePeer
from edge.dimse.associate import UserIdentity
from edge.dimse.identity import is_shown
from edge.errors import Refused
from edge.model import AETitle
from edge.peering import Peering, PeerTable
from edge.store.callers import MOST, MOST_OF_ONE_ADDRESS, Callers
from edge.store.catalogue import Catalogue
from edge.store.site import SiteState
from tests.dimse.fakes import FakeAudit
from tests.responses import answers
from tests.store.rows import Clock

EVERY_FIELD = PutPeer(
    ae_title="CT1",
    address="10.0.0.0/24",
    host="ct1.local",
    port=2762,
    tls=True,
    tls_subject="CN=ct1,O=Clinic",
    user_name="reader",
    passcode="grüße",
    rights=["commit", "store"],
    accept_syntaxes=["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"],
    max_pdu_bytes=16_384,
    idle_seconds=5.5,
    max_associations=3,
    send_associations=2,
    default_issuer="CLINIC",
    query_charset="ISO 2022 IR 6\\ISO 2022 IR 87",
    commitment="two_copies",
    report_after_seconds=60.0,
    commitment_falls_back=True,
    urgency="background",
    send_skip_sop_classes=["1.2.840.10008.5.1.4.1.1.88.59"],
    accept_quarantined=True,
    retrieve_limit_seconds=45.0,
)


class Desk:
    """Peering on a site and a catalogue of its own."""

    def __init__(self, place: Path) -> None:
        self.clock = Clock()
        self.catalogue = Catalogue(place / "catalogue.db")
        self.site = SiteState(place / "site.db")
        self.callers = Callers(self.catalogue, self.clock)
        self.audit = FakeAudit()
        self.table = PeerTable(self.site, self.callers)
        dicom = Dicom(max_pdu_bytes=65_536, idle_seconds=30.0)
        self.peering = Peering(Config(dicom=dicom), self.site, self.callers, self.audit)

    def ask(self, request: object) -> list:
        return answers(self.peering, request, 1000)  # type: ignore[arg-type]

    def knock(self, title: str, address: str = "10.0.0.8") -> None:
        self.clock.time += 1
        self.table.turned_away(AETitle(title), "OUTPOST", address, "no peer has this AE title")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.site.close()
    made.catalogue.close()


def test_every_field_is_kept_and_shown(desk: Desk) -> None:
    (row,) = desk.ask(EVERY_FIELD)
    assert msgspec.structs.asdict(row) == msgspec.structs.asdict(EVERY_FIELD) | {"passcode": True}
    assert desk.ask(ListPeers()) == [row]


def test_a_passcode_is_kept_as_a_hash_that_proves_it(desk: Desk) -> None:
    desk.ask(EVERY_FIELD)
    peer = desk.site.peer(AETitle("CT1"))
    assert peer is not None
    assert "grüße" not in peer.passcode
    assert is_shown(peer, UserIdentity(2, False, b"reader", "grüße".encode()))
    (row,) = desk.ask(PutPeer(ae_title="CT1", passcode=""))
    assert not row.passcode
    assert desk.site.peer(AETitle("CT1")).passcode == ""  # type: ignore[union-attr]


def test_what_is_not_named_stays_and_is_the_default_of_the_site_at_first(desk: Desk) -> None:
    (row,) = desk.ask(PutPeer(ae_title="CT1"))
    assert (row.max_pdu_bytes, row.idle_seconds, row.rights) == (65_536, 30.0, ["find", "get", "move", "store"])
    desk.ask(EVERY_FIELD)
    (row,) = desk.ask(PutPeer(ae_title="CT1", urgency="stat"))
    assert msgspec.structs.asdict(row) == msgspec.structs.asdict(EVERY_FIELD) | {"urgency": "stat", "passcode": True}
    (row,) = desk.ask(PutPeer(ae_title="CT1", tls_subject="", accept_syntaxes=[], tls=False))
    assert (row.tls_subject, row.accept_syntaxes, row.tls, row.host) == ("", [], False, "ct1.local")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"ae_title": ""}, "no AE title"),
        ({"ae_title": "SEVENTEEN_LETTERS"}, "no AE title"),
        ({"address": "10.0.0.300"}, "no address and no network"),
        ({"address": "10.0.0.1/24"}, "has host bits set"),
        ({"address": "ct1.local"}, "no address and no network"),
        ({"port": 0}, "no port"),
        ({"rights": ["rule"]}, "no right rule"),
        ({"accept_syntaxes": ["JPEG"]}, "'JPEG' is no UID"),
        ({"send_skip_sop_classes": ["1..2"]}, "is no UID"),
        ({"max_pdu_bytes": 100}, "out of range: use 4096"),
        ({"idle_seconds": 0.0}, "idle seconds: 0.0 is out of range"),
        ({"idle_seconds": float("inf")}, "out of range"),
        ({"max_associations": -1}, "cannot be"),
        ({"default_issuer": "A\\B"}, "no backslash"),
        ({"user_name": "A" * 65}, "at most 64"),
        ({"passcode": "secret"}, "that of a user"),
        ({"default_issuer": "A\nB"}, "cannot be printed"),
        ({"query_charset": "latin1"}, "no defined term"),
        ({"commitment": "never"}, "Use one of local, two_copies, archived"),
        ({"urgency": "now"}, "Use one of stat, routine, background"),
        ({"report_after_seconds": -1.0}, "out of range"),
        ({"retrieve_limit_seconds": -1.0}, "out of range"),
        ({"tls": True}, "no host"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason_and_changes_nothing(desk: Desk, fields: dict[str, object], says: str) -> None:
    with pytest.raises(Refused, match=says):
        desk.ask(PutPeer(**{"ae_title": "CT1", **fields}))  # type: ignore[arg-type]
    assert desk.ask(ListPeers()) == []
    assert desk.audit.events == []


def test_every_change_is_audited_by_the_names_of_the_fields(desk: Desk) -> None:
    desk.ask(PutPeer(ae_title="CT1", address="10.0.0.8", rights=["store"]))
    desk.ask(PutPeer(ae_title="CT1", urgency="stat", rights=["store"]))
    desk.ask(RemovePeer(ae_title="CT1"))
    assert desk.audit.events == [
        PeerChanged(user=1000, peer="CT1", change="added", fields=["address", "rights", "max_pdu_bytes", "idle_seconds"]),
        PeerChanged(user=1000, peer="CT1", change="changed", fields=["urgency"]),
        PeerChanged(user=1000, peer="CT1", change="removed", fields=[]),
    ]


def test_who_was_turned_away_is_listed_and_approved_from_where_it_was_seen(desk: Desk) -> None:
    for _ in range(3):
        desk.knock("CT1")
    desk.knock("CT2")
    later, row = desk.ask(ListCallers())
    assert later.ae_title == "CT2"
    assert (row.ae_title, row.address, row.called, row.times, row.last_at - row.first_at) == ("CT1", "10.0.0.8", "OUTPOST", 3, 2.0)
    (peer,) = desk.ask(ApprovePeer(ae_title="CT1", rights=["store"]))
    assert (peer.ae_title, peer.address, peer.rights) == ("CT1", "10.0.0.8", ["store"])
    assert [row.ae_title for row in desk.ask(ListCallers())] == ["CT2"]
    (event,) = desk.audit.events
    assert isinstance(event, PeerChanged)
    assert event.change == "approved"


def test_one_of_several_addresses_has_to_be_chosen(desk: Desk) -> None:
    desk.knock("CT1")
    desk.knock("CT1", "10.0.0.9")
    with pytest.raises(Refused, match=r"called from 10\.0\.0\.8, 10\.0\.0\.9. Say which with --address"):
        desk.ask(ApprovePeer(ae_title="CT1"))
    (peer,) = desk.ask(ApprovePeer(ae_title="CT1", address="10.0.0.9"))
    assert peer.address == "10.0.0.9"
    assert desk.ask(ListCallers()) == []


def test_nobody_is_approved_who_did_not_call_or_is_a_peer_already(desk: Desk) -> None:
    with pytest.raises(Refused, match="Nobody called as 'CT1'"):
        desk.ask(ApprovePeer(ae_title="CT1"))
    desk.ask(PutPeer(ae_title="CT1", address="10.0.0.8"))
    desk.knock("CT1", "10.0.0.66")
    with pytest.raises(Refused, match="is a peer already"):
        desk.ask(ApprovePeer(ae_title="CT1"))
    assert desk.site.peer(AETitle("CT1")).address == "10.0.0.8"  # type: ignore[union-attr]


def test_who_tries_many_names_pushes_out_only_its_own(desk: Desk) -> None:
    desk.knock("CT1")
    for number in range(3 * MOST_OF_ONE_ADDRESS):
        desk.knock(f"X{number}", "10.0.0.66")
    rows = desk.ask(ListCallers())
    assert [row.ae_title for row in rows if row.address == "10.0.0.8"] == ["CT1"]
    mine = [row.ae_title for row in rows if row.address == "10.0.0.66"]
    assert mine == [f"X{number}" for number in reversed(range(2 * MOST_OF_ONE_ADDRESS, 3 * MOST_OF_ONE_ADDRESS))]


def test_the_list_is_capped_in_all(desk: Desk) -> None:
    for number in range(MOST + 10):
        desk.knock("CT1", f"10.0.{number // 256}.{number % 256}")
    assert len(desk.ask(ListCallers())) == MOST


def test_strangers_change_nothing_of_what_is_copied_to_the_archive(desk: Desk) -> None:
    before = desk.site.copy()
    desk.knock("CT1")
    assert desk.site.copy() == before
