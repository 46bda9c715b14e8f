"""DICOM Part 10 (PS3.10 section 7): the file meta that we write, and the way past the one that others wrote."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from edge.dataset.walk import EXPLICIT_LE, Malformed, Truncated, walk
from edge.model import UID, Digest, Identity

IMPLEMENTATION_CLASS_UID = "2.25.262413094857204837741923071295863211041"
IMPLEMENTATION_VERSION = "OUTPOST_1"
PRIVATE_CREATOR_UID = "2.25.262413094857204837741923071295863211042"
"""Names the Private Information (0002,0102): the 32 bytes of SHA-256 of the dataset that follows the file meta."""
PREAMBLE = bytes(128) + b"DICM"
META_CAP = 1 << 16
_GROUP_LENGTH = struct.pack("<HH2sH", 0x0002, 0x0000, b"UL", 4)


def file_meta(identity: Identity, transfer_syntax: UID, source_ae: str, digest: Digest | None) -> bytes:
    """Preamble and file meta: a pure function of its arguments. Its last 32 bytes are the digest (zeros while it is not known yet), so that
    each file proves itself. `source_ae` may be empty.
    """
    body = b"".join(
        (
            _long(0x0001, b"OB", b"\0\1"),
            _short(0x0002, b"UI", _uid(identity.sop_class)),
            _short(0x0003, b"UI", _uid(identity.sop_instance)),
            _short(0x0010, b"UI", _uid(transfer_syntax)),
            _short(0x0012, b"UI", _uid(IMPLEMENTATION_CLASS_UID)),
            _short(0x0013, b"SH", _even(IMPLEMENTATION_VERSION.encode(), b" ")),
            _short(0x0016, b"AE", _even(source_ae.encode("ascii", "replace"), b" ")) if source_ae else b"",
            _short(0x0100, b"UI", _uid(PRIVATE_CREATOR_UID)),
            _long(0x0102, b"OB", bytes.fromhex(digest) if digest else bytes(32)),
        )
    )
    return PREAMBLE + _short(0x0000, b"UL", struct.pack("<L", len(body))) + body


@dataclass(frozen=True, slots=True)
class FileMeta:
    """What a file's meta says: the dataset begins at `dataset_offset`."""

    transfer_syntax: str
    sop_class: str
    sop_instance: str
    source_ae: str
    digest: Digest | None
    """The digest that we wrote, None in a file of others."""
    dataset_offset: int


def read_file_meta(data: bytes | memoryview) -> FileMeta:
    """The file meta at the head of a Part 10 file; `data` needs its first 64 KiB at most. Raises Malformed when it is no such file."""
    if bytes(data[128:132]) != b"DICM":
        raise Malformed("no DICOM Part 10 file: the prefix DICM is missing")
    values: dict[int, bytes] = {}
    end = 132
    head = data[132 : 132 + META_CAP]
    # A dataset may begin with elements of group 0002 too. A group length that ends inside an element is not believed.
    length = int.from_bytes(head[8:12], "little") if bytes(head[:8]) == _GROUP_LENGTH else 0
    try:
        for element in walk(head, EXPLICIT_LE):
            if element.tag >> 16 != 0x0002 or (length and element.offset == 12 + length):
                break
            values[element.tag & 0xFFFF] = bytes(head[element.value : element.end])
            end = 132 + element.end
    except Truncated as fault:
        if not values or end > len(data):
            raise Malformed("the file meta is cut off") from fault
    except Malformed:
        # The dataset behind the meta need not be Explicit VR: its first header ends the meta where the walk cannot read it.
        if not values:
            raise
    if 0x0010 not in values:
        raise Malformed("the file meta names no transfer syntax (0002,0010)")
    return FileMeta(
        transfer_syntax=_text(values[0x0010]),
        sop_class=_text(values.get(0x0002, b"")),
        sop_instance=_text(values.get(0x0003, b"")),
        source_ae=_text(values.get(0x0016, b"")),
        digest=Digest(values[0x0102].hex())
        if _text(values.get(0x0100, b"")) == PRIVATE_CREATOR_UID and len(values.get(0x0102, b"")) == 32
        else None,
        dataset_offset=end,
    )


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace").strip("\0 ")


def _uid(uid: str) -> bytes:
    return _even(uid.encode(), b"\0")


def _even(value: bytes, pad: bytes) -> bytes:
    return value + pad if len(value) & 1 else value


def _short(element: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", 0x0002, element, vr, len(value)) + value


def _long(element: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sHL", 0x0002, element, vr, 0, len(value)) + value
