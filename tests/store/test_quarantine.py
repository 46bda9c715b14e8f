"""edge.store.quarantine: set aside whole, once for each digest, within its cap."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from edge.errors import StoreFull
from edge.store.quarantine import About, Allowance, QuarantineFull, QuarantineWriter, discard, set_aside, sweep

ABOUT = About("why", 7, "1.2", "1.2.3", "CT99", 0.0)


def allowing(max_bytes: int) -> Allowance:
    return Allowance(max_bytes, lambda: 0)


def test_a_dataset_is_kept_under_its_digest_and_the_same_again_is_one_file(tmp_path: Path) -> None:
    for number in range(2):
        writer = QuarantineWriter(tmp_path, allowing(100))
        writer.write(b"data")
        writer.write(memoryview(b"set"))
        digest = writer.commit(replace(ABOUT, received_at=number))
        writer.cut()
    assert digest == hashlib.sha256(b"dataset").hexdigest()
    assert (tmp_path / digest).read_bytes() == b"dataset"
    assert sorted(path.name for path in tmp_path.iterdir()) == [digest, f"{digest}.json"]
    assert {path.stat().st_mode & 0o007 for path in tmp_path.iterdir()} == {0}
    assert set_aside(tmp_path) == {digest: ABOUT}


def test_a_dataset_whose_description_is_lost_is_still_known(tmp_path: Path) -> None:
    writer = QuarantineWriter(tmp_path, allowing(100))
    writer.write(b"data")
    digest = writer.commit(ABOUT)
    for damage in (b"not json", b"{}", None):
        path = tmp_path / f"{digest}.json"
        path.write_bytes(damage) if damage else path.unlink()
        ((found, about),) = set_aside(tmp_path).items()
        assert (found, about.bytes, about.source_ae) == (digest, 4, "")
        assert "not known any more" in about.reason


def test_a_discard_that_was_interrupted_is_finished_by_the_sweep(tmp_path: Path) -> None:
    for data in (b"one", b"two"):
        writer = QuarantineWriter(tmp_path, allowing(100))
        writer.write(data)
        digest = writer.commit(ABOUT)
    (tmp_path / digest).unlink()
    sweep(tmp_path)
    (left,) = set_aside(tmp_path)
    discard(tmp_path, left)
    discard(tmp_path, left)
    assert list(tmp_path.iterdir()) == []


def test_what_is_cut_leaves_nothing(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    writer = QuarantineWriter(tmp_path, allowing(100))
    writer.write(b"data")
    writer.cut()
    writer.cut()
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_cap_is_kept_to_the_byte(tmp_path: Path) -> None:
    writer = QuarantineWriter(tmp_path, allowing(4))
    writer.write(b"data")
    with pytest.raises(QuarantineFull) as caught:
        writer.write(b"x")
    assert isinstance(caught.value, StoreFull)
    writer.cut()


def test_writers_at_the_same_time_share_the_cap(tmp_path: Path) -> None:
    recorded = [0]
    allowance = Allowance(10, lambda: recorded[0])
    first, second = QuarantineWriter(tmp_path, allowance), QuarantineWriter(tmp_path, allowance)
    first.write(b"sixsix")
    with pytest.raises(QuarantineFull):
        second.write(b"fives")
    second.write(b"four")
    first.cut()
    second.write(b"sixsix")
    second.commit(ABOUT)
    recorded[0] = 10
    second.cut()
    with pytest.raises(QuarantineFull):
        QuarantineWriter(tmp_path, allowance).write(b"x")


def test_a_sweep_removes_what_was_being_written_and_nothing_else(tmp_path: Path) -> None:
    writer = QuarantineWriter(tmp_path, allowing(100))
    writer.write(b"data")
    (tmp_path / "kept").write_bytes(b"kept")
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    writer.cut()
