"""Command sets (PS3.7 section 6.3 and annex E): implicit VR little endian, group 0000 alone, strictly read and bounded."""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass, field, fields

from edge.dimse.pdu import COMMAND, HEADER, LAST, PDV, Kind
from edge.errors import Refused

MAX_COMMAND_BYTES = 64 << 10
NO_DATASET = 0x0101
"""Command Data Set Type (0000,0800) of a message without a dataset; every other value says that one follows."""

C_STORE_RQ, C_GET_RQ, C_FIND_RQ, C_MOVE_RQ, C_ECHO_RQ, C_CANCEL_RQ = 0x0001, 0x0010, 0x0020, 0x0021, 0x0030, 0x0FFF
N_EVENT_REPORT_RQ, N_ACTION_RQ = 0x0100, 0x0130
RESPONSE = 0x8000
_NAMES = {
    C_STORE_RQ: "C-STORE",
    C_GET_RQ: "C-GET",
    C_FIND_RQ: "C-FIND",
    C_MOVE_RQ: "C-MOVE",
    C_ECHO_RQ: "C-ECHO",
    N_EVENT_REPORT_RQ: "N-EVENT-REPORT",
    0x0110: "N-GET",
    0x0120: "N-SET",
    N_ACTION_RQ: "N-ACTION",
    0x0140: "N-CREATE",
    0x0150: "N-DELETE",
}
"""Bit of the Command Field that tells a response."""

_ELEMENT = struct.Struct("<HHL")
_SHORT = struct.Struct("<H")
_TAG = struct.Struct("<HH")


class BadCommand(Refused):
    """The peer sent a command set that breaks PS3.7. The message names the fault; the peer's vendor has to mend it."""


def _element(tag: int, vr: str) -> int | None:
    return field(default=None, metadata={"tag": tag, "vr": vr})


def _text(tag: int, vr: str) -> str | None:
    return field(default=None, metadata={"tag": tag, "vr": vr})


@dataclass(frozen=True, slots=True)
class Command:
    """A command set. Text is as it arrived without padding, so a UID in it may be malformed; what is absent is None."""

    affected_sop_class: str | None = _text(0x0002, "UI")
    requested_sop_class: str | None = _text(0x0003, "UI")
    command_field: int | None = _element(0x0100, "US")
    message_id: int | None = _element(0x0110, "US")
    responded_message_id: int | None = _element(0x0120, "US")
    move_destination: str | None = _text(0x0600, "AE")
    priority: int | None = _element(0x0700, "US")
    dataset_type: int | None = _element(0x0800, "US")
    status: int | None = _element(0x0900, "US")
    offending_element: int | None = _element(0x0901, "AT")
    error_comment: str | None = _text(0x0902, "LO")
    error_id: int | None = _element(0x0903, "US")
    affected_sop_instance: str | None = _text(0x1000, "UI")
    requested_sop_instance: str | None = _text(0x1001, "UI")
    event_type_id: int | None = _element(0x1002, "US")
    action_type_id: int | None = _element(0x1008, "US")
    remaining: int | None = _element(0x1020, "US")
    completed: int | None = _element(0x1021, "US")
    failed: int | None = _element(0x1022, "US")
    warning: int | None = _element(0x1023, "US")
    move_originator_ae: str | None = _text(0x1030, "AE")
    move_originator_message_id: int | None = _element(0x1031, "US")

    @property
    def has_dataset(self) -> bool:
        return self.dataset_type != NO_DATASET

    @property
    def operation(self) -> int:
        """The Command Field, which `decode` has made sure of."""
        return self.command_field or 0

    @property
    def number(self) -> int:
        """The Message ID of a request, or the Message ID Being Responded To of a response or a cancel."""
        return (self.message_id if self.responded_message_id is None else self.responded_message_id) or 0


_BY_TAG = {entry.metadata["tag"]: (entry.name, entry.metadata["vr"]) for entry in fields(Command)}
_IN_ORDER = [(tag, *_BY_TAG[tag]) for tag in sorted(_BY_TAG)]


def name_of(operation: int) -> str:
    """What PS3.7 calls a request; its Command Field where it is none of PS3.7."""
    return _NAMES.get(operation, f"{operation:04X}")


def decode(data: bytes | bytearray) -> Command:
    """Read a command set. Elements of group 0000 that are not known are skipped. Raises BadCommand."""
    values: dict[str, int | str] = {}
    position, end, previous = 0, len(data), -1
    while position < end:
        if end - position < _ELEMENT.size:
            raise BadCommand("The command set ends inside an element.")
        group, tag, length = _ELEMENT.unpack_from(data, position)
        position += _ELEMENT.size
        if group or tag <= previous:
            raise BadCommand(f"Element ({group:04X},{tag:04X}) is out of place in a command set.")
        if length > end - position:
            raise BadCommand(f"Element (0000,{tag:04X}) claims {length} bytes, {end - position} are there.")
        if tag in _BY_TAG:
            name, vr = _BY_TAG[tag]
            if vr == "AT":
                if length == 0 or length % 4:
                    raise BadCommand(f"Element (0000,{tag:04X}) has {length} bytes, which are no tags.")
                upper, lower = _TAG.unpack_from(data, position)
                values[name] = upper << 16 | lower
            elif vr != "US":
                values[name] = data[position : position + length].decode("latin-1").rstrip("\0 ").lstrip(" ")
            elif length == 2:
                values[name] = _SHORT.unpack_from(data, position)[0]
            else:
                raise BadCommand(f"Element (0000,{tag:04X}) has {length} bytes instead of 2.")
        position += length
        previous = tag
    command = Command(**values)  # type: ignore[arg-type]
    if command.command_field is None or command.dataset_type is None:
        raise BadCommand("The command set has no Command Field or no Command Data Set Type.")
    answers = command.command_field & RESPONSE or command.command_field == C_CANCEL_RQ
    if (command.responded_message_id if answers else command.message_id) is None:
        raise BadCommand("The command set has no Message ID.")
    if command.command_field & RESPONSE and command.status is None:
        raise BadCommand("The response has no Status.")
    return command


def encode(command: Command) -> bytes:
    """Write a command set, group length first."""
    pieces = []
    for tag, name, vr in _IN_ORDER:
        value = getattr(command, name)
        if value is None:
            continue
        if vr == "US":
            pieces.append(_ELEMENT.pack(0, tag, 2) + _SHORT.pack(value))
        elif vr == "AT":
            pieces.append(_ELEMENT.pack(0, tag, 4) + _TAG.pack(value >> 16, value & 0xFFFF))
        else:
            text = _padded(value, b"\0" if vr == "UI" else b" ")
            pieces.append(_ELEMENT.pack(0, tag, len(text)) + text)
    body = b"".join(pieces)
    return _ELEMENT.pack(0, 0, 4) + len(body).to_bytes(4, "little") + body


def answer(request: Command, status: int, **more: int | str | None) -> Command:
    """The response to a request, without a dataset unless `dataset_type` says so. An Error Comment is cut to its 64 characters."""
    values: dict[str, int | str | None] = {
        "affected_sop_class": request.affected_sop_class if request.affected_sop_class is not None else request.requested_sop_class,
        "affected_sop_instance": request.affected_sop_instance
        if request.affected_sop_instance is not None
        else request.requested_sop_instance,
        "command_field": request.operation | RESPONSE,
        "responded_message_id": request.message_id,
        "dataset_type": NO_DATASET,
        "status": status,
        **more,
    }
    comment = values.get("error_comment")
    if isinstance(comment, str):
        values["error_comment"] = comment.encode("ascii", "replace").decode()[:64]
    return Command(**values)  # type: ignore[arg-type]


def store_answer(context_id: int, request: Command, status: int) -> bytes:
    """The whole P-DATA PDU of a C-STORE-RSP to a request with sound UIDs: what does not change is made once for each SOP class."""
    before, room = _store_answer_start(request.affected_sop_class or "")
    instance = _padded(request.affected_sop_instance or "", b"\0")
    length = room + len(instance)
    return b"".join(
        (
            HEADER.pack(Kind.P_DATA, length + 12 + PDV.size),
            PDV.pack(length + 12 + 2, context_id, COMMAND | LAST),
            _GROUP_LENGTH.pack(0, 0, 4, length),
            before,
            _STORE_ANSWER.pack(
                *(0, 0x0100, 2, C_STORE_RQ | RESPONSE),
                *(0, 0x0120, 2, request.number),
                *(0, 0x0800, 2, NO_DATASET),
                *(0, 0x0900, 2, status),
                *(0, 0x1000, len(instance)),
            ),
            instance,
        )
    )


_GROUP_LENGTH = struct.Struct("<HHLL")
_STORE_ANSWER = struct.Struct("<" + "HHLH" * 4 + "HHL")


@functools.lru_cache(maxsize=256)
def _store_answer_start(sop_class: str) -> tuple[bytes, int]:
    text = _padded(sop_class, b"\0")
    before = _ELEMENT.pack(0, 0x0002, len(text)) + text
    return before, len(before) + _STORE_ANSWER.size


def _padded(text: str, pad: bytes) -> bytes:
    data = text.encode("latin-1", "replace")
    return data + pad if len(data) % 2 else data
