"""How instances reach a destination: over several associations, without waiting for each answer, and whatever becomes of it."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pynetdicom import AE, evt

from edge.dimse import command as commands
from edge.dimse.associate import AnsweredContext, AssociateAnswer, UserInformation, read_request, write_answer
from edge.dimse.command import C_STORE_RQ, NO_DATASET, RESPONSE, Command
from edge.dimse.courier import Parcel
from edge.dimse.delivery import Delivery
from edge.dimse.ports import Lost, Ready
from edge.dimse.requestor import Requestor
from edge.errors import Exhausted
from edge.model import UID, AETitle, Level, Peer, Query
from tests.dimse.fakes import CT, HERE, PATIENT, Box, FakeRetrieval, FakeRetrieve, Instance, box, instances
from tests.dimse.raw import pdata, value
from tests.dimse.test_find import identifier
from tests.dimse.test_retrieve import EXPLICIT, MOVE, STUDY_MOVE, accepts, associated, counts, destination, move
from tests.limits import beyond_select, no_descriptors
from tests.servers import until


def many(count: int, length: int = 0) -> list[Instance]:
    """So many instances of one study; `length` is that of their UIDs."""
    one = instances(CT)[0]
    attributes = {**one.attributes, "0020000D": {"vr": "UI", "Value": ["1.2.3.4"]}}
    uids = [f"1.2.{1000 + number}".ljust(length, "1") for number in range(count)]
    return [Instance(one.path, dataclasses.replace(one.located, sop_instance=UID(uid)), attributes) for uid in uids]


def uids(held: list[Instance]) -> list[str]:
    return [one.located.sop_instance for one in held]


def test_several_associations_carry_a_study_where_the_destination_allows_them() -> None:
    held = many(48)
    with box(held) as served, destination(served, *accepts(held[:1])) as there, associated(served, MOVE) as association:
        served.peers.peers["DEST"] = dataclasses.replace(served.peers.peers["DEST"], send_associations=3)

        def when_all_are_open() -> int:
            until(lambda: there.associations == 3, "there are three associations")
            return 0x0000

        there.status = when_all_are_open
        *_, (final, _) = move(association)
        assert (final.Status, counts(final)) == (0x0000, (48, 0, 0))
        assert sorted(there.received) == sorted(uids(held))
        assert len(there.originators) == 48
        assert there.associations == 3
        until(lambda: there.releases == 3, "each is released in order")


def test_a_destination_that_takes_one_association_only_gets_everything_over_that() -> None:
    held = many(48)
    entity = AE("DEST")
    entity.maximum_associations = 1
    entity.add_supported_context(held[0].located.sop_class, [EXPLICIT])
    received = []

    def store(event: evt.Event) -> int:
        received.append(event.request.AffectedSOPInstanceUID)
        return 0x0000

    server = entity.start_server((HERE, 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        with box(held) as served, associated(served, MOVE) as association:
            port = server.socket.getsockname()[1]
            served.peers.peers["DEST"] = Peer(AETitle("DEST"), host=HERE, port=port, send_associations=4)
            *_, (final, _) = move(association)
    finally:
        server.shutdown()
    assert (final.Status, counts(final)) == (0x0000, (48, 0, 0))
    assert sorted(received) == sorted(uids(held))


class Slow:
    """A destination of one association, which answers only when `batch` stores have come, the last one first; as many are its window."""

    def __init__(self, batch: int) -> None:
        self.batches: list[list[str]] = []
        self.listener = socket.create_server((HERE, 0))
        self.port: int = self.listener.getsockname()[1]
        self._batch = batch
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._thread.join(10)
        self.listener.close()

    def _serve(self) -> None:
        self.listener.settimeout(10)
        connection, _ = self.listener.accept()
        connection.settimeout(10)
        with connection, connection.makefile("rb") as stream:
            request = read_request(memoryview(self._pdu(stream)[1]))
            contexts = tuple(AnsweredContext(one.context_id, 0, one.transfer_syntaxes[0]) for one in request.contexts)
            user = UserInformation(max_data_bytes=16384, operations=(self._batch, 1))
            connection.sendall(write_answer(AssociateAnswer(request.called_ae, request.calling_ae, contexts, user)))
            waiting: list[tuple[int, Command]] = []
            while True:
                kind, body = self._pdu(stream)
                if kind == 5:
                    connection.sendall(b"\6\0\0\0\0\4\0\0\0\0")
                    return
                for context_id, flags, data in self._values(body):
                    if flags & 1:
                        waiting.append((context_id, commands.decode(data)))
                    elif flags & 2 and len(waiting) == self._batch:
                        self.batches.append([str(request.affected_sop_instance) for _, request in waiting])
                        connection.sendall(b"".join(self._answer(*waiting.pop()) for _ in range(self._batch)))

    @staticmethod
    def _values(body: bytes) -> Iterator[tuple[int, int, bytes]]:
        while body:
            length, context_id, flags = struct.unpack_from(">LBB", body)
            yield context_id, flags, body[6 : 4 + length]
            body = body[4 + length :]

    @staticmethod
    def _answer(context_id: int, request: Command) -> bytes:
        response = Command(
            affected_sop_class=request.affected_sop_class,
            command_field=C_STORE_RQ | RESPONSE,
            responded_message_id=request.message_id,
            dataset_type=NO_DATASET,
            status=0x0000,
        )
        return pdata(value(context_id, 3, commands.encode(response)))

    @staticmethod
    def _pdu(stream: object) -> tuple[int, bytes]:
        header = stream.read(6)  # type: ignore[attr-defined]
        kind, length = struct.unpack(">BxL", header)
        return kind, stream.read(length)  # type: ignore[attr-defined]


def test_a_destination_with_an_asynchronous_window_is_not_waited_for_after_each_instance() -> None:
    held = many(12)
    there = Slow(batch=4)
    with box(held) as served, associated(served, MOVE) as association, contextlib.closing(there):
        served.peers.peers["DEST"] = Peer(AETitle("DEST"), host=HERE, port=there.port)
        *_, (final, _) = move(association)
    assert (final.Status, counts(final)) == (0x0000, (12, 0, 0))
    assert there.batches == [uids(held)[0:4], uids(held)[4:8], uids(held)[8:12]]


class Moody:
    """A destination that aborts the association instead of answering, when the test says so."""

    def __init__(self, served: Box, held: list[Instance]) -> None:
        self.tried: list[str] = []
        self.taken: list[str] = []
        self.aborts = lambda uid: False
        entity = AE("DEST")
        entity.add_supported_context(held[0].located.sop_class, [EXPLICIT])
        self._server = entity.start_server((HERE, 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        served.peers.peers["DEST"] = Peer(AETitle("DEST"), host=HERE, port=self._server.socket.getsockname()[1])

    def _store(self, event: evt.Event) -> int:
        uid = event.request.AffectedSOPInstanceUID
        self.tried.append(uid)
        if self.aborts(uid):
            event.assoc.abort()
            return 0xC000
        self.taken.append(uid)
        return 0x0000

    def close(self) -> None:
        self._server.shutdown()


def test_what_a_broken_association_did_not_answer_is_sent_once_more() -> None:
    held = many(6)
    with box(held) as served, contextlib.closing(Moody(served, held)) as there, associated(served, MOVE) as association:
        there.aborts = lambda uid: uid == uids(held)[2] and there.tried.count(uid) == 1
        *_, (final, _) = move(association)
        assert (final.Status, counts(final)) == (0x0000, (6, 0, 0))
        assert sorted(there.taken) == uids(held)


def test_an_instance_that_the_destination_cannot_bear_fails_alone() -> None:
    held = many(6)
    with box(held) as served, contextlib.closing(Moody(served, held)) as there, associated(served, MOVE) as association:
        there.aborts = lambda uid: uid == uids(held)[2]
        *_, (final, listed) = move(association)
        assert (final.Status, counts(final)) == (0xB000, (5, 1, 0))
        assert listed is not None
        assert listed.FailedSOPInstanceUIDList == uids(held)[2]
        assert sorted(there.taken) == [uid for uid in uids(held) if uid != uids(held)[2]]


def unreadable(one: Instance, path: Path) -> Instance:
    """As when the disk gives an error for it."""
    return dataclasses.replace(one, path=path)


def cut_off(one: Instance, path: Path) -> Instance:
    """As when the disk gives an error in the middle of it."""
    path.write_bytes(bytes(600_000))
    return dataclasses.replace(one, path=path, located=dataclasses.replace(one.located, dataset_offset=0, dataset_length=700_000))


def test_an_error_of_our_own_disk_costs_one_instance_and_the_rest_is_sent(tmp_path: Path) -> None:
    held = many(7)
    for place in (1, 2):
        held[place] = unreadable(held[place], tmp_path)
    for place in (3, 4, 5):
        held[place] = cut_off(held[place], tmp_path / f"{place}")
    with box(held) as served, destination(served, *accepts(held[:1])) as there, associated(served, MOVE) as association:
        *_, (final, listed) = move(association)
        assert (final.Status, counts(final)) == (0xB000, (2, 5, 0))
        assert listed is not None
        assert sorted(listed.FailedSOPInstanceUIDList) == uids(held)[1:6]
        assert sorted(there.received) == [uids(held)[0], uids(held)[6]]


def test_a_move_of_what_cannot_be_read_at_all_fails_with_its_status(tmp_path: Path) -> None:
    held = [unreadable(one, tmp_path) for one in many(2)]
    with box(held) as served, destination(served, *accepts(many(1))), associated(served, MOVE) as association:
        *_, (final, _) = move(association)
        assert (final.Status, counts(final)) == (0xA702, (0, 2, 0))


class Mistaken(FakeRetrieval):
    def next(self, timeout_seconds: float) -> Ready | Lost | None:
        raise ValueError("a mistake of ours")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mistake_of_ours_fails_what_is_left_and_says_so() -> None:
    retrieval = Mistaken(FakeRetrieve(many(3)), many(3))
    delivery = Delivery(retrieval, Peer(AETitle("DEST"), host=HERE, port=1), Requestor(), AETitle("OUTPOST"), None, None)
    assert delivery.is_done(10)
    delivery.close()
    assert (delivery.tally().failed, delivery.tally().remaining) == (3, 0)
    assert delivery.fault is not None
    assert "log" in delivery.fault


def test_a_delivery_does_not_begin_without_a_descriptor() -> None:
    retrieval = FakeRetrieve(many(1)).begin(Query(Level.STUDY, {}))
    with no_descriptors(), pytest.raises(Exhausted):
        Delivery(retrieval, Peer(AETitle("DEST"), host=HERE, port=1), Requestor(), AETitle("OUTPOST"), None, None)


def test_a_delivery_ends_however_many_descriptors_are_open() -> None:
    retrieval = FakeRetrieve(many(1)).begin(Query(Level.STUDY, {}))
    with beyond_select():
        delivery = Delivery(retrieval, Peer(AETitle("DEST"), host=HERE, port=1), Requestor(), AETitle("OUTPOST"), None, None)
        assert delivery.done > 1024
        assert delivery.is_done(10)
        delivery.close()
    assert delivery.tally().failed == 1


def test_an_instance_that_no_descriptor_is_left_for_is_no_parcel(tmp_path: Path) -> None:
    one = many(1)[0].located
    with no_descriptors(), pytest.raises(Exhausted):
        Parcel.of(Ready(one, 0, 0, 1))


def test_a_destination_that_dies_leaves_a_complete_list_of_what_failed() -> None:
    held = many(6)
    with box(held) as served, contextlib.closing(Moody(served, held)) as there, associated(served, MOVE) as association:
        there.aborts = lambda uid: uids(held).index(uid) >= 2
        *_, (final, listed) = move(association)
        assert (final.Status, counts(final)) == (0xB000, (2, 4, 0))
        assert listed is not None
        assert sorted(listed.FailedSOPInstanceUIDList) == uids(held)[2:]
        assert final.ErrorComment


def test_what_was_still_to_be_recalled_is_named_too_when_the_destination_is_not_there() -> None:
    held = many(3)
    with box(held) as served, socket.create_server((HERE, 0)) as closed, associated(served, MOVE) as association:
        port = closed.getsockname()[1]
        closed.close()
        served.peers.peers["DEST"] = Peer(AETitle("DEST"), host=HERE, port=port)
        served.retrieve.gate = threading.Semaphore(1)
        *_, (final, listed) = move(association)
        assert (final.Status, counts(final)) == (0xA702, (0, 3, 0))
        assert listed is not None
        assert sorted(listed.FailedSOPInstanceUIDList) == uids(held)


def test_a_destination_that_hangs_is_given_up_and_the_mover_is_told_meanwhile() -> None:
    held = many(3)
    deadlines = dataclasses.replace(PATIENT, answer_seconds=1.2)
    with box(held, deadlines=deadlines) as served, contextlib.closing(Moody(served, held)) as there:
        wait = threading.Event()
        there.aborts = lambda uid: wait.wait(10)
        with associated(served, MOVE) as association:
            *pending, (final, listed) = move(association)
        wait.set()
        assert {status.Status for status, _ in pending} == {0xFF00}
        assert (final.Status, counts(final)) == (0xA702, (0, 3, 0))
        assert listed is not None
        assert len(listed.FailedSOPInstanceUIDList) == 3


def test_a_full_destination_is_counted_instance_by_instance() -> None:
    held = many(3)
    with box(held) as served, destination(served, *accepts(held[:1])) as there, associated(served, MOVE) as association:
        statuses = iter([0x0000, 0xA700, 0xA700])
        there.status = lambda: next(statuses)
        *_, (final, listed) = move(association)
        assert (final.Status, counts(final)) == (0xB000, (1, 2, 0))
        assert listed is not None
        assert list(listed.FailedSOPInstanceUIDList) == uids(held)[1:]


def test_a_cancel_ends_a_move_to_a_destination_that_does_not_even_negotiate() -> None:
    held = many(3)
    with box(held) as served, socket.create_server((HERE, 0)) as deaf:
        served.peers.peers["DEST"] = Peer(AETitle("DEST"), host=HERE, port=deaf.getsockname()[1])
        with associated(served, MOVE) as association:
            answers = association.send_c_move(identifier("STUDY", StudyInstanceUID="1.2.3.4"), "DEST", STUDY_MOVE, msg_id=9)
            next(answers)
            began = time.monotonic()
            association.send_c_cancel(9, query_model=STUDY_MOVE)
            *_, (final, _) = answers
            assert time.monotonic() - began < 5
            assert (final.Status, counts(final), final.NumberOfRemainingSuboperations) == (0xFE00, (0, 0, 0), 3)
        until(lambda: served.server.associations == 0, "the mover's association has ended")
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("length", [20, 64])
def test_a_list_of_failures_is_cut_where_its_value_ends(length: int) -> None:
    held = many(4000, length)
    with box(held) as served, destination(served, ("1.2.3", [EXPLICIT])), associated(served, MOVE) as association:
        *_, (final, listed) = move(association)
        assert (final.Status, counts(final)) == (0xA702, (0, 4000, 0))
        assert listed is not None
        assert len(listed.FailedSOPInstanceUIDList) == 0xFFFE // (length + 1)
