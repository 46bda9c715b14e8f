"""Instances to send: real ones from files, as they lie there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.dataset.attributes import HEAD_CAP, identify
from edge.dataset.part10 import read_file_meta
from edge.dataset.walk import Malformed
from edge.model import UID, Digest


@dataclass(frozen=True, slots=True)
class Sample:
    """One instance, with its dataset as it goes over the wire: of even length (PS3.8 section 9.3.5.1)."""

    sop_class: UID
    sop_instance: UID
    study: UID
    transfer_syntax: UID
    dataset: bytes

    @property
    def digest(self) -> Digest:
        return Digest(hashlib.sha256(self.dataset).hexdigest())


def samples(directory: Path) -> Iterator[Sample]:
    """The instances in the Part 10 files below a directory, in the order of their paths. What is no instance is passed over."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and (sample := read(path)) is not None:
            yield sample


def read(path: Path) -> Sample | None:
    """The instance in a Part 10 file; None when it is none, or does not say which one it is."""
    data = path.read_bytes()
    try:
        meta = read_file_meta(data)
        dataset = data[meta.dataset_offset :]
        identity = identify(dataset[:HEAD_CAP], meta.transfer_syntax)
    except Malformed:
        return None
    if identity is None or (identity.sop_class, identity.sop_instance) != (meta.sop_class, meta.sop_instance):
        return None
    return Sample(identity.sop_class, identity.sop_instance, identity.study, UID(meta.transfer_syntax), even(dataset))


def even(dataset: bytes) -> bytes:
    """A deflated dataset may lie in its file with an odd length; on the wire a zero byte follows it."""
    return dataset + bytes(len(dataset) & 1)
