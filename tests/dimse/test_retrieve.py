"""C-MOVE and C-GET as SCP, with pynetdicom as mover, getter and destination."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pydicom
import pytest
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association

from edge.errors import Refused, Transient
from edge.model import AETitle, Peer
from tests.dimse.fakes import CT, HERE, MR, MR_IMPLICIT, MR_JPEGLS, MR_RLE, PATIENT, Box, Instance, box, instances, video
from tests.dimse.test_find import identifier
from tests.dimse.test_storage import EXPLICIT, IMPLICIT, associated
from tests.servers import until

PATIENT_MOVE, STUDY_MOVE = "1.2.840.10008.5.1.4.1.2.1.2", "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_GET = "1.2.840.10008.5.1.4.1.2.2.3"
MOVE = (STUDY_MOVE, [EXPLICIT])


@dataclass
class Destination:
    """A C-STORE SCP that keeps what it gets as (transfer syntax, dataset bytes), and lets the test decide the status."""

    port: int = 0
    received: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    originators: list[tuple[str, int]] = field(default_factory=list)
    associations: int = 0
    releases: int = 0
    status: Callable[[], int] = lambda: 0x0000

    def store(self, event: evt.Event) -> int:
        request = event.request
        self.originators.append((request.MoveOriginatorApplicationEntityTitle, request.MoveOriginatorMessageID))
        self.received[request.AffectedSOPInstanceUID] = event.context.transfer_syntax, request.DataSet.getvalue()
        return self.status()

    def opened(self, _: evt.Event) -> None:
        self.associations += 1

    def closed(self, _: evt.Event) -> None:
        self.releases += 1


@contextlib.contextmanager
def destination(served: Box, *accepts: tuple[str, list[str]]) -> Iterator[Destination]:
    entity = AE("DEST")
    entity.maximum_pdu_size = 16384
    for abstract, syntaxes in (("1.2.840.10008.1.1", [IMPLICIT]), *accepts):
        entity.add_supported_context(abstract, syntaxes)
    found = Destination()
    handlers = [(evt.EVT_C_STORE, found.store), (evt.EVT_ACCEPTED, found.opened), (evt.EVT_RELEASED, found.closed)]
    server = entity.start_server((HERE, 0), block=False, evt_handlers=handlers)
    found.port = server.socket.getsockname()[1]
    served.peers.peers["DEST"] = Peer(AETitle("DEST"), host=HERE, port=found.port)
    try:
        yield found
    finally:
        server.shutdown()


def same_study(*names: str) -> list[Instance]:
    """Instances of different files as if they were of one study."""
    held = instances(*names)
    study = {"0020000D": {"vr": "UI", "Value": ["1.2.3.4"]}}
    return [Instance(one.path, one.located, {**one.attributes, **study}) for one in held]


def move(association: Association, **keys: str) -> list[tuple[pydicom.Dataset, pydicom.Dataset | None]]:
    keys = keys or {"StudyInstanceUID": "1.2.3.4"}
    return list(association.send_c_move(identifier("STUDY", **keys), "DEST", STUDY_MOVE, msg_id=9))


def accepts(held: list[Instance], *syntaxes: str) -> list[tuple[str, list[str]]]:
    return [(one.located.sop_class, list(syntaxes) or [one.located.transfer_syntax]) for one in held]


def counts(status: pydicom.Dataset) -> tuple[int, int, int]:
    return status.NumberOfCompletedSuboperations, status.NumberOfFailedSuboperations, status.NumberOfWarningSuboperations


def test_a_study_moves_byte_for_byte_in_the_syntaxes_it_is_stored_in() -> None:
    held = same_study(CT, MR_RLE, MR_JPEGLS)
    every = [one.located.transfer_syntax for one in held]
    with box(held) as served, destination(served, *accepts(held, *every)) as there, associated(served, MOVE) as association:
        *_, (final, _) = move(association)
        assert (final.Status, counts(final)) == (0x0000, (3, 0, 0))
        assert there.received == {one.located.sop_instance: (one.located.transfer_syntax, one.dataset) for one in held}
        assert set(there.originators) == {("TEST", 9)}
        assert there.associations == 1
        until(lambda: served.retrieve.closed == 1, "the retrieval is closed")


@pytest.mark.parametrize(("stored", "wanted"), [(MR, IMPLICIT), (MR_IMPLICIT, EXPLICIT), (CT, IMPLICIT)])
def test_a_destination_that_refuses_the_stored_syntax_gets_the_other_little_endian_one(stored: str, wanted: str) -> None:
    held = same_study(stored)
    with box(held) as served, destination(served, *accepts(held, wanted)) as there, associated(served, MOVE) as association:
        *_, (final, _) = move(association)
        assert (final.Status, counts(final)) == (0x0000, (1, 0, 0))
    ((syntax, data),) = there.received.values()
    assert syntax == wanted
    found = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data), force=True)
    stored_dataset = pydicom.dcmread(held[0].path)
    assert found.PixelData == stored_dataset.PixelData
    assert found.PatientName == stored_dataset.PatientName


def test_what_a_destination_cannot_take_is_counted_and_named() -> None:
    held = [*same_study(CT), *map(video, same_study(MR_RLE))]
    with box(held) as served, destination(served, *accepts(held[:1]), (held[1].located.sop_class, [EXPLICIT])) as there:
        with associated(served, MOVE) as association:
            *_, (final, listed) = move(association)
        assert (final.Status, counts(final)) == (0xB000, (1, 1, 0))
        assert listed is not None
        assert listed.FailedSOPInstanceUIDList == held[1].located.sop_instance
        assert list(there.received) == [held[0].located.sop_instance]


def test_statuses_of_the_destination_are_counted_as_what_they_are() -> None:
    held = same_study(CT, MR, MR_RLE)
    with box(held) as served, destination(served, *accepts(held, EXPLICIT, held[2].located.transfer_syntax)) as there:
        statuses = iter([0x0000, 0xB007, 0xA700])
        there.status = lambda: next(statuses)
        with associated(served, MOVE) as association:
            *_, (final, listed) = move(association)
        assert (final.Status, counts(final)) == (0xB000, (1, 1, 1))
        assert listed is not None
        assert listed.FailedSOPInstanceUIDList == held[2].located.sop_instance


def test_nothing_that_matches_is_a_success_with_no_association() -> None:
    with box(same_study(CT)) as served, destination(served) as there, associated(served, MOVE) as association:
        *_, (final, _) = move(association, StudyInstanceUID="9.9.9")
        assert (final.Status, counts(final)) == (0x0000, (0, 0, 0))
        assert there.associations == 0


@pytest.mark.parametrize("known", [{}, {"DEST": Peer(AETitle("DEST"))}], ids=["an unknown one", "one without a host"])
def test_a_destination_that_nobody_can_call_is_refused(known: dict[str, Peer]) -> None:
    with box(same_study(CT)) as served, associated(served, MOVE) as association:
        served.peers.peers |= known
        assert [status.Status for status, _ in move(association)] == [0xA801]
        assert not served.retrieve.queries


@pytest.mark.parametrize("refusal", [Transient("The archive cannot be reached; the link is down."), Refused("No")])
def test_what_is_offline_is_refused_at_once_with_a_comment(refusal: Transient | Refused) -> None:
    with box(same_study(CT)) as served, destination(served), associated(served, MOVE) as association:
        served.retrieve.refusal = refusal
        ((status, _),) = move(association)
        assert (status.Status, status.ErrorComment) == (0xA702, str(refusal))
        served.retrieve.refusal = None


@pytest.mark.parametrize(
    "keys",
    [{"StudyInstanceUID": ""}, {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "3"}],
    ids=["no study", "a key from below"],
)
def test_a_retrieve_that_names_no_instances_is_refused(keys: dict[str, str]) -> None:
    with box(same_study(CT)) as served, destination(served), associated(served, MOVE) as association:
        ((status, _),) = move(association, **keys)
        assert (status.Status, status.OffendingElement) == (0xA900, 0x0020000E if "SeriesInstanceUID" in keys else 0x0020000D)
        assert not served.retrieve.queries


def test_a_destination_that_is_not_there_fails_every_instance_and_names_them() -> None:
    held = same_study(CT, MR)
    with box(held) as served, associated(served, MOVE) as association:
        served.peers.peers["DEST"] = Peer(AETitle("DEST"), host=HERE, port=1)
        *_, (final, listed) = move(association)
        assert (final.Status, counts(final)) == (0xA702, (0, 2, 0))
        assert listed is not None
        assert set(listed.FailedSOPInstanceUIDList) == {one.located.sop_instance for one in held}
        assert "No connection" in final.ErrorComment


def test_what_the_archive_does_not_give_back_is_counted_as_failed() -> None:
    held = same_study(CT, MR)
    with box(held) as served, destination(served, *accepts(held)) as there, associated(served, MOVE) as association:
        served.retrieve.lost = frozenset({held[0].located.sop_instance})
        *_, (final, listed) = move(association)
        assert (final.Status, counts(final)) == (0xB000, (1, 1, 0))
        assert listed is not None
        assert list(there.received) == [held[1].located.sop_instance]


def test_a_recall_under_way_is_told_as_pending_with_the_counts() -> None:
    held = same_study(CT, MR)
    with box(held) as served, destination(served, *accepts(held)) as there, associated(served, MOVE) as association:
        served.retrieve.gate = threading.Semaphore(1)
        found = []
        for status, _ in association.send_c_move(identifier("STUDY", StudyInstanceUID="1.2.3.4"), "DEST", STUDY_MOVE):
            found.append((status.Status, *counts(status), status.get("NumberOfRemainingSuboperations")))
            if status.Status == 0xFF00:
                served.retrieve.gate.release()
        assert found[0] == (0xFF00, 1, 0, 0, 1)
        assert found[-1] == (0x0000, 2, 0, 0, None)
        assert there.associations == 1


def test_a_cancel_ends_a_move_that_waits_for_a_recall_within_a_second() -> None:
    held = same_study(CT, MR)
    with box(held) as served, destination(served, *accepts(held)), associated(served, MOVE) as association:
        taken = []
        for _ in range(3):  # the quickest of three says least about what else the machine does
            served.retrieve.gate = threading.Semaphore(1)
            answers = association.send_c_move(identifier("STUDY", StudyInstanceUID="1.2.3.4"), "DEST", STUDY_MOVE, msg_id=9)
            next(answers)
            began = time.monotonic()
            association.send_c_cancel(9, query_model=STUDY_MOVE)
            *_, (final, _) = answers
            taken.append(time.monotonic() - began)
            assert (final.Status, counts(final), final.NumberOfRemainingSuboperations) == (0xFE00, (1, 0, 0), 1)
        assert min(taken) < 1.0


def test_a_move_tells_pending_until_the_archive_has_said_what_there_is() -> None:
    held = same_study(CT, MR)
    with box(held) as served, destination(served, *accepts(held)), associated(served, MOVE) as association:
        served.retrieve.heads = threading.Event()
        found = []
        for status, _ in association.send_c_move(identifier("STUDY", StudyInstanceUID="1.2.3.4"), "DEST", STUDY_MOVE):
            found.append((status.Status, *counts(status), status.get("NumberOfRemainingSuboperations")))
            served.retrieve.heads.set()
        assert found[0] == (0xFF00, 0, 0, 0, 2)
        assert found[-1] == (0x0000, 2, 0, 0, None)


@pytest.mark.parametrize("model", [STUDY_MOVE, STUDY_GET])
def test_a_cancel_ends_a_retrieve_of_which_the_archive_has_not_said_what_there_is(model: str) -> None:
    held = same_study(CT)
    with box(held) as served, associated(served, (model, [EXPLICIT])) as association:
        served.retrieve.heads = threading.Event()
        asked = identifier("STUDY", StudyInstanceUID="1.2.3.4")
        if model == STUDY_MOVE:
            served.peers.peers["DEST"] = Peer(AETitle("DEST"), host=HERE, port=1)
            answers = association.send_c_move(asked, "DEST", model, msg_id=9)
        else:
            answers = association.send_c_get(asked, model, msg_id=9)
        assert next(answers)[0].Status == 0xFF00
        association.send_c_cancel(9, query_model=model)
        *_, (final, _) = answers
        assert (final.Status, counts(final)) == (0xFE00, (0, 0, 0))


def test_who_is_not_to_wait_longer_does_not_wait_for_what_the_archive_has_to_say() -> None:
    with box(same_study(CT)) as served:
        served.peers.peers["TEST"] = replace(served.peers.peers["TEST"], retrieve_limit_seconds=0.1)
        served.retrieve.heads = threading.Event()
        with associated(served, (STUDY_GET, [EXPLICIT])) as association:
            *_, (final, _) = get(association)
        assert final.Status == 0xA702
        assert "ask again" in final.ErrorComment


def test_what_only_the_archive_can_name_is_counted_as_failed() -> None:
    held = same_study(CT)
    received: dict[str, bytes] = {}
    with box(held) as served, getting(served, received, accepts(held)) as association, destination(served, *accepts(held)):
        served.retrieve.missing = 3
        *_, (final, listed) = get(association)
        assert (final.Status, counts(final), bool(listed)) == (0xB000, (1, 3, 0), False)
        assert "archive" in final.ErrorComment
        with associated(served, MOVE) as mover:
            *_, (final, listed) = move(mover)
        assert (final.Status, counts(final), bool(listed)) == (0xB000, (1, 3, 0), False)


def test_a_cancel_ends_a_move_to_a_destination_that_does_not_answer() -> None:
    held = same_study(CT, MR)
    release = threading.Event()
    with box(held) as served, destination(served, *accepts(held)) as there:
        there.status = lambda: 0x0000 if release.wait(10) else 0x0110
        with associated(served, MOVE) as association:
            answers = association.send_c_move(identifier("STUDY", StudyInstanceUID="1.2.3.4"), "DEST", STUDY_MOVE, msg_id=9)
            status, _ = next(answers)
            assert (status.Status, counts(status)) == (0xFF00, (0, 0, 0))
            association.send_c_cancel(9, query_model=STUDY_MOVE)
            *_, (final, _) = answers
            assert (final.Status, final.NumberOfRemainingSuboperations) == (0xFE00, 2)
        release.set()


def test_a_mover_that_goes_away_ends_its_move() -> None:
    held = same_study(CT, MR)
    with box(held) as served, destination(served, *accepts(held)):
        served.retrieve.gate = threading.Semaphore(0)
        entity = AE("TEST")
        entity.add_requested_context(STUDY_MOVE, [EXPLICIT])
        association = entity.associate(HERE, served.port, ae_title="OUTPOST")
        answers = association.send_c_move(identifier("STUDY", StudyInstanceUID="1.2.3.4"), "DEST", STUDY_MOVE)
        next(answers)
        association.abort()
        until = time.monotonic() + PATIENT.close_seconds + 3
        while served.server.associations and time.monotonic() < until:
            threading.Event().wait(0.01)
        assert served.server.associations == 0
        assert served.retrieve.closed == 1


def test_a_patient_root_move_names_the_patient_too() -> None:
    held = same_study(CT)
    patient = str(held[0].attributes["00100020"]["Value"][0])
    with box(held) as served, destination(served, *accepts(held)), associated(served, (PATIENT_MOVE, [IMPLICIT])) as association:
        query = identifier("STUDY", PatientID=patient, StudyInstanceUID="1.2.3.4")
        *_, (final, _) = association.send_c_move(query, "DEST", PATIENT_MOVE)
        assert (final.Status, counts(final)) == (0x0000, (1, 0, 0))
        *_, (final, _) = association.send_c_move(identifier("PATIENT", PatientID=patient), "DEST", PATIENT_MOVE)
        assert (final.Status, counts(final)) == (0x0000, (1, 0, 0))


def test_a_patient_root_move_says_whose_the_patient_id_is() -> None:
    with box(same_study(CT)) as served, destination(served), associated(served, (PATIENT_MOVE, [IMPLICIT])) as association:
        asked = identifier("PATIENT", PatientID="P1", IssuerOfPatientID="CLINIC A")
        list(association.send_c_move(asked, "DEST", PATIENT_MOVE))
        assert served.retrieve.queries[-1].matching == {"00100020": "P1", "00100021": "CLINIC A"}
        *_, (final, _) = association.send_c_move(identifier("PATIENT", PatientID="P1", IssuerOfPatientID="CLINIC*"), "DEST", PATIENT_MOVE)
        assert final.Status == 0xA900


@contextlib.contextmanager
def getting(served: Box, received: dict[str, bytes], contexts: list[tuple[str, list[str]]], status: int = 0x0000) -> Iterator[Association]:
    def store(event: evt.Event) -> int:
        received[event.request.AffectedSOPInstanceUID] = event.request.DataSet.getvalue()
        return status

    roles = [build_role(abstract, scp_role=True) for abstract in {abstract for abstract, _ in contexts}]
    every = [(STUDY_GET, [EXPLICIT]), *contexts]
    with associated(served, *every, ext_neg=roles, evt_handlers=[(evt.EVT_C_STORE, store)]) as association:
        yield association


def get(association: Association) -> list[tuple[pydicom.Dataset, pydicom.Dataset | None]]:
    return list(association.send_c_get(identifier("STUDY", StudyInstanceUID="1.2.3.4"), STUDY_GET))


def test_a_study_comes_back_over_the_association_that_asks_for_it() -> None:
    held = same_study(CT, MR_RLE)
    received: dict[str, bytes] = {}
    with box(held) as served, getting(served, received, accepts(held)) as association:
        *_, (final, _) = get(association)
        assert (final.Status, counts(final)) == (0x0000, (2, 0, 0))
        assert received == {one.located.sop_instance: one.dataset for one in held}
        assert not served.intake.received
        assert served.retrieve.closed == 1


def test_what_the_getter_did_not_offer_to_take_is_counted_and_named() -> None:
    held = same_study(CT, MR_RLE)
    received: dict[str, bytes] = {}
    with box(held) as served, getting(served, received, accepts(held[:1])) as association:
        *_, (final, listed) = get(association)
        assert (final.Status, counts(final)) == (0xB000, (1, 1, 0))
        assert listed is not None
        assert listed.FailedSOPInstanceUIDList == held[1].located.sop_instance


def test_what_cannot_be_read_costs_a_get_that_instance_alone(tmp_path: Path) -> None:
    held = same_study(CT, MR)
    held[0] = dataclasses.replace(held[0], path=tmp_path)
    received: dict[str, bytes] = {}
    with box(held) as served, getting(served, received, accepts(held)) as association:
        *_, (final, listed) = get(association)
        assert (final.Status, counts(final)) == (0xB000, (1, 1, 0))
        assert listed is not None
        assert listed.FailedSOPInstanceUIDList == held[0].located.sop_instance
        assert list(received) == [held[1].located.sop_instance]


def test_a_getter_that_did_not_take_the_role_of_scp_gets_nothing() -> None:
    held = same_study(CT)
    with box(held) as served, associated(served, (STUDY_GET, [EXPLICIT]), *accepts(held)) as association:
        *_, (final, _) = get(association)
        assert (final.Status, counts(final)) == (0xA702, (0, 1, 0))


def test_a_get_waits_for_a_recall_and_can_be_cancelled() -> None:
    held = same_study(CT, MR)
    received: dict[str, bytes] = {}
    with box(held) as served, getting(served, received, accepts(held)) as association:
        served.retrieve.gate = threading.Semaphore(1)
        answers = association.send_c_get(identifier("STUDY", StudyInstanceUID="1.2.3.4"), STUDY_GET, msg_id=3)
        status, _ = next(answers)
        assert (status.Status, counts(status), status.NumberOfRemainingSuboperations) == (0xFF00, (1, 0, 0), 1)
        association.send_c_cancel(3, query_model=STUDY_GET)
        *_, (final, _) = answers
        assert (final.Status, final.NumberOfRemainingSuboperations) == (0xFE00, 1)
        assert list(received) == [held[0].located.sop_instance]
