"""The listing of a pack's instances, where each is a file of its own in the outbox: edge writes it, cloudsync reads it.

A JSON array, by the number of the file, from 1 (docs/formats-archive-pack.md, "For an archive that reads DICOM").
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from edge.errors import Corrupt
from edge.model import parse_digest, parse_uid


class InstanceFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One instance as a Part 10 file in `outbox/<pack>/<number, 6 digits>`."""

    study: str
    series: str
    sop_instance: str
    bytes: int
    digest: str
    """Of the dataset."""


def write(files: Iterable[InstanceFile]) -> bytes:
    """The listing as a file: a pure function of its content."""
    return msgspec.json.encode(list(files))


def read(data: bytes) -> list[InstanceFile]:
    """What `write` wrote. Raises Corrupt for anything else."""
    try:
        files = msgspec.json.decode(data, type=list[InstanceFile])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as fault:
        raise Corrupt(f"a listing that does not parse: {fault}") from fault
    for number, file in enumerate(files, 1):
        if any(parse_uid(uid) != uid for uid in (file.study, file.series, file.sop_instance)):
            raise Corrupt(f"a listing whose instance {number} has no UID")
        if parse_digest(file.digest) is None or file.bytes < 0:
            raise Corrupt(f"a listing whose instance {number} has no digest or size")
    return files
