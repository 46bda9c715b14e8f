"""Where the dataset begins in a DICOM file (PS3.10 section 7.1): the one thing that is read of what a DICOMweb archive sends.

An archive may write preamble and file meta anew; what is compared is the dataset behind them.
"""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import BinaryIO

from edge.errors import Corrupt
from edge.model import Digest

_PREAMBLE = 128
_PREFIX = b"DICM"
_META_MAX_BYTES = 1 << 20
_STEP_BYTES = 1 << 20
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
"""Value representations with a length of four bytes (PS3.5 section 7.1.2)."""


class NoFile(Corrupt):
    """What came is no DICOM file."""


def dataset_offset(begin: bytes) -> int:
    """The offset of the first element behind group 0002. `begin` holds the file's first MiB, or all of it. Raises NoFile."""
    position = _PREAMBLE + len(_PREFIX)
    if begin[_PREAMBLE:position] != _PREFIX:
        raise NoFile("what the archive sent does not begin as a DICOM file does")
    first = position
    while begin[position : position + 2] == b"\x02\0":
        header = begin[position : position + 12]
        long = header[4:6] in _LONG
        if len(header) < (12 if long else 8):
            raise NoFile("what the archive sent ends within its file meta")
        (length,) = struct.unpack_from("<L", header, 8) if long else struct.unpack_from("<H", header, 6)
        position += (12 if long else 8) + length
        if position > len(begin):
            raise NoFile("what the archive sent ends within its file meta")
    if position == first:
        raise NoFile("what the archive sent has no file meta")
    return position


def dataset_digest(file: BinaryIO) -> Digest:
    """SHA-256 of the dataset in a DICOM file. Raises NoFile. Reads all of it: call it in a thread."""
    file.seek(0)
    begin = file.read(_META_MAX_BYTES)
    digest = sha256(memoryview(begin)[dataset_offset(begin) :])
    while piece := file.read(_STEP_BYTES):
        digest.update(piece)
    return Digest(digest.hexdigest())
