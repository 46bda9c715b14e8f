"""A box of everything that a catalogue tells apart, and cloudsync's side of it: what tests make the catalogue of again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from pydicom.dataset import Dataset

from edge import heads
from edge.asks import Asks
from edge.code.jobs import DecodeJob
from edge.code.manifest import covering
from edge.code.worker import Coder
from edge.config import Cache, Config
from edge.dimse.ports import Outcome
from edge.facts import Facts
from edge.journal import Ack, Held, Restate
from edge.journalfiles import JournalReader, JournalWriter
from edge.model import UID, Correction, PackId
from edge.outbox import Outbox
from edge.rebuild import Rebuilt, rebuild
from edge.refusals import Refusals
from edge.restating import Restating
from edge.store import eviction
from edge.store.anew import Standing
from edge.store.room import Room
from edge.store.variants import Choice
from edge.unread import UnreadFacts
from edge.wall import Gate
from tests import test_variants
from tests.test_variants import named, sample

STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"


class Desk(test_variants.Desk):
    def arrived(self, pack: str, number: int, digest: str, size: int) -> None: ...
    def failed(self, pack: str, reason: str, final: bool) -> None: ...
    def heard(self, pack: str) -> None: ...
    def undisturbed(self, pack: str) -> AbstractContextManager[bool]:
        return nullcontext(True)


class Trail:
    def __init__(self) -> None:
        self.events: list[object] = []

    def record(self, event: object) -> None:
        self.events.append(event)

    def demand(self) -> None: ...


class Box(test_variants.Box):
    """As for variants; and its packs are closed, coded, held, evicted and recalled. It remembers what cloudsync would tell of them."""

    def __init__(self, state: Path, coder: Coder) -> None:
        for directory in ("edge/outbox", "cloudsync/facts"):
            (state / directory).mkdir(parents=True, exist_ok=True)
        self.held: list[Held] = []
        super().__init__(state, coder)
        self.desk = Desk()
        self.open_variants()

    def copy(self, to: Path) -> Box:
        """Another box of the same files, as after a power cut."""
        shutil.copytree(self.layout.state, to, ignore=shutil.ignore_patterns("*.sock"))
        shutil.copystat(self.layout.state, to)
        other = Box.__new__(Box)
        other.held = list(self.held)
        other.clock = test_variants.Clock(self.clock.time)
        other.coder = self.coder
        other.desk = Desk()
        other.layout = type(self.layout)(to)
        other.site = test_variants.SiteState(other.layout.site)
        return other

    async def close(self, *, code: bool = True) -> list[PackId]:
        """Close every open pack, and code them; the packs."""
        due = self.packs.take_due(everything=True)
        for pack in due:
            self.packs.close(pack)
        if code:
            outbox = self.outbox()
            while rows := self.catalogue.rows("next_to_code", since=0.0):
                await outbox._code(PackId(rows[0][0]))
        return [pack.id for pack in due]

    def outbox(self) -> Outbox:
        self.journal = JournalWriter(self.layout.asks)
        config = Config(cache=Cache(reserve_bytes=0))
        asks = Asks(self.journal, lambda: None)
        return Outbox(config, self.layout, self.catalogue, Room([self.layout.cache], 0), self.coder, asks, self.clock)

    def hold(self, pack: PackId) -> None:
        state = self.catalogue.pack(pack)
        assert state is not None and state.sha256 is not None and state.bytes is not None
        self.held.append(
            Held(
                pack=pack,
                held_at=self.clock.time + 0.25,
                instances=state.instances,
                raw_bytes=state.bytes,
                sealed_bytes=1234,
                sha256=state.sha256,
                study={"0020000D": {"vr": "UI", "Value": [state.study]}},
                series=[],
            )
        )
        with self.catalogue.facts(0):
            self.catalogue.hold(pack, self.held[-1].held_at, 1234)
        (self.layout.outbox / pack).rename(self.layout.state / f"archived-{pack}")

    def evict(self, pack: PackId) -> None:
        (one,) = (one for one in eviction.evictable(self.catalogue) if one.pack == pack)
        assert list(eviction.evict(self.layout, self.catalogue, self.desk, [one]))

    async def recall(self, pack: PackId, members: list[int]) -> None:
        """Some members of an evicted pack come back."""
        head = heads.load(self.layout, pack)
        parts = {number: str(self.layout.state / f"archived-{pack}" / f"{number:06d}") for number in covering(head.manifest, members)}
        self.catalogue.begin_recall(pack)
        job = DecodeJob(
            pack=pack, head_path=str(self.layout.head(pack)), parts=parts, target_path=str(self.layout.cached(pack)), members=members
        )
        restored = await self.coder.restore(job)
        self.catalogue.recalled(pack, [head.manifest.members[one.index].dataset_offset for one in restored if one.digest_ok])

    def hear(self, letter: str) -> None:
        """A pack that only the archive has, head included."""
        told = Held(
            pack=letter * 26,
            held_at=5000.25,
            instances=7,
            raw_bytes=1,
            sealed_bytes=99,
            sha256="5" * 64,
            study={"0020000D": {"vr": "UI", "Value": ["1.2.99"]}, "00100020": {"vr": "LO", "Value": ["P99"]}},
            series=[{"0020000E": {"vr": "UI", "Value": ["1.2.99.1"]}, "00080060": {"vr": "CS", "Value": ["CT"]}}],
        )
        self.held.append(told)
        with self.catalogue.facts(0):
            self.catalogue.hear_of(PackId(told.pack), told.study, told.series, told.sha256, told.instances, told.held_at)
            self.catalogue.hold(PackId(told.pack), told.held_at, told.sealed_bytes)
            self.catalogue.settle_archived(PackId(told.pack))

    async def class_variants(self) -> None:
        while await self.variants.class_some():
            pass

    def make_again(self, why: Standing = Standing.MISSING) -> Rebuilt:
        """Lose the catalogue, make it again, and start on it."""
        said: list[tuple[int, int]] = []
        made = rebuild(
            self.layout, why, test_variants.Decisions(self.site).corrections(), self.site.issuer_of, lambda *step: said.append(step)
        )
        assert [done for done, _ in said] == list(range(1, len(said) + 1))
        assert {total for _, total in said} <= {len(said)}
        self.open()
        self.restate(made)
        return made

    def restate(self, made: Rebuilt) -> None:
        """Cloudsync tells its holdings again, because it is asked to."""
        asks, facts = JournalWriter(self.layout.asks), JournalWriter(self.layout.facts)
        told = []
        self.trail = Trail()
        self.restating = Restating(self.catalogue, Asks(asks, lambda: None), self.trail, made, lambda: None)
        self.restating.begin()
        assert any("not told again yet" in notice for notice in self.restating.notices())
        assert self.catalogue.rows("next_to_code", since=0.0) == []
        reader = JournalReader(Gate(self.layout.asks), 0)
        (asked,) = [one for one in reader.read() if isinstance(one, Restate)][-1:]
        facts.append(*self.held, Ack(upto=asked.seq))
        following = Facts(
            Gate(self.layout.facts),
            self.catalogue,
            asks,
            self.desk,
            told.append,
            UnreadFacts(self.layout.unread),
            Refusals(),
            self.restating.told,
        )
        while following.apply():
            pass
        assert set(told) == {one.pack for one in self.held}
        assert self.catalogue.figure("restating") is None
        asks.close()
        facts.close()


def changed(**attributes: object) -> Callable[[Dataset], object]:
    def change(read: Dataset) -> None:
        for name, value in attributes.items():
            setattr(read, name, value)
            if name == "SOPInstanceUID":
                read.file_meta.MediaStorageSOPInstanceUID = value

    return change


async def fill(box: Box) -> None:
    """Everything that the catalogue tells apart."""
    box.send(sample())
    box.send(sample())  # a duplicate
    box.send(sample(change=changed(SOPInstanceUID="1.2.3.4.2", InstanceNumber=2)))
    box.send(sample(change=changed(SOPInstanceUID="1.2.3.4.9", PatientID="9OTHER")))  # of somebody else
    (first,) = await box.close()
    box.hold(first)
    box.evict(first)
    box.clock.time += 1000
    box.send(sample(change=named("Corrected^By^Sender")))
    box.send(sample(change=lambda read: setattr(read, "PixelData", bytes(len(read.PixelData)))), "CT2")  # a conflict
    box.send(sample(change=changed(SOPInstanceUID="1.2.3.4.2", InstanceNumber=2, SeriesDescription="Other")), "CT2")  # another
    await box.class_variants()
    (second,) = await box.close()
    box.hold(second)
    await box.recall(first, [1])
    # People: the same ID, another birth date; a dummy ID; an issuer that the peer's row says
    box.site.put_peer(test_variants.Peer(test_variants.AETitle("MR1"), default_issuer="CLINIC"))
    for number, more in enumerate(
        ({"PatientBirthDate": "19500505"}, {"PatientBirthDate": "19600606"}, {"PatientID": "0"}, {"PatientID": ""})
    ):
        uid = f"1.2.50.{number}"
        box.send(
            sample("MR_small.dcm", changed(StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1", SOPInstanceUID=f"{uid}.1.1", **more)), "MR1"
        )
    whole = await box.close()
    box.hold(whole[0])
    box.hold(whole[1])
    box.evict(whole[1])
    # Coded and not held; closed and not coded
    box.send(sample("CT_small.dcm", changed(StudyInstanceUID="1.2.60", SeriesInstanceUID="1.2.60.1", SOPInstanceUID="1.2.60.1.1")))
    await box.close()
    cut = sample("CT_small.dcm", changed(StudyInstanceUID="1.2.61", SeriesInstanceUID="1.2.61.1", SOPInstanceUID="1.2.61.1.1"))
    box.send(cut[:-1000])  # a fault
    await box.close()
    box.send(sample("CT_small.dcm", changed(StudyInstanceUID="1.2.62", SeriesInstanceUID="1.2.62.1", SOPInstanceUID="1.2.62.1.1"))[:-500])
    await box.close(code=False)
    # What people said
    box.clock.time += 100
    series = next(row for row in box.catalogue.rows("variants_in_conflict", study=STUDY) if row[1] == "1.2.3.4.2")
    choice = Choice(UID(STUDY), series[0], series[1], series[2], box.clock.time)
    box.decisions.put_choice(choice)
    box.catalogue.rows("class_again", choice.instance, choice.series, choice.study)
    await box.class_variants()
    for study, attributes, rejected in (
        ("1.2.50.0", {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Right^Name"}]}}, False),
        ("1.2.50.3", {"00100020": {"vr": "LO", "Value": ["4MR1"]}, "00100030": {"vr": "DA", "Value": ["19600606"]}}, False),
        ("1.2.60", {}, True),
    ):
        box.clock.time += 1
        correction = Correction(UID(study), attributes, box.clock.time, rejected)
        box.decisions.put_correction(correction)
        box.catalogue.remember([correction])
    box.clock.time += 1
    box.send(sample("MR_small.dcm", changed(StudyInstanceUID="1.2.50.0", SeriesInstanceUID="1.2.50.0.1", SOPInstanceUID="1.2.50.0.1.2")))
    # Quarantine
    assert box.send(sample().replace(STUDY.encode(), b"..".ljust(len(STUDY), b"\0"))) is Outcome.UNIDENTIFIED
    box.hear("h")
    # Still open
    box.send(sample("CT_small.dcm", changed(StudyInstanceUID="1.2.63", SeriesInstanceUID="1.2.63.1", SOPInstanceUID="1.2.63.1.1")))
