"""What the bench sends: a generated CT study as Part 10 files, whose UIDs are fresh in every run."""

from __future__ import annotations

import os
from pathlib import Path

from edge.dataset.part10 import file_meta
from edge.demo.phantom import ROOT, phantom
from edge.model import Identity, parse_uid

_MARK = b"77777777"
"""Stands in every UID; each run puts a number of as many digits in its place, so lengths and offsets stay."""


_UIDS = 10_000_000
_HEAD = 4096
"""Bytes of a file within which its UIDs lie."""


class Study:
    """Part 10 files of one generated study, in a directory of its own."""

    def __init__(self, directory: Path, instances: int) -> None:
        self.directory = directory
        self.instances = instances
        self._run = 0
        directory.mkdir(parents=True)
        for number, sample in enumerate(phantom(instances, run=int(_MARK))):
            identity = Identity(sample.sop_class, sample.sop_instance, parse_uid("1.2") or sample.study, sample.study)
            data = file_meta(identity, sample.transfer_syntax, "BENCH", None) + sample.dataset
            (directory / f"{number:04d}.dcm").write_bytes(data)
        self.bytes = sum(path.stat().st_size for path in directory.iterdir())
        self._heads = {path: path.read_bytes()[:_HEAD] for path in sorted(directory.iterdir())}

    @property
    def uid(self) -> str:
        """The Study Instance UID of the run."""
        return f"{ROOT}.{_UIDS + self._run}.1"

    def refresh(self) -> None:
        """Give every UID a value that no run before had, and let the disk come to rest: what the sender wrote must not be flushed by
        whoever receives.
        """
        self._run += 1
        fresh = b"%08d" % (_UIDS + self._run)
        for path, head in self._heads.items():
            with path.open("r+b") as file:
                file.write(head.replace(_MARK, fresh))
        os.sync()
