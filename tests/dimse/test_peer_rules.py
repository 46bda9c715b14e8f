"""What the row of a peer changes in the services, and what the audit trail is told of them."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator

import msgspec
import pydicom
import pytest
from pynetdicom import build_role, evt
from pynetdicom.association import Association

from edge.audit import Event, Queried, Retrieved, StoreRefused
from edge.dimse import status
from edge.dimse.ports import Outcome
from edge.model import AETitle, Peer
from tests.dimse.fakes import CT, EVERYTHING, HERE, MR, Box, box, instances
from tests.dimse.test_find import STUDY_FIND, identifier, named
from tests.dimse.test_retrieve import MOVE, STUDY_GET, accepts, counts, destination, move, same_study
from tests.dimse.test_storage import CT_CLASS, EXPLICIT, associated


@contextlib.contextmanager
def served_to(held: list, **fields: object) -> Iterator[Box]:
    """A box whose peer TEST has these fields in its row."""
    with box(held) as served:
        served.peers.peers["TEST"] = Peer(AETitle("TEST"), rights=EVERYTHING, **fields)  # type: ignore[arg-type]
        yield served


def of(served: Box, kind: type[Event]) -> list[Event]:
    return [event for event in served.audit.events if isinstance(event, kind)]


def get(served: Box, held: list) -> tuple[pydicom.Dataset, list[str]]:
    """The final response of a C-GET of the study, and what came."""
    received: list[str] = []

    def store(event) -> int:
        received.append(event.request.AffectedSOPInstanceUID)
        return 0

    contexts = [(STUDY_GET, [EXPLICIT]), *((one.located.sop_class, [one.located.transfer_syntax]) for one in held)]
    roles = [build_role(one.located.sop_class, scp_role=True) for one in held]
    with associated(served, *contexts, ext_neg=roles, evt_handlers=[(evt.EVT_C_STORE, store)]) as association:
        *_, (final, _) = association.send_c_get(identifier("STUDY", StudyInstanceUID="1.2.3.4"), STUDY_GET)
    return final, received


def test_classes_that_a_peer_does_not_want_are_left_out_of_what_it_gets() -> None:
    held = same_study(CT, MR)
    with served_to(held, send_skip_sop_classes=frozenset({held[1].located.sop_class})) as served:
        final, received = get(served, held)
    assert (final.Status, counts(final)) == (0x0000, (1, 0, 0))
    assert received == [held[0].located.sop_instance]


def test_classes_that_a_destination_does_not_want_are_left_out_of_what_is_moved_there() -> None:
    held = same_study(CT, MR)
    with box(held) as served, destination(served, *accepts(held[:1])) as there:
        row = served.peers.peers["DEST"]
        served.peers.peers["DEST"] = dataclasses.replace(row, send_skip_sop_classes=frozenset({held[1].located.sop_class}))
        with associated(served, MOVE) as association:
            *_, (final, _) = move(association)
    assert (final.Status, counts(final)) == (0x0000, (1, 0, 0))
    assert list(there.received) == [held[0].located.sop_instance]


@pytest.mark.parametrize("arrived", [0, 1])
def test_a_retrieve_ends_at_the_limit_of_its_peer_whatever_is_missing(arrived: int) -> None:
    held = same_study(CT, MR)
    expected = (0xB000, (1, 1, 0)) if arrived else (0xA702, (0, 2, 0))
    with served_to(held, retrieve_limit_seconds=1.2) as served, destination(served, *accepts(held)):
        for ask in (lambda: get(served, held)[0], lambda: moved(served)):
            served.retrieve.gate = threading.Semaphore(arrived)
            began = time.monotonic()
            final = ask()
            assert time.monotonic() - began < 10  # what is missing never comes
            assert (final.Status, counts(final)) == expected
            assert final.ErrorComment.startswith("Not all is here yet")


def moved(served: Box) -> pydicom.Dataset:
    with associated(served, MOVE) as association:
        *_, (final, _) = move(association)
    return final


def test_a_query_without_a_character_set_is_read_and_answered_in_that_of_its_peer() -> None:
    with served_to([named("Müller^Jürgen")], query_charset="ISO_IR 100") as served, associated(served, (STUDY_FIND, [EXPLICIT])) as asker:
        asked = identifier("STUDY", StudyInstanceUID="")
        asked.add_new("PatientName", "PN", "Müller*".encode("latin-1"))
        (_, found), _ = list(asker.send_c_find(asked, STUDY_FIND))
    assert served.index.queries[0].matching["00100010"] == "Müller*"
    assert found.SpecificCharacterSet == "ISO_IR 100"
    assert found.PatientName == "Müller^Jürgen"


def test_what_the_character_set_of_a_peer_cannot_express_is_answered_in_utf_8() -> None:
    with served_to([named("山田^太郎")], query_charset="ISO_IR 100") as served, associated(served, (STUDY_FIND, [EXPLICIT])) as asker:
        (_, found), _ = list(asker.send_c_find(identifier("STUDY", StudyInstanceUID="", PatientName=""), STUDY_FIND))
    assert found.SpecificCharacterSet == "ISO_IR 192"
    assert found.PatientName == "山田^太郎"


def test_a_query_is_audited_by_its_keys_and_never_by_their_values() -> None:
    with box(instances(CT, MR)) as served, associated(served, (STUDY_FIND, [EXPLICIT])) as asker:
        assert len(list(asker.send_c_find(identifier("STUDY", PatientName="Compressed*", StudyInstanceUID=""), STUDY_FIND))) == 3
        (event,) = of(served, Queried)
    asked = Queried(calling="TEST", called="OUTPOST", address=HERE, level="STUDY", keys=["00100010"], matches=2, status=0)
    assert event == msgspec.structs.replace(asked, sop_class=STUDY_FIND)


def test_a_retrieve_is_audited_when_it_begins_and_when_it_ends() -> None:
    held = same_study(CT, MR)
    with box(held) as served, destination(served, *accepts(held)):
        moved(served)
        begun, ended = of(served, Retrieved)
    assert isinstance(begun, Retrieved)
    assert isinstance(ended, Retrieved)
    assert (begun.service, begun.destination, begun.uids, begun.instances) == ("C-MOVE", "DEST", ["1.2.3.4"], 2)
    assert (begun.state, begun.status, ended.state, ended.status, ended.completed) == ("begun", None, "ended", 0, 2)


def test_a_retrieve_to_nowhere_and_one_that_breaks_off_are_audited() -> None:
    held = same_study(CT, MR)
    with served_to(held) as served:
        moved(served)
        (nowhere,) = of(served, Retrieved)
        assert isinstance(nowhere, Retrieved)
        assert (nowhere.state, nowhere.status, nowhere.uids) == ("ended", status.DESTINATION_UNKNOWN, [])
        served.audit.events.clear()
        served.retrieve.gate = threading.Semaphore(0)
        with associated(served, (STUDY_GET, [EXPLICIT])) as association:
            _begin_get(association)
            until = time.monotonic() + 5
            while not of(served, Retrieved) and time.monotonic() < until:
                threading.Event().wait(0.01)
            association.abort()
        served.server.stop(5)
        assert [event.state for event in of(served, Retrieved) if isinstance(event, Retrieved)] == ["begun", "broken"]


def _begin_get(association: Association) -> None:
    answers = association.send_c_get(identifier("STUDY", StudyInstanceUID="1.2.3.4"), STUDY_GET)
    threading.Thread(target=lambda: list(answers), daemon=True).start()


def test_a_refused_instance_is_audited_with_the_reason() -> None:
    (one,) = instances(CT)
    with box() as served, associated(served, (CT_CLASS, [EXPLICIT])) as association:
        served.intake.outcome = Outcome.CONTRADICTORY
        assert association.send_c_store(one.path).Status == status.DATASET_MISMATCH
        served.intake.outcome = Outcome.STORED
        assert association.send_c_store(one.path).Status == status.SUCCESS
        (event,) = of(served, StoreRefused)
    assert isinstance(event, StoreRefused)
    assert (event.reason, event.instances, event.status) == ("it contradicts itself", [one.located.sop_instance], 0xA900)


def test_while_the_audit_trail_is_full_nobody_sees_anything_and_reception_goes_on() -> None:
    held = same_study(CT)
    contexts = (STUDY_FIND, [EXPLICIT]), MOVE, (CT_CLASS, [EXPLICIT])
    with box(held) as served, destination(served, *accepts(held)) as there, associated(served, *contexts) as association:
        served.audit.full = True
        ((found, _),) = association.send_c_find(identifier("STUDY", StudyInstanceUID=""), STUDY_FIND)
        assert (found.Status, found.ErrorComment[:24]) == (0xA700, "The audit trail cannot b")
        *_, (final, _) = move(association)
        assert final.Status == 0xA702
        assert there.received == {}
        assert association.send_c_store(held[0].path).Status == 0x0000
