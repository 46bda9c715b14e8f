"""What the bench sends: a generated CT study as Part 10 files, whose UIDs are fresh in every run."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from pathlib import Path

from edge.dataset.part10 import file_meta
from edge.demo.phantom import ROOT, phantom
from edge.model import Identity, parse_uid

_MARK = b"77777777"
"""Stands in every UID; each run puts a number of as many digits in its place, so lengths and offsets stay."""

_numbers = itertools.count(10_000_001)
"""Of all studies of the process: two that took the same would send one another's instances again."""
_HEAD = 4096
"""Bytes of a file within which its UIDs lie."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What sort of instances: pixels along an edge, and what makes MR of a CT."""

    name: str
    size: int
    changes: tuple[tuple[bytes, bytes], ...] = ()


CT = Kind("CT", 512)
MR = Kind("MR", 142, ((b"1.2.840.10008.5.1.4.1.1.2\0", b"1.2.840.10008.5.1.4.1.1.4\0"), (b"\x08\0\x60\0CS\2\0CT", b"\x08\0\x60\0CS\2\0MR")))
"""525 kB and 41 kB an instance."""


class Study:
    """Part 10 files of one generated study, in directories below one of its own, which hold equal shares."""

    def __init__(self, directory: Path, instances: int, kind: Kind = CT, shares: int = 1) -> None:
        self.directory = directory
        self.instances = instances
        self._number = 0
        directory.mkdir(parents=True)
        self.shares = [directory / str(share) for share in range(shares)]
        for share in self.shares:
            share.mkdir()
        self._heads: dict[Path, bytes] = {}
        self.bytes = 0
        for number, sample in enumerate(phantom(instances, kind.size, run=int(_MARK))):
            identity = Identity(sample.sop_class, sample.sop_instance, parse_uid("1.2") or sample.study, sample.study)
            data = file_meta(identity, sample.transfer_syntax, "BENCH", None) + sample.dataset
            for before, after in kind.changes:
                assert before in data[:_HEAD]
                data = data[:_HEAD].replace(before, after) + data[_HEAD:]
            path = self.shares[number % shares] / f"{number:05d}.dcm"
            path.write_bytes(data)
            self._heads[path] = data[:_HEAD]
            self.bytes += len(data)

    @property
    def uid(self) -> str:
        """The Study Instance UID of the run."""
        return f"{ROOT}.{self._number}.1"

    def refresh(self) -> None:
        """Give every UID a value that no run before had, and let the disk come to rest: what the sender wrote must not be flushed by
        whoever receives.
        """
        self._number = next(_numbers)
        fresh = b"%08d" % self._number
        for path, head in self._heads.items():
            with path.open("r+b") as file:
                file.write(head.replace(_MARK, fresh))
        os.sync()
