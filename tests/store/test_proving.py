"""edge.store.proving: a closed pack is where the catalogue says, or comes from the archive, or is said to be lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.model import Level, PackId
from edge.store.pack import OpenPack
from edge.store.proving import Proven, notices, prove_files, prove_recent
from tests.store.boxes import Box, instance
from tests.store.rows import ask, values


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path / "state")
    yield made
    made.stop()


def closed(box: Box, *numbers: int, study: str = "1.2.3") -> OpenPack:
    for number in numbers:
        pack = box.receive(instance(number, study=study))
    box.close_due(everything=True)
    return pack


def place(box: Box, pack: OpenPack) -> Path:
    return box.cache / pack.id[:2] / f"{pack.id}.tar"


def hold(box: Box, pack: OpenPack) -> None:
    with box.catalogue.facts(1):
        box.catalogue.hold(pack.id, 3000.0, 5000)


def rot(box: Box, pack: OpenPack) -> None:
    """In the dataset of its first instance."""
    _, offset, _, _ = box.catalogue.rows("members_here", pack.id)[0]
    with place(box, pack).open("r+b") as file:
        os.pwrite(file.fileno(), b"rot", offset + 100)
        os.fsync(file.fileno())


def availability(box: Box) -> list[str]:
    return sorted(map(str, values(ask(box.catalogue, Level.IMAGE), "00080056")))


def test_packs_that_are_where_they_belong_prove_themselves(box: Box) -> None:
    closed(box, 1, 2)
    assert prove_files(box.cache, box.catalogue) == Proven()
    assert prove_recent(box.cache, box.catalogue) == Proven()
    assert notices(box.catalogue) == []


def test_a_held_pack_whose_file_is_gone_comes_from_the_archive(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    pack = closed(box, 1, 2)
    hold(box, pack)
    place(box, pack).unlink()
    assert prove_files(box.cache, box.catalogue) == Proven(nearline=1)
    assert availability(box) == ["NEARLINE", "NEARLINE"]
    assert f"pack {pack.id} has no file in the cache; it comes from the archive" in caplog.text
    assert prove_files(box.cache, box.catalogue) == Proven()


def test_a_pack_that_waits_coded_in_the_outbox_is_not_lost_with_its_file(box: Box) -> None:
    pack = closed(box, 1)
    box.catalogue.mark_coded(pack.id, 1.0, 100, "{}", 2)
    place(box, pack).unlink()
    assert prove_files(box.cache, box.catalogue).nearline == 1
    state = box.catalogue.pack(pack.id)
    assert state is not None
    assert (state.here, state.stopped) == ("some", None)
    assert notices(box.catalogue) == []
    hold(box, pack)
    assert availability(box) == ["NEARLINE"]


def test_a_pack_that_is_nowhere_is_lost_loudly_and_said_by_study(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    pack = closed(box, 1, 2)
    closed(box, 1, study="1.8")
    place(box, pack).unlink()
    for _ in range(2):
        assert prove_files(box.cache, box.catalogue) == Proven(lost=2)
    assert caplog.text.count(f"pack {pack.id} has no file in the cache and is not in the archive") == 2
    assert availability(box) == ["ONLINE", "UNAVAILABLE", "UNAVAILABLE"]
    (notice,) = notices(box.catalogue)
    assert "2 instances of study 1.2.3 are lost" in notice


def test_a_file_that_is_back_is_found_again(box: Box, tmp_path: Path) -> None:
    pack = closed(box, 1, 2)
    place(box, pack).rename(tmp_path / "away")
    prove_files(box.cache, box.catalogue)
    (tmp_path / "away").rename(place(box, pack))
    assert prove_files(box.cache, box.catalogue) == Proven(found=2)
    assert availability(box) == ["ONLINE", "ONLINE"]
    assert notices(box.catalogue) == []
    assert box.catalogue.rows("next_to_code", since=0.0) == [(pack.id,)]
    assert prove_files(box.cache, box.catalogue) == Proven()


def test_what_was_lost_is_forgotten_when_it_was_sent_again(box: Box) -> None:
    lost = closed(box, 1)
    place(box, lost).unlink()
    prove_files(box.cache, box.catalogue)
    again = closed(box, 1)
    assert again.id != lost.id
    assert availability(box) == ["ONLINE"]
    assert box.catalogue.pack(lost.id) is None
    assert notices(box.catalogue) == []


def test_a_rotten_instance_that_was_admitted_last_is_lost_and_the_others_are_not(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    pack = closed(box, 1, 2)
    rot(box, pack)
    assert prove_recent(box.cache, box.catalogue) == Proven(lost=1)
    assert availability(box) == ["ONLINE", "UNAVAILABLE"]
    assert f"pack {pack.id}: 1 instances do not prove themselves" in caplog.text
    assert prove_recent(box.cache, box.catalogue) == Proven()


def test_a_rotten_pack_that_the_archive_has_comes_from_there(box: Box) -> None:
    pack = closed(box, 1, 2)
    hold(box, pack)
    rot(box, pack)
    assert prove_recent(box.cache, box.catalogue) == Proven(nearline=1)
    assert availability(box) == ["NEARLINE", "NEARLINE"]
    assert not place(box, pack).exists()


def test_what_was_received_long_before_the_end_is_left_to_the_scrub(box: Box) -> None:
    old = closed(box, 1)
    box.clock.time += 3600
    closed(box, 1, study="1.8")
    rot(box, old)
    assert prove_recent(box.cache, box.catalogue) == Proven()


def test_only_packs_are_looked_at_in_the_cache(box: Box) -> None:
    pack = closed(box, 1)
    (box.cache / "xy").write_bytes(b"a file where a directory could be")
    (box.cache / pack.id[:2] / "notes.txt").write_bytes(b"x")
    assert prove_files(box.cache, box.catalogue) == Proven()
    assert PackId(pack.id) == place(box, pack).stem
