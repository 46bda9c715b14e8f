"""edge.store.scrub: one flipped bit anywhere in a pack file is found, and put down to the instance that it belongs to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge import tarblock
from edge.model import Digest, PackId
from edge.store.scrub import Extent, Whole, examine
from edge.store.scrubs import Scrubs
from tests.store.boxes import Box, instance, sha256


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path / "state")
    yield made
    made.stop()


class Pack:
    """A closed pack of three instances."""

    def __init__(self, box: Box) -> None:
        for number in (1, 2, 3):
            self.id = box.receive(instance(number, pixels=bytes(700 * number))).id
        box.close_due(everything=True)
        (self.path,) = box.closed()
        found = Scrubs(box.catalogue).pack(self.id)
        assert found is not None
        assert found.whole == Whole(self.path.stat().st_size, sha256(self.path))
        self.whole, self.members = found.whole, found.members

    def flip(self, offset: int) -> None:
        with self.path.open("r+b") as file:
            byte = os.pread(file.fileno(), 1, offset)[0]
            os.pwrite(file.fileno(), bytes([byte ^ 4]), offset)
            os.fsync(file.fileno())


@pytest.fixture
def pack(box: Box) -> Pack:
    return Pack(box)


def nothing(count: int) -> None:
    pass


def test_a_pack_that_is_as_it_was_closed_is_sound(pack: Pack) -> None:
    read: list[int] = []
    found = examine(pack.path, pack.members, pack.whole, read.append)
    assert found.sound
    assert found.file == (pack.path.stat().st_dev, pack.path.stat().st_ino)
    assert sum(read) == pack.whole.bytes


def test_a_flipped_bit_of_a_dataset_is_found_in_a_whole_pack_and_in_a_part_of_one(pack: Pack) -> None:
    rotten = pack.members[1]
    pack.flip(rotten.dataset_offset + rotten.dataset_length - 1)
    for whole in (pack.whole, None):
        found = examine(pack.path, pack.members, whole, nothing)
        assert (found.rotten, found.worn) == ((rotten,), ())
    assert examine(pack.path, [pack.members[0], pack.members[2]], None, nothing).sound


@pytest.mark.parametrize("where", ["the header block", "the file meta", "the digest in it", "the padding"])
def test_a_flipped_bit_around_a_dataset_is_put_down_to_its_instance(pack: Pack, where: str) -> None:
    worn = pack.members[2]
    end = worn.dataset_offset + worn.dataset_length
    assert tarblock.padding(end)
    places = {
        "the header block": worn.header_offset + 130,
        "the file meta": worn.header_offset + tarblock.BLOCK + 128,
        "the digest in it": worn.dataset_offset - 1,
        "the padding": end,
    }
    pack.flip(places[where])
    found = examine(pack.path, pack.members, pack.whole, nothing)
    assert (found.rotten, found.worn) == ((), (worn,))


@pytest.mark.parametrize("where", ["a value that nothing else says", "behind the instances"])
def test_where_it_cannot_be_said_which_instance_it_is_all_are(pack: Pack, where: str) -> None:
    meta = pack.path.read_bytes().index(b"CT99")
    pack.flip(meta if where.startswith("a value") else pack.whole.bytes - 1)
    found = examine(pack.path, pack.members, pack.whole, nothing)
    assert (found.rotten, found.worn) == ((), pack.members)


def test_a_file_that_is_cut_short_or_gone_is_rotten(pack: Pack) -> None:
    os.truncate(pack.path, pack.members[1].dataset_offset + 10)
    assert examine(pack.path, pack.members, pack.whole, nothing).rotten == pack.members[1:]
    pack.path.unlink()
    found = examine(pack.path, pack.members, pack.whole, nothing)
    assert (found.file, found.rotten) == (None, pack.members)


def test_what_is_not_counted_on_any_more_is_no_fault_of_the_file(box: Box, pack: Pack) -> None:
    box.catalogue.lose(pack.id, [pack.members[1].header_offset])
    found = Scrubs(box.catalogue).pack(pack.id)
    assert found is not None
    assert (found.whole, found.members) == (None, (pack.members[0], pack.members[2]))


def test_what_is_open_or_not_here_is_not_looked_at(box: Box, pack: Pack) -> None:
    scrubs = Scrubs(box.catalogue)
    assert scrubs.pack(box.receive(instance(9)).id) is None
    with box.catalogue.facts(1):
        box.catalogue.hold(pack.id, 3000.0, 5000)
    box.catalogue.evict(pack.id)
    assert scrubs.pack(pack.id) is None
    assert scrubs.pack(PackId("z" * 26)) is None


def test_who_paces_may_end_the_look(pack: Pack) -> None:
    class Enough(Exception):
        pass

    def enough(count: int) -> None:
        raise Enough

    with pytest.raises(Enough):
        examine(pack.path, pack.members, pack.whole, enough)


def test_a_path_that_is_no_file_says_nothing_about_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "pack")
    with pytest.raises(OSError, match="symbolic links"):
        examine(tmp_path / "link", [Extent(0, 1024, 10, Digest("0" * 64))], None, nothing)
