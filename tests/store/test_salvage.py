"""edge.store.salvage: of a pack that rotted before the archive had it, what is whole is kept and what is not is named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.errors import Corrupt
from edge.model import UID, PackId, Urgency
from edge.store.pack import OpenPack
from edge.store.proving import notices
from edge.store.salvage import Salvaged, salvage
from tests.store.boxes import Box, instance, sha256

STUDY = "1.2.3"


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def pack(box: Box) -> PackId:
    """A closed pack of three instances."""
    packs = {box.receive(instance(number)).id for number in (1, 2, 3)}
    box.close_due(everything=True)
    (made,) = packs
    return made


def path_of(box: Box, pack: PackId) -> Path:
    return box.cache / pack[:2] / f"{pack}.tar"


def rot(box: Box, pack: PackId, offset: Callable[[tuple[int, ...]], int], number: int) -> None:
    """Flip a bit at an offset that is chosen from (header, dataset, length) of an instance."""
    row = box.catalogue.rows("members_of_pack", pack)[number - 1]
    with path_of(box, pack).open("r+b") as file:
        at = offset(row[6:9])
        byte = os.pread(file.fileno(), 1, at)[0]
        os.pwrite(file.fileno(), bytes([byte ^ 1]), at)
        os.fsync(file.fileno())


def dataset(where: tuple[int, ...]) -> int:
    return where[1] + where[2] - 1


def header(where: tuple[int, ...]) -> int:
    return where[0]


def salvaged(box: Box, pack: PackId) -> Salvaged:
    found = salvage(box.cache, box.catalogue, pack, box.clock)
    assert found is not None
    return found


def test_what_is_whole_moves_to_a_pack_of_its_own_and_what_is_not_is_named_by_its_study(box: Box, pack: PackId) -> None:
    rot(box, pack, dataset, 2)
    rotten = sha256(path_of(box, pack))
    found = salvaged(box, pack)
    assert (found.kept, found.lost) == (2, 1)
    assert found.pack is not None
    fresh = box.catalogue.pack(found.pack)
    assert fresh is not None
    assert (fresh.instances, fresh.here, fresh.stopped, fresh.sha256) == (2, "whole", None, sha256(path_of(box, found.pack)))
    assert box.proven() == {f"{STUDY}.1.1": True, f"{STUDY}.1.2": False, f"{STUDY}.1.3": True}
    assert box.catalogue.rows("next_to_code", since=0.0) == [(found.pack,)]
    (said,) = notices(box.catalogue)
    assert said.startswith(f"1 instance of study {STUDY} is lost")
    assert sha256(path_of(box, pack)) == rotten
    assert box.still_open() == []


def test_what_is_lost_is_so_no_longer_when_it_was_sent_again(box: Box, pack: PackId) -> None:
    rot(box, pack, dataset, 2)
    salvaged(box, pack)
    box.receive(instance(2))
    box.close_due(everything=True)
    assert notices(box.catalogue) == []
    assert set(box.proven().values()) == {True}
    assert len(box.proven()) == 3
    assert box.catalogue.pack(pack) is None
    assert not path_of(box, pack).exists()


def test_where_only_what_lies_around_the_instances_rotted_none_is_lost_and_the_pack_goes(box: Box, pack: PackId) -> None:
    rot(box, pack, header, 1)
    found = salvaged(box, pack)
    assert (found.kept, found.lost) == (3, 0)
    assert box.proven() == {f"{STUDY}.1.{number}": True for number in (1, 2, 3)}
    assert box.catalogue.pack(pack) is None
    assert [path.stem for path in box.closed()] == [found.pack]
    assert notices(box.catalogue) == []


def test_a_pack_without_anything_whole_waits_for_a_person(box: Box, pack: PackId) -> None:
    for number in (1, 2, 3):
        rot(box, pack, dataset, number)
    for _ in range(2):  # whoever has it tried again changes nothing
        assert salvaged(box, pack) == Salvaged(None, 0, 3)
    assert box.catalogue.rows("next_to_code", since=0.0) == []
    assert box.still_open() == []
    (said,) = notices(box.catalogue)
    assert said.startswith(f"3 instances of study {STUDY} are lost")


def test_a_pack_that_is_whole_is_left_alone(box: Box, pack: PackId) -> None:
    before = sha256(path_of(box, pack))
    assert salvage(box.cache, box.catalogue, pack, box.clock) is None
    assert sha256(path_of(box, pack)) == before
    assert box.still_open() == []


def test_a_file_that_cannot_be_read_changes_nothing(box: Box, pack: PackId) -> None:
    path = path_of(box, pack)
    path.rename(path.with_suffix(".away"))
    with pytest.raises(Corrupt):
        salvage(box.cache, box.catalogue, pack, box.clock)
    assert notices(box.catalogue) == []
    assert box.still_open() == []


def test_killed_before_the_catalogue_counts_on_it_the_copy_is_removed_by_the_next_start(box: Box, pack: PackId) -> None:
    rot(box, pack, dataset, 2)
    copy = OpenPack(box.open, UID(STUDY), Urgency.ROUTINE)
    for number in (1, 3):
        box.write(copy, instance(number))
    copy.close()
    box.stop()
    box.start()
    assert box.still_open() == []
    assert box.catalogue.pack(copy.id) is None
    assert salvaged(box, pack).kept == 2


def test_killed_before_the_file_is_moved_the_next_start_moves_it(box: Box, pack: PackId) -> None:
    rot(box, pack, dataset, 2)
    found = salvaged(box, pack)
    assert found.pack is not None
    box.stop()
    path_of(box, found.pack).rename(box.open / f"{found.pack}.tar")
    box.start()
    assert box.still_open() == []
    assert box.proven() == {f"{STUDY}.1.1": True, f"{STUDY}.1.2": False, f"{STUDY}.1.3": True}
