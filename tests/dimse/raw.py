"""A peer without an association engine: bytes on a socket, and the PDUs that come back."""

from __future__ import annotations

import socket
import struct

from edge.dimse.associate import AssociateRequest, ProposedContext, UserInformation, write_request
from edge.dimse.command import C_ECHO_RQ, C_STORE_RQ, NO_DATASET, Command, decode, encode
from edge.model import UID

VERIFICATION, CT_CLASS = UID("1.2.840.10008.1.1"), UID("1.2.840.10008.5.1.4.1.1.2")
EXPLICIT = UID("1.2.840.10008.1.2.1")
RELEASE = b"\x05\0\0\0\0\4\0\0\0\0"
ABORT = b"\x07\0\0\0\0\4\0\0\0\0"
CLOSED = (0, b"")
ECHO = Command(affected_sop_class=VERIFICATION, command_field=C_ECHO_RQ, message_id=1, dataset_type=NO_DATASET)


def request(syntax: str = EXPLICIT, calling: str = "TEST", called: str = "OUTPOST", max_data_bytes: int = 16384) -> bytes:
    """An A-ASSOCIATE-RQ for verification on context 1 and CT images on context 3."""
    contexts = (ProposedContext(1, VERIFICATION, (EXPLICIT,)), ProposedContext(3, CT_CLASS, (UID(syntax),)))
    return write_request(AssociateRequest(called, calling, contexts, UserInformation(max_data_bytes=max_data_bytes)))


def store_command(instance: str, sop_class: str = CT_CLASS, dataset_type: int = 1) -> bytes:
    return encode(
        Command(
            affected_sop_class=sop_class,
            affected_sop_instance=instance,
            command_field=C_STORE_RQ,
            message_id=2,
            priority=0,
            dataset_type=dataset_type,
        )
    )


def value(context_id: int, flags: int, data: bytes) -> bytes:
    """A presentation data value; flags: 1 for a command, 2 for the last of it."""
    return struct.pack(">LBB", len(data) + 2, context_id, flags) + data


def pdata(*values: bytes) -> bytes:
    body = b"".join(values)
    return struct.pack(">BxL", 4, len(body)) + body


def dataset_pdus(context_id: int, data: bytes, fragment: int = 16378) -> bytes:
    """A whole dataset in P-DATA PDUs of at most `fragment` bytes each."""
    starts = range(0, max(1, len(data)), fragment)
    return b"".join(pdata(value(context_id, 2 * (at + fragment >= len(data)), data[at : at + fragment])) for at in starts)


class RawPeer:
    """One connection, from any address of loopback."""

    def __init__(self, port: int, source: str = "127.0.0.1", timeout_seconds: float = 30.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_seconds, (source, 0))

    def __enter__(self) -> RawPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *pieces: bytes) -> None:
        self.socket.sendall(b"".join(pieces))

    def pdu(self) -> tuple[int, bytes]:
        """The next PDU, or CLOSED when the connection is."""
        header = self._receive(6)
        if len(header) < 6:
            return CLOSED
        kind, length = struct.unpack(">BxL", header)
        return kind, self._receive(length)

    def associate(self, syntax: str = EXPLICIT, calling: str = "TEST") -> None:
        self.send(request(syntax, calling))
        kind, body = self.pdu()
        assert kind == 2, (kind, body)

    def echo(self) -> int:
        """C-ECHO on context 1; the status."""
        self.send(pdata(value(1, 3, encode(ECHO))))
        return self.status()

    def store(self, instance: str, data: bytes) -> int:
        """C-STORE on context 3; the status."""
        self.send(pdata(value(3, 3, store_command(instance))), dataset_pdus(3, data))
        return self.status()

    def status(self) -> int:
        kind, body = self.pdu()
        assert kind == 4, (kind, body)
        status = decode(body[6:]).status
        assert status is not None
        return status

    def release(self) -> None:
        self.send(RELEASE)
        assert self.pdu() == (6, bytes(4))

    def _receive(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                more = self.socket.recv(count - len(data))
            except ConnectionResetError:
                more = b""
            if not more:
                break
            data += more
        return data


def verify(port: int, source: str = "127.0.0.1", calling: str = "TEST") -> None:
    """What a legitimate peer does: associate, C-ECHO, release."""
    with RawPeer(port, source) as peer:
        peer.associate(calling=calling)
        assert peer.echo() == 0
        peer.release()
