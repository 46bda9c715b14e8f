"""Raw sockets that break PS3.8 in every way that was thought of; each time the answer, and that others are served."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from dataclasses import replace

import pytest

from edge.audit import StoreRefused
from edge.dimse.associate import AssociateRequest, ProposedContext, Roles, UserInformation, write_request
from edge.dimse.command import C_ECHO_RQ, C_STORE_RQ, NO_DATASET, Command, decode, encode
from edge.dimse.pdu import Deadlines
from edge.model import UID, AETitle, Peer
from tests.dimse.fakes import QUICK, Box, box

VERIFICATION, CT_CLASS = UID("1.2.840.10008.1.1"), UID("1.2.840.10008.5.1.4.1.1.2")
EXPLICIT = UID("1.2.840.10008.1.2.1")
REQUEST = AssociateRequest(
    "OUTPOST",
    "TEST",
    (ProposedContext(1, VERIFICATION, (EXPLICIT,)), ProposedContext(3, CT_CLASS, (EXPLICIT,))),
    UserInformation(max_data_bytes=16384),
)
ECHO = Command(affected_sop_class=VERIFICATION, command_field=C_ECHO_RQ, message_id=1, dataset_type=NO_DATASET)
STORE = Command(
    affected_sop_class=CT_CLASS, affected_sop_instance="1.2.3", command_field=C_STORE_RQ, message_id=2, priority=0, dataset_type=1
)


def value(context_id: int, flags: int, data: bytes) -> bytes:
    return struct.pack(">LBB", len(data) + 2, context_id, flags) + data


def pdata(*values: bytes) -> bytes:
    body = b"".join(values)
    return struct.pack(">BxL", 4, len(body)) + body


def receive(peer: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        try:
            more = peer.recv(count - len(data))
        except ConnectionResetError:  # closed with something of ours unread
            break
        if not more:
            break
        data += more
    return data


def pdu(peer: socket.socket) -> tuple[int, bytes]:
    """The next PDU, or (0, b"") when the connection is closed."""
    header = receive(peer, 6)
    if len(header) < 6:
        return 0, b""
    kind, length = struct.unpack(">BxL", header)
    return kind, receive(peer, length)


def established(served: Box) -> socket.socket:
    peer = served.connect()
    peer.sendall(write_request(REQUEST))
    kind, _ = pdu(peer)
    assert kind == 2
    return peer


def test_who_may_only_get_cannot_store_over_the_context_that_it_gets_by() -> None:
    user = UserInformation(max_data_bytes=16384, roles={CT_CLASS: Roles(scu=False, scp=True)})
    with box() as served:
        served.peers.peers["TEST"] = Peer(AETitle("TEST"), rights=frozenset({"get"}))
        with served.connect() as peer:
            peer.sendall(write_request(replace(REQUEST, user=user)))
            assert pdu(peer)[0] == 2
            peer.sendall(pdata(STORE_COMMAND) + pdata(value(3, 2, bytes(100))))
            kind, body = pdu(peer)
            assert (kind, decode(body[6:]).status) == (4, 0x0124)
            peer.sendall(pdata(ECHO_DATA))
            assert decode(pdu(peer)[1][6:]).status == 0
        assert not served.intake.received
        assert [event.status for event in served.audit.events if isinstance(event, StoreRefused)] == [0x0124]


def assert_aborted(peer: socket.socket, source: int, reason: int) -> None:
    kind, body = pdu(peer)
    assert (kind, body[2], body[3]) == (7, source, reason)
    assert pdu(peer) == (0, b"")


def assert_serves(served: Box) -> None:
    with established(served) as peer:
        peer.sendall(pdata(value(1, 3, encode(ECHO))))
        kind, body = pdu(peer)
        assert kind == 4
        assert decode(body[6:]).status == 0


ECHO_DATA = value(1, 3, encode(ECHO))
STORE_COMMAND = value(3, 3, encode(STORE))


@pytest.mark.parametrize(
    ("sent", "source", "reason"),
    [
        (pdata(ECHO_DATA), 0, 0),
        (struct.pack(">BxL", 4, 0xFFFFFFFF), 0, 0),
        (struct.pack(">BxL", 1, 0xFFFFFFFF), 0, 0),
        (struct.pack(">BxL", 1, 10) + bytes(10), 0, 0),
        (b"GET / HTTP/1.1\r\n\r\n", 0, 0),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 0, 0),
        (b"\x05\0\0\0\0\4\0\0\0\0", 0, 0),
        (struct.pack(">BxL", 1, 70) + struct.pack(">HH16s16s32x", 1, 0, b"OUTPOST", b"TEST") + b"\x10\0", 2, 6),
    ],
    ids=[
        "data",
        "4 GiB of data",
        "a request of 4 GiB",
        "a short request",
        "HTTP",
        "TLS",
        "a release",
        "a broken item",
    ],
)
def test_before_an_association_nothing_but_a_sound_request_is_taken(sent: bytes, source: int, reason: int) -> None:
    with box(deadlines=QUICK) as served:
        with served.connect() as peer:
            peer.sendall(sent)
            assert_aborted(peer, source, reason)
        assert_serves(served)


@pytest.mark.parametrize(
    ("sent", "source", "reason"),
    [
        (struct.pack(">BxL", 4, 0xFFFFFFFF), 2, 6),
        (struct.pack(">BxL", 4, 131_073), 2, 6),
        (pdata(), 2, 6),
        (pdata(struct.pack(">L", 0)), 2, 6),
        (pdata(struct.pack(">LBB", 0, 1, 3)), 2, 6),
        (pdata(struct.pack(">LBB", 1, 1, 3)), 2, 6),
        (pdata(struct.pack(">LBB", 0xFFFFFFFF, 1, 3)), 2, 6),
        (pdata(value(99, 3, encode(ECHO))), 2, 6),
        (pdata(value(1, 1, encode(ECHO)[:20]), value(3, 3, encode(ECHO)[20:])), 2, 6),
        (pdata(value(1, 2, b"data")), 0, 0),
        (pdata(value(1, 3, b"nonsense")), 0, 0),
        (pdata(value(1, 3, encode(Command(command_field=0x8030, responded_message_id=1, dataset_type=NO_DATASET, status=0)))), 0, 0),
        (pdata(STORE_COMMAND, ECHO_DATA), 2, 6),
        (pdata(STORE_COMMAND, value(3, 3, encode(STORE))), 0, 0),
        (pdata(STORE_COMMAND) + b"\x05\0\0\0\0\4\0\0\0\0", 0, 0),
        (write_request(REQUEST), 2, 2),
        (b"\x06\0\0\0\0\4\0\0\0\0", 2, 2),
        (b"\x05\0\0\0\0\5\0\0\0\0\0", 2, 6),
        (b"\x09\0\0\0\0\4\0\0\0\0", 2, 1),
    ],
    ids=[
        "a PDU of 4 GiB",
        "a PDU longer than agreed",
        "no value at all",
        "half a value header",
        "a value of length 0",
        "a value of length 1",
        "a value of 4 GiB",
        "an unknown context",
        "a command over two contexts",
        "a dataset without a command",
        "a command set that is none",
        "a response nobody waits for",
        "another context inside a dataset",
        "a command inside a dataset",
        "a release inside a message",
        "a second request",
        "a release nobody asked for",
        "a release of 5 bytes",
        "an unknown PDU",
    ],
)
def test_inside_an_association_what_breaks_the_protocol_is_aborted(sent: bytes, source: int, reason: int) -> None:
    with box(deadlines=QUICK) as served:
        with established(served) as peer:
            peer.sendall(sent)
            assert_aborted(peer, source, reason)
        assert not served.intake.received
        assert_serves(served)


def test_a_command_set_without_end_is_aborted() -> None:
    with box(deadlines=QUICK) as served, established(served) as peer:
        for _ in range(5):
            peer.sendall(pdata(value(1, 1, bytes(16384))))
        assert_aborted(peer, 0, 0)


def test_fragments_of_one_byte_make_the_same_instance() -> None:
    data = bytes(range(256)) * 4
    with box(deadlines=QUICK) as served, established(served) as peer:
        command = encode(STORE)
        for position in range(len(command)):
            peer.sendall(pdata(value(3, 1 | 2 * (position == len(command) - 1), command[position : position + 1])))
        peer.sendall(b"".join(pdata(value(3, 2 * (at == len(data) - 1), data[at : at + 1])) for at in range(len(data))))
        kind, body = pdu(peer)
        assert (kind, decode(body[6:]).status) == (4, 0)
        assert [received for _, received in served.intake.received] == [data]


def test_bytes_that_trickle_in_make_the_same_instance() -> None:
    whole = pdata(STORE_COMMAND, value(3, 0, b"ab"), value(3, 0, b"")) + pdata(value(3, 0, b"cd")) + pdata(value(3, 2, b""))
    with box(deadlines=QUICK) as served, established(served) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(whole)):
            peer.sendall(whole[at : at + 1])
        assert pdu(peer)[0] == 4
        assert [received for _, received in served.intake.received] == [b"abcd"]


def test_many_messages_in_one_segment_are_answered_in_order() -> None:
    with box(deadlines=QUICK) as served, established(served) as peer:
        peer.sendall(b"".join(pdata(value(1, 3, encode(Command(**{**fields(ECHO), "message_id": number})))) for number in range(1, 200)))
        answers = [decode(pdu(peer)[1][6:]).responded_message_id for _ in range(1, 200)]
        assert answers == list(range(1, 200))


def fields(command: Command) -> dict[str, object]:
    return {name: getattr(command, name) for name in command.__slots__}


@pytest.mark.parametrize("sent", [b"", b"\1\0\0", write_request(REQUEST)[:-1]], ids=["nothing", "three bytes", "all but one byte"])
def test_who_does_not_finish_its_request_is_closed_at_the_deadline(sent: bytes) -> None:
    with box(deadlines=QUICK) as served, served.connect() as peer:
        peer.sendall(sent)
        assert pdu(peer) == (0, b"")


def test_a_request_that_trickles_is_closed_at_the_deadline_all_the_same() -> None:
    with box(deadlines=QUICK) as served, served.connect() as peer:
        peer.settimeout(0.1)
        whole = write_request(REQUEST)
        began = time.monotonic()
        for at in range(len(whole)):
            try:
                peer.sendall(whole[at : at + 1])
                if peer.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "sent",
    [b"", b"\4", pdata(STORE_COMMAND), pdata(STORE_COMMAND) + struct.pack(">BxL", 4, 1000) + bytes(10)],
    ids=["idle", "one byte", "a command without its dataset", "a dataset that stops"],
)
def test_silence_after_the_request_is_aborted_at_the_deadline(sent: bytes) -> None:
    with box(deadlines=QUICK) as served:
        with established(served) as peer:
            peer.sendall(sent)
            assert_aborted(peer, 0, 0)
        assert not served.intake.received
        if len(sent) > 1:
            assert served.intake.ended.wait(5)
        assert len(served.intake.aborted) == (len(sent) > 1)


def test_a_dataset_below_the_least_rate_is_aborted_though_it_never_stops() -> None:
    slow = Deadlines(request_seconds=1.0, pdu_seconds=0.4, close_seconds=0.2, bytes_per_second=1 << 20)
    with box(deadlines=slow) as served, established(served) as peer:
        peer.sendall(pdata(STORE_COMMAND))
        peer.settimeout(0.05)
        with contextlib.suppress(OSError):
            while True:
                peer.sendall(pdata(value(3, 0, b"x")))
                with contextlib.suppress(TimeoutError):
                    if peer.recv(1) in {b"\7", b""}:
                        break
        assert served.intake.ended.wait(5)
        assert len(served.intake.aborted) == 1


def test_a_peer_that_takes_no_answers_is_closed_at_the_deadline() -> None:
    with box(deadlines=QUICK) as served:
        peer = served.connect()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.sendall(write_request(REQUEST))
        peer.settimeout(0.2)
        echoes = pdata(ECHO_DATA) * 1000
        with pytest.raises(OSError, match=r"."):
            while True:
                try:
                    peer.sendall(echoes)
                except TimeoutError:
                    if not served.server.associations:
                        raise
        peer.close()
        assert_serves(served)


@pytest.mark.parametrize("position", range(0, len(write_request(REQUEST)) + 300, 19))
def test_a_connection_may_break_at_any_byte(position: int) -> None:
    whole = write_request(REQUEST) + pdata(STORE_COMMAND, value(3, 0, bytes(100))) + pdata(value(3, 2, bytes(100)))
    with box(deadlines=QUICK) as served:
        peer = served.connect()
        peer.sendall(whole[:position])
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        assert_serves(served)
        until = time.monotonic() + 3
        while served.server.associations and time.monotonic() < until:
            served.intake.ended.wait(0.01)
        assert not served.server.associations
        assert not served.intake.received


def test_an_abort_ends_the_association_without_an_answer() -> None:
    with box(deadlines=QUICK) as served, established(served) as peer:
        peer.sendall(b"\x07\0\0\0\0\4\0\0\0\0")
        assert pdu(peer) == (0, b"")


def test_a_release_is_answered_and_the_peer_closes_first() -> None:
    with box(deadlines=QUICK) as served, established(served) as peer:
        peer.sendall(b"\x05\0\0\0\0\4\0\0\0\0")
        assert pdu(peer) == (6, bytes(4))


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (AssociateRequest("OUTPOST", "NOBODY", REQUEST.contexts, REQUEST.user), (1, 1, 3)),
        (AssociateRequest("OUTPOST", "back\\slash", REQUEST.contexts, REQUEST.user), (1, 1, 3)),
        (AssociateRequest("OUTPOST", "", REQUEST.contexts, REQUEST.user), (1, 1, 3)),
        (AssociateRequest("OTHER", "TEST", REQUEST.contexts, REQUEST.user), (1, 1, 7)),
        (AssociateRequest("OUTPOST", "TEST", REQUEST.contexts, UserInformation(max_data_bytes=7)), (1, 1, 1)),
    ],
    ids=["unknown caller", "a caller that is no AE title", "an empty caller", "another called AE", "PDUs of 7 bytes"],
)
def test_who_may_not_come_in_is_told_why(request_: AssociateRequest, answer: tuple[int, int, int]) -> None:
    with box(deadlines=QUICK) as served, served.connect() as peer:
        peer.sendall(write_request(request_))
        kind, body = pdu(peer)
        assert (kind, *body[1:4]) == (3, *answer)
        assert pdu(peer) == (0, b"")


@pytest.mark.parametrize(
    ("position", "patch", "answer"),
    [(6, b"\0\2", (1, 2, 2)), (74 + 4, b"9", (1, 1, 2))],
    ids=["protocol version", "application context"],
)
def test_another_protocol_is_rejected(position: int, patch: bytes, answer: tuple[int, int, int]) -> None:
    whole = bytearray(write_request(REQUEST))
    whole[position : position + len(patch)] = patch
    with box(deadlines=QUICK) as served, served.connect() as peer:
        peer.sendall(whole)
        kind, body = pdu(peer)
        assert (kind, *body[1:4]) == (3, *answer)
