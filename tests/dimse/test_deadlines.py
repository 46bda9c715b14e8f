"""Each step of the protocol has one deadline, whatever the peer sends meanwhile: no clock but the test's own runs here."""

from __future__ import annotations

import socket
from collections.abc import Iterable

import pytest

from edge.dimse.association import Association
from edge.dimse.command import C_CANCEL_RQ, NO_DATASET, Command, encode
from edge.dimse.faults import PeerSilent
from edge.dimse.negotiation import Context
from edge.dimse.pdu import RELEASE_RP, Deadlines, Wire
from edge.dimse.states import Event
from edge.model import AETitle
from tests.dimse.fakes import HERE
from tests.dimse.raw import CT_CLASS, ECHO, EXPLICIT, VERIFICATION, pdata, store_command, value
from tests.store.rows import Clock

DEADLINES = Deadlines(request_seconds=10.0, pdu_seconds=10.0, idle_seconds=10.0, answer_seconds=10.0, close_seconds=10.0)
DATA_LAST, COMMAND, COMMAND_LAST = 2, 1, 3
NOTHING_OF_A_COMMAND, NOTHING_OF_A_DATASET = pdata(value(1, COMMAND, b"")), pdata(value(3, 0, b""))
CONTEXTS = {1: Context(1, VERIFICATION, EXPLICIT), 3: Context(3, CT_CLASS, EXPLICIT)}


class Running(Clock):
    """Each look at it takes so many seconds."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self.step = step

    def monotonic(self) -> float:
        self.time += self.step
        return self.time


class Sparing(socket.socket):
    """A connection that takes no more than 100 bytes at a time, as one does whose peer reads slowly."""

    def sendmsg(self, pieces: Iterable[bytes | memoryview]) -> int:  # type: ignore[override]
        return super().send(b"".join(pieces)[:100])

    def send(self, piece: bytes | memoryview, flags: int = 0) -> int:
        return super().send(memoryview(piece)[:100], flags)


def connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server((HERE, 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()
    return near, far


def associated(clock: Clock, *sent: bytes) -> tuple[Association, socket.socket]:
    """An acceptor's association whose peer has sent all this, and closed its side."""
    near, far = connected()
    far.sendall(b"".join(sent))
    far.shutdown(socket.SHUT_WR)
    association = Association(Wire(near, DEADLINES, clock), clock)
    for event in (Event.TRANSPORT_INDICATED, Event.ASSOCIATE_RQ, Event.ACCEPT):
        association.machine.on(event)
    association.establish(CONTEXTS, (AETitle("TEST"), AETitle("OUTPOST")), 16_384, 16_384)
    return association, far


def test_a_command_set_is_whole_by_its_deadline() -> None:
    echo = pdata(value(1, COMMAND_LAST, encode(ECHO)))
    association, far = associated(Running(0.1), NOTHING_OF_A_COMMAND * 200, echo)
    with far, pytest.raises(PeerSilent):
        association.next_message()
    association, far = associated(Running(0.1), NOTHING_OF_A_COMMAND * 20, echo)
    with far:
        assert association.next_message() is not None
        association.close()


def test_fragments_without_bytes_carry_no_dataset() -> None:
    store = pdata(value(3, COMMAND_LAST, store_command("1.2.3")))
    association, far = associated(Running(0.004), store, NOTHING_OF_A_DATASET * 5000, pdata(value(3, DATA_LAST, b"ab")))
    with far:
        association.next_message()
        with pytest.raises(PeerSilent, match="slowly"):
            association.drain()


def test_a_dataset_that_comes_at_the_least_rate_is_taken() -> None:
    store = pdata(value(3, COMMAND_LAST, store_command("1.2.3")))
    some = pdata(value(3, 0, bytes(1500)))
    association, far = associated(Running(1.0), store, some * 200, pdata(value(3, DATA_LAST, b"ab")))
    with far:
        association.next_message()
        assert sum(map(len, association.dataset())) == 200 * 1500 + 2
        association.close()


def test_a_release_is_answered_by_its_deadline() -> None:
    association, far = associated(Running(0.1), pdata(value(3, DATA_LAST, b"ab")) * 200, RELEASE_RP)
    with far, pytest.raises(PeerSilent):
        association.release()
    association, far = associated(Running(0.1), pdata(value(3, DATA_LAST, b"ab")) * 20, RELEASE_RP)
    with far:
        association.release()


def test_who_is_hung_up_on_and_goes_on_sending_is_not_read_for_longer_than_the_timer() -> None:
    near, far = connected()
    wire = Wire(near, DEADLINES, Running(3.0))
    far.sendall(bytes(100_000))
    far.shutdown(socket.SHUT_WR)
    with far, pytest.raises(PeerSilent):
        wire.discard()
    wire.close()


def test_an_answer_that_is_late_is_not_read() -> None:
    association, far = associated(Running(0.1), pdata(value(1, COMMAND_LAST, encode(ECHO))))
    with far, pytest.raises(PeerSilent):
        association.answer(-0.1)


def test_cancels_of_something_else_keep_nobody() -> None:
    def cancel(number: int) -> bytes:
        command = Command(command_field=C_CANCEL_RQ, responded_message_id=number, dataset_type=NO_DATASET)
        return pdata(value(1, COMMAND_LAST, encode(command)))

    association, far = associated(Running(1.0), cancel(8) * 50, cancel(9))
    with far:
        assert not association.cancelled(9, 10.0)
        assert not association.cancelled(9)
        association.close()
    association, far = associated(Running(0.1), cancel(8) * 5, cancel(9))
    with far:
        assert association.cancelled(9, 10.0)
        association.close()


def test_a_peer_that_takes_less_than_the_least_rate_is_given_up() -> None:
    near, far = connected()
    wire = Wire(Sparing(fileno=near.detach()), DEADLINES, Running(1.0))
    with far, pytest.raises(PeerSilent, match="takes data more slowly"):
        wire.send(b"head", bytes(30_000))
    wire.close()


def test_a_peer_that_takes_little_at_a_time_but_quickly_gets_everything() -> None:
    near, far = connected()
    wire = Wire(Sparing(fileno=near.detach()), DEADLINES, Running(0.01))
    with far:
        wire.send(b"head", bytes(30_000))
        wire.close()
        assert len(far.makefile("rb").read()) == 30_004
