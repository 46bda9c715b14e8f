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
    return Allowance(max_bytes, max_bytes, dict)


def test_a_dataset_is_kept_under_its_digest_and_the_same_again_is_one_file(tmp_path: Path) -> None:
    for number in range(2):
        writer = QuarantineWriter(tmp_path, allowing(100), "CT99")
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
    writer = QuarantineWriter(tmp_path, allowing(100), "CT99")
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
        writer = QuarantineWriter(tmp_path, allowing(100), "CT99")
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
    writer = QuarantineWriter(tmp_path, allowing(100), "CT99")
    writer.write(b"data")
    writer.cut()
    writer.cut()
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == before


def aside(directory: Path, allowance: Allowance, data: bytes, source_ae: str = "CT99") -> None:
    writer = QuarantineWriter(directory, allowance, source_ae)
    try:
        writer.write(data)
        writer.commit(ABOUT)
    finally:
        writer.cut()


def test_the_cap_is_kept_to_the_byte_and_what_does_not_fit_takes_no_room(tmp_path: Path) -> None:
    writer = QuarantineWriter(tmp_path, allowing(4), "CT99")
    writer.write(b"data")
    writer.write(b"x")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(QuarantineFull) as caught:
        writer.commit(ABOUT)
    assert isinstance(caught.value, StoreFull)
    writer.cut()
    assert list(tmp_path.iterdir()) == []


def test_what_quarantine_holds_already_is_taken_again_when_it_is_full(tmp_path: Path) -> None:
    recorded: dict[str, int] = {}
    allowance = Allowance(7, 7, lambda: recorded)
    aside(tmp_path, allowance, b"dataset")
    recorded["CT99"] = 7
    before = sorted(tmp_path.iterdir())
    aside(tmp_path, allowance, b"dataset")
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(QuarantineFull):
        aside(tmp_path, allowance, b"another")
    assert sorted(tmp_path.iterdir()) == before


def test_writers_at_the_same_time_share_the_cap(tmp_path: Path) -> None:
    recorded: dict[str, int] = {}
    allowance = Allowance(10, 10, lambda: recorded)
    first, second, third = (QuarantineWriter(tmp_path, allowance, "CT99") for _ in range(3))
    first.write(b"sixsix")
    second.write(b"fives")
    with pytest.raises(QuarantineFull):
        second.commit(ABOUT)
    third.write(b"four")
    first.cut()
    third.write(b"sixsix")
    third.commit(ABOUT)
    recorded["CT99"] = 10
    third.cut()
    with pytest.raises(QuarantineFull):
        aside(tmp_path, allowance, b"x")


def test_one_source_does_not_take_the_room_of_all(tmp_path: Path) -> None:
    recorded = {"CT99": 4}
    allowance = Allowance(10, 5, lambda: recorded)
    with pytest.raises(QuarantineFull):
        aside(tmp_path, allowance, b"two")
    aside(tmp_path, allowance, b"fives", "MR1")


def test_people_are_told_before_quarantine_is_full(tmp_path: Path) -> None:
    recorded = {"CT99": 3_000_000_000, "MR1": 1_000_000_000}
    allowance = Allowance(10_000_000_000, 5_000_000_000, lambda: recorded)
    assert allowance.alarms() == []
    recorded["CT99"] = 4_000_000_000
    (of_one,) = allowance.alarms()
    assert "of CT99 4.0 of 5.0 GB" in of_one
    recorded["MR1"] = 4_000_000_000
    assert len(allowance.alarms()) == 3
    assert "8.0 of 10.0 GB" in allowance.alarms()[0]


def test_a_sweep_removes_what_was_being_written_and_nothing_else(tmp_path: Path) -> None:
    writer = QuarantineWriter(tmp_path, allowing(100), "CT99")
    writer.write(b"data")
    (tmp_path / "kept").write_bytes(b"kept")
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    writer.cut()
