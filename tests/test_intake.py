"""edge.intake: what arrives is ours when it is durable and described, and leaves no trace when it is not."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.config import Cache, Config, Layout
from edge.dataset.attributes import HEAD_CAP
from edge.dataset.walk import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE
from edge.dimse.ports import Arrival, Outcome, Reception
from edge.errors import StoreFailed, StoreFull
from edge.failstop import FailStop
from edge.intake import PackIntake
from edge.model import UID, AETitle, Level, Peer, Query, Urgency
from edge.store.catalogue import Catalogue
from edge.store.pack import OpenPack, scan
from edge.store.packs import OpenPacks
from edge.store.quarantine import QuarantineFull
from edge.store.reconcile import reconcile
from edge.store.room import Room
from tests.dataset.datasets import CT, dataset, deflate, element
from tests.store.rows import Clock

INSTANCE = "1.2.3.1.1"


class Box:
    """A state directory that takes instances in."""

    def __init__(
        self,
        state: Path,
        cache: Cache | None = None,
        packs: type[OpenPacks] = OpenPacks,
        issuer_of: Callable[[str], str] = lambda source_ae: "",
    ) -> None:
        self.layout = Layout(state)
        for directory in (self.layout.open_packs, self.layout.quarantine):
            directory.mkdir(parents=True, exist_ok=True)
        config = Config(cache=cache or Cache(reserve_bytes=0))
        self.clock = Clock()
        self.catalogue = Catalogue(self.layout.catalogue, issuer_of)
        self.packs = packs(self.layout.cache, config.cache, self.catalogue, self.clock)
        self.stops: list[str] = []
        self.fail_stop = FailStop(lambda: self.stops.append("stop"))
        self.room = Room([self.layout.cache], config.cache.reserve_bytes)
        self.intake = PackIntake(config, self.layout, self.catalogue, self.packs, self.room, self.clock, self.fail_stop)

    def begin(self, instance: str = INSTANCE, syntax: str = EXPLICIT_LE, sop_class: str = CT, called: str = "OUTPOST") -> Reception:
        title = AETitle("CT99")
        arrival = Arrival(UID(sop_class), UID(instance), UID(syntax), title, AETitle(called), "10.0.0.8", Peer(title))
        return self.intake.begin(arrival)

    def store(self, data: bytes, instance: str = INSTANCE, syntax: str = EXPLICIT_LE, fragment: int = 1 << 16, **more: str) -> Outcome:
        reception = self.begin(instance, syntax, **more)
        buffer = bytearray(fragment)
        try:
            for begin in range(0, len(data), fragment):
                piece = data[begin : begin + fragment]
                buffer[: len(piece)] = piece
                reception.write(memoryview(buffer)[: len(piece)])
                buffer[:] = bytes(fragment)  # the memory is reused
            return reception.commit()
        finally:
            reception.abort()

    def kept(self) -> list[bytes]:
        """The datasets that are catalogued, as they lie in the packs."""
        found = []
        for one in self.catalogue.locate(Query(Level.STUDY, {})):
            with (self.layout.open_packs / f"{one.pack}.tar").open("rb") as file:
                found.append(os.pread(file.fileno(), one.dataset_length, one.dataset_offset))
        return found

    def members(self) -> list[str]:
        """The names of all members that prove themselves."""
        names = []
        for path in sorted(self.layout.open_packs.glob("*.tar")):
            with path.open("rb") as file:
                found = list(scan(file.fileno()))
                assert (found[-1].end if found else 0) == path.stat().st_size, "nothing lies behind the last member"
                names += [one.name for one in found]
        return names

    def set_aside(self) -> dict[str, tuple[str, bytes]]:
        rows = {row[0]: row[1] for row in self.catalogue.rows("quarantined")}
        files = {path.name: path.read_bytes() for path in self.layout.quarantine.iterdir() if not path.suffix}
        assert rows.keys() == files.keys()
        assert all(hashlib.sha256(data).hexdigest() == name for name, data in files.items())
        return {name: (rows[name], files[name]) for name in rows}


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.catalogue.close()


# What became of it


@pytest.mark.parametrize("syntax", [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, DEFLATED_LE, "1.2.840.10008.1.2.4.50"])
def test_an_instance_is_stored_verbatim_and_described(box: Box, syntax: str) -> None:
    data = dataset(syntax=syntax, pixels=os.urandom(100_000), more={0x00280010: ("US", b"\x02\x02")})
    assert box.store(data, syntax=syntax) is Outcome.STORED
    assert box.kept() == [data]
    assert box.members() == ["1.2.3.1.1.dcm"]
    (answer,) = box.catalogue.find(Query(Level.IMAGE, {}), link_up=True)
    assert [answer[tag]["Value"] for tag in ("00100020", "00200013", "00280010", "00083002")] == [["P1"], [1], [514], [syntax]]
    assert box.set_aside() == {}


def test_the_same_instance_again_is_a_duplicate_and_leaves_no_trace(box: Box) -> None:
    box.store(dataset())
    before = box.members()
    assert [box.store(dataset()) for _ in range(3)] == [Outcome.DUPLICATE] * 3
    assert box.members() == before
    assert box.store(dataset(instance="1.2.3.1.2"), "1.2.3.1.2") is Outcome.STORED


def test_another_dataset_of_the_same_instance_is_kept_as_a_variant_under_its_digest(box: Box) -> None:
    first, second = dataset(), dataset(pixels=b"other!")
    box.store(first)
    assert box.store(second) is Outcome.VARIANT
    assert box.store(second) is Outcome.DUPLICATE
    assert box.store(first) is Outcome.DUPLICATE
    digest = hashlib.sha256(second).hexdigest()
    assert box.members() == ["1.2.3.1.1.dcm", f"1.2.3.1.1~{digest[:16]}.dcm"]
    assert box.kept() == [first]


@pytest.mark.parametrize("which", [{"sop_class": "1.2.840.10008.5.1.4.1.1.4"}, {"instance": "1.2.3.1.2"}])
def test_a_command_set_that_disagrees_is_contradictory_and_set_aside(box: Box, which: dict[str, str]) -> None:
    data = dataset(pixels=bytes(100_000))
    assert box.store(data, fragment=1000, **which) is Outcome.CONTRADICTORY
    assert [kept for _, kept in box.set_aside().values()] == [data]
    assert "disagree" in next(iter(box.set_aside().values()))[0]
    assert (box.members(), box.kept()) == ([], [])


UNIDENTIFIED = {
    "no study": dataset(study=""),
    "no UID": dataset(study="../../etc"),
    "long UID": dataset(series="1" * 65),
    "cut off": dataset()[:60],
    "no DICOM": b"%PDF-1.7 and so on, at some length",
    "implicit": dataset(syntax=IMPLICIT_LE),
    "empty": b"",
    "deep": (element(0x00080006, "SQ", b"", length=0xFFFFFFFF) + element(0xFFFEE000, "", b"", length=0xFFFFFFFF)) * 5000,
}


@pytest.mark.parametrize("data", UNIDENTIFIED.values(), ids=UNIDENTIFIED)
@pytest.mark.parametrize("fragment", [1 << 16, 1000])
def test_what_does_not_identify_itself_is_set_aside_once_for_each_digest(box: Box, data: bytes, fragment: int) -> None:
    for _ in range(2):
        assert box.store(data, fragment=fragment) is Outcome.UNIDENTIFIED
    assert [kept for _, kept in box.set_aside().values()] == [data]
    assert all(reason for reason, _ in box.set_aside().values())
    assert (box.members(), box.kept()) == ([], [])
    assert box.packs.studies == []


def test_a_deflate_bomb_without_identity_is_set_aside_as_it_arrived(box: Box) -> None:
    bomb = deflate(bytes(64 << 20))
    assert box.store(bomb, syntax=DEFLATED_LE, fragment=1000) is Outcome.UNIDENTIFIED
    assert [kept for _, kept in box.set_aside().values()] == [bomb]


# How it arrives


@pytest.mark.parametrize("syntax", [EXPLICIT_LE, IMPLICIT_LE, DEFLATED_LE])
@pytest.mark.parametrize("fragment", [1, 2, 7, 64, 333])
def test_fragments_may_be_of_any_size(box: Box, syntax: str, fragment: int) -> None:
    data = dataset(syntax=syntax, pixels=os.urandom(2000), more={0x00280010: ("US", b"\x02\x02")})
    assert box.store(data, syntax=syntax, fragment=fragment) is Outcome.STORED
    assert box.kept() == [data]
    (answer,) = box.catalogue.find(Query(Level.IMAGE, {}), link_up=True)
    assert [answer[tag]["Value"] for tag in ("00200011", "00200013", "00280010")] == [[1], [1], [514]]


def test_a_header_larger_than_the_first_fragments_is_waited_for(box: Box) -> None:
    data = dataset(more={0x00091001: ("UN", os.urandom(300_000))}, pixels=bytes(50_000))
    assert box.store(data, fragment=16_000) is Outcome.STORED
    assert box.kept() == [data]
    (answer,) = box.catalogue.find(Query(Level.IMAGE, {"00100020": "P1"}), link_up=True)
    assert answer["00200013"]["Value"] == [1]


def test_tiny_fragments_of_a_long_header_are_looked_at_a_few_times_only(box: Box) -> None:
    data = element(0x00080001, "UL", b"\0\0\0\0") * 30_000 + dataset()
    assert box.store(data, fragment=4) is Outcome.STORED


def test_called_as_stat_it_goes_into_an_urgent_pack(box: Box) -> None:
    box.store(dataset(), called="OUTPOST_STAT")
    (pack,) = (path.stem for path in box.layout.open_packs.iterdir())
    assert box.catalogue.pack(pack).urgency is Urgency.STAT  # type: ignore[union-attr]


def test_an_abort_at_any_point_cuts_the_pack_back(box: Box) -> None:
    box.store(dataset())
    data = dataset(instance="1.2.3.1.2", pixels=bytes(3000))
    for cut in (0, 10, 150, 400, len(data)):
        reception = box.begin("1.2.3.1.2")
        for begin in range(0, cut, 100):
            reception.write(memoryview(data)[begin : min(begin + 100, cut)])
        reception.abort()
        reception.abort()
        assert box.members() == ["1.2.3.1.1.dcm"]
    assert box.set_aside() == {}
    assert box.store(data, "1.2.3.1.2") is Outcome.STORED
    assert len(box.members()) == 2


def test_an_abort_of_what_would_be_set_aside_leaves_nothing(box: Box) -> None:
    reception = box.begin()
    reception.write(memoryview(b"%PDF-1.7 and so on, at some length"))
    reception.abort()
    assert list(box.layout.quarantine.iterdir()) == []


def test_two_receptions_of_one_study_at_once_take_two_packs(box: Box) -> None:
    datasets = [dataset(instance=f"1.2.3.1.{number}", number=number) for number in (1, 2)]
    receptions = [box.begin(f"1.2.3.1.{number}") for number in (1, 2)]
    for reception, data in zip(receptions, datasets, strict=True):
        reception.write(memoryview(data))
    assert [reception.commit() for reception in receptions] == [Outcome.STORED] * 2
    assert len(list(box.layout.open_packs.iterdir())) == 2
    assert box.kept() == datasets


def test_the_same_instance_from_several_threads_at_once_is_stored_once(box: Box) -> None:
    together = threading.Barrier(4)
    outcomes: list[Outcome] = []

    def send() -> None:
        for number in range(8):
            reception = box.begin(f"1.2.3.1.{number}")
            reception.write(memoryview(dataset(instance=f"1.2.3.1.{number}", number=number)))
            together.wait()
            outcomes.append(reception.commit())

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (outcomes.count(Outcome.STORED), outcomes.count(Outcome.DUPLICATE)) == (8, 24)
    assert sorted(box.members()) == [f"1.2.3.1.{number}.dcm" for number in range(8)]
    box.clock.time += 1000
    for pack in box.packs.take_due():
        box.packs.close(pack)
    names: list[str] = []
    for path in box.layout.cache.glob("??/*.tar"):
        with tarfile.open(path) as tar:
            names += tar.getnames()
    assert len(set(names)) == len(names) == 8


def test_what_was_acknowledged_is_there_after_a_kill_and_a_lost_catalogue(box: Box) -> None:
    datasets = [dataset(instance=f"1.2.3.1.{number}", number=number, pixels=os.urandom(3000)) for number in range(3)]
    # Group 0002 in a dataset, and a header that reaches up to the cap, are identified again from the pack alone.
    datasets.append(element(0x00020010, "UI", IMPLICIT_LE) + dataset(instance="1.2.3.1.3", number=3))
    datasets.append(dataset(instance="1.2.3.1.4", number=4, more={0x00091001: ("UN", bytes(HEAD_CAP - 2000))}))
    for number, data in enumerate(datasets):
        assert box.store(data, f"1.2.3.1.{number}") is Outcome.STORED
    box.catalogue.close()
    for path in box.layout.edge.glob("catalogue.db*"):
        path.unlink()
    box.catalogue = Catalogue(box.layout.catalogue)
    found = reconcile(box.layout.cache, box.layout.quarantine, box.catalogue, box.clock)
    assert (found.adopted, found.lost) == (5, 0)
    for one, data in zip(box.catalogue.locate(Query(Level.STUDY, {})), datasets, strict=True):
        with box.layout.cached(one.pack).open("rb") as file:
            assert os.pread(file.fileno(), one.dataset_length, one.dataset_offset) == data


def test_what_is_received_later_is_never_of_an_earlier_time_unless_the_times_before_were_wrong(tmp_path: Path) -> None:
    box = Box(tmp_path)
    for number, (now, received) in enumerate([(1000, 1000), (400, 1000), (1001, 1001), (80_000, 80_000), (5, 80_000)]):
        if number == 4:  # also after a start
            box.catalogue.close()
            box = Box(tmp_path)
        box.clock.time = float(now)
        box.store(dataset(instance=f"1.2.3.1.{number}", number=number), f"1.2.3.1.{number}")
        assert box.catalogue.figure("newest_reception") == received
    box.clock.time = -10_000.0
    assert box.intake.received_at() == -10_000.0
    box.catalogue.close()


# When the disk does not take it


def test_at_the_reserve_nothing_is_begun(tmp_path: Path) -> None:
    box = Box(tmp_path, Cache(reserve_bytes=1 << 60))
    with pytest.raises(StoreFull):
        box.begin()
    assert list(box.layout.open_packs.iterdir()) == []
    assert box.stops == []
    box.catalogue.close()


def test_quarantine_has_a_cap(tmp_path: Path) -> None:
    box = Box(tmp_path, Cache(reserve_bytes=0, quarantine_max_bytes=100))
    assert box.store(b"%PDF-1.7 first, not quite so long......") is Outcome.UNIDENTIFIED
    with pytest.raises(QuarantineFull):
        box.store(b"%PDF-1.7 second" + bytes(100))
    assert len(box.set_aside()) == 1
    assert box.store(dataset()) is Outcome.STORED
    assert box.stops == []
    box.catalogue.close()


class NoWriting(OpenPacks):
    """Packs on a disk that has turned read-only."""

    def lend(self, study: UID, urgency: Urgency) -> OpenPack:
        pack = super().lend(study, urgency)
        os.close(pack.descriptor)
        pack.descriptor = os.open(pack.path, os.O_RDONLY)
        return pack


@pytest.mark.parametrize("fragment", [100, 1 << 16])
def test_a_disk_that_fails_stops_reception_for_good(tmp_path: Path, fragment: int) -> None:
    box = Box(tmp_path, packs=NoWriting)
    with pytest.raises(StoreFailed):
        box.store(dataset(), fragment=fragment)
    assert box.stops
    with pytest.raises(StoreFailed):
        box.begin()
    assert box.kept() == []
    box.catalogue.close()


def test_a_directory_of_open_packs_that_is_gone_stops_reception(box: Box) -> None:
    box.layout.open_packs.rmdir()
    with pytest.raises(StoreFailed):
        box.store(dataset())
    assert len(box.stops) == 1


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A state directory whose cache lies on a disk of 256 KiB."""
    without = pytest.fail if os.environ.get("CI") else pytest.skip
    if os.getuid() != 0:
        without("needs root to mount a small disk")
    cache = Layout(tmp_path).cache
    cache.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(cache)], capture_output=True, check=False)
    if mounted.returncode:
        without("this container may not mount")
    yield tmp_path
    subprocess.run(["umount", "-l", str(cache)], check=True)


@pytest.mark.parametrize("fragment", [1000, 1 << 20])
def test_a_full_disk_cuts_the_pack_back_and_reception_goes_on_when_there_is_room(tiny_disk: Path, fragment: int) -> None:
    box = Box(tiny_disk)
    small = dataset()
    assert box.store(small) is Outcome.STORED
    for _ in range(3):
        with pytest.raises(StoreFull):
            box.store(dataset(instance="1.2.3.1.2", pixels=bytes(400_000)), "1.2.3.1.2", fragment=fragment)
        assert box.members() == ["1.2.3.1.1.dcm"]
        assert box.kept() == [small]
    assert box.stops == []
    assert box.store(dataset(instance="1.2.3.1.3"), "1.2.3.1.3") is Outcome.STORED
    box.catalogue.close()


def test_a_disk_that_fills_up_to_the_last_block_never_acknowledges_what_it_did_not_keep(tiny_disk: Path) -> None:
    box = Box(tiny_disk)
    stored = []
    for number in range(200):
        data = dataset(instance=f"1.2.3.1.{number}", number=number, pixels=os.urandom(4000))
        try:
            assert box.store(data, f"1.2.3.1.{number}") is Outcome.STORED
        except StoreFull:
            break
        stored.append(data)
    assert 20 < len(stored) < 200
    assert box.kept() == stored
    assert len(box.members()) == len(stored)
    box.catalogue.close()
