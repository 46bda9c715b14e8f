"""edge.store.quarantine: set aside whole, once for each digest, within its cap."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from edge.errors import StoreFull
from edge.store.quarantine import QuarantineFull, QuarantineWriter, sweep


def test_a_dataset_is_kept_under_its_digest_and_the_same_again_is_one_file(tmp_path: Path) -> None:
    for _ in range(2):
        writer = QuarantineWriter(tmp_path, 100)
        writer.write(b"data")
        writer.write(memoryview(b"set"))
        digest = writer.commit()
        writer.cut()
    assert digest == hashlib.sha256(b"dataset").hexdigest()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {digest: b"dataset"}
    assert (tmp_path / digest).stat().st_mode & 0o007 == 0


def test_what_is_cut_leaves_nothing(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    writer = QuarantineWriter(tmp_path, 100)
    writer.write(b"data")
    writer.cut()
    writer.cut()
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_cap_is_kept_to_the_byte(tmp_path: Path) -> None:
    writer = QuarantineWriter(tmp_path, 4)
    writer.write(b"data")
    with pytest.raises(QuarantineFull) as caught:
        writer.write(b"x")
    assert isinstance(caught.value, StoreFull)
    writer.cut()
    with pytest.raises(QuarantineFull):
        QuarantineWriter(tmp_path, 0).write(b"x")


def test_a_sweep_removes_what_was_being_written_and_nothing_else(tmp_path: Path) -> None:
    writer = QuarantineWriter(tmp_path, 100)
    writer.write(b"data")
    (tmp_path / "kept").write_bytes(b"kept")
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    writer.cut()
