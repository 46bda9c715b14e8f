"""edge.variants: every variant is kept and acknowledged, and what becomes of it is decided afterwards, by what it says."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
import pytest_asyncio
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from edge.code.jobs import Fingerprint, FingerprintJob
from edge.code.worker import Coder, WorkerDied
from edge.config import Cache, Config, Layout
from edge.dataset.part10 import read_file_meta
from edge.dataset.walk import EXPLICIT_LE, IMPLICIT_LE
from edge.dimse.ports import Arrival, Outcome
from edge.failstop import FailStop
from edge.intake import PackIntake
from edge.model import UID, AETitle, Correction, Digest, Level, PackId, Peer, Query
from edge.store.catalogue import Catalogue
from edge.store.decisions import Decisions
from edge.store.packs import OpenPacks
from edge.store.reconcile import reconcile
from edge.store.room import Room
from edge.store.site import SiteState
from edge.store.variants import Choice, Said, Standing, Variant, decide, undecided
from edge.variants import ASK_AGAIN_SECONDS, ATTEMPTS, Variants
from tests.dataset.datasets import element
from tests.store.rows import Clock, ask, values


class Desk:
    """Remembers what was wanted; nothing comes by itself."""

    def __init__(self) -> None:
        self.wanted: list[tuple[PackId, list[int]]] = []

    def want(self, pack: PackId, offsets: Iterable[int] | None) -> None:
        self.wanted.append((pack, list(offsets or ())))


class Box:
    """A state directory that takes instances in and classes them."""

    def __init__(self, state: Path, coder: Coder) -> None:
        self.layout = Layout(state)
        for directory in (self.layout.open_packs, self.layout.quarantine, self.layout.heads):
            directory.mkdir(parents=True, exist_ok=True)
        self.coder = coder
        self.clock = Clock()
        self.desk = Desk()
        self.site = SiteState(self.layout.site)
        self.open()

    def open(self) -> None:
        config = Config(cache=Cache(reserve_bytes=0))
        self.catalogue = Catalogue(self.layout.catalogue, self.site.issuer_of)
        decisions = Decisions(self.site)
        self.catalogue.remember(decisions.corrections())
        reconcile(self.layout.cache, self.layout.quarantine, self.catalogue, self.clock)
        self.packs = OpenPacks(self.layout.cache, config.cache, self.catalogue, self.clock)
        self.intake = PackIntake(
            config, self.layout, self.catalogue, self.packs, Room([self.layout.cache], 0), self.clock, FailStop(lambda: None)
        )
        self.decisions = decisions
        self.open_variants()

    def open_variants(self) -> None:
        self.variants = Variants(self.layout, self.catalogue, self.decisions, self.coder, self.desk, self.clock)  # type: ignore[arg-type]

    def forget_catalogue(self) -> None:
        """As when it was deleted: the packs are open still, and are all that is left."""
        self.catalogue.close()
        for path in self.layout.catalogue.parent.glob("catalogue.db*"):
            path.unlink()
        self.open()

    def send(self, data: bytes, ae_title: str = "CT1") -> Outcome:
        self.clock.time += 10
        meta = read_file_meta(data)
        title = AETitle(ae_title)
        uids = UID(meta.sop_class), UID(meta.sop_instance), UID(meta.transfer_syntax)
        reception = self.intake.begin(Arrival(*uids, title, AETitle("OUTPOST"), "10.0.0.8", Peer(title)))
        try:
            reception.write(memoryview(data)[meta.dataset_offset :])
            return reception.commit()
        finally:
            reception.abort()

    def standings(self) -> list[tuple[bool, str | None]]:
        """Whether it is visible, and what it is, of each variant in the order of reception."""
        return [(bool(visible), variant) for visible, variant, _ in self._rows()]

    def digests(self) -> list[str]:
        return [digest for _, _, digest in self._rows()]

    def _rows(self) -> list[tuple[int, str | None, str]]:
        with closing(sqlite3.connect(self.layout.catalogue)) as connection:
            return connection.execute("SELECT visible, variant, digest FROM instance ORDER BY received_at, instance").fetchall()


@pytest_asyncio.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    coder = Coder()
    made = Box(tmp_path, coder)
    yield made
    await coder.close()
    made.catalogue.close()
    made.site.close()


def sample(name: str = "CT_small.dcm", change: Callable[[Dataset], object] = lambda read: None, syntax: str | None = None) -> bytes:
    """A real instance that pydicom ships, with a change, in another transfer syntax."""
    found = get_testdata_file(name)
    assert found is not None
    read = pydicom.dcmread(str(found))
    change(read)
    syntax = syntax or str(read.file_meta.TransferSyntaxUID)
    read.file_meta.TransferSyntaxUID = syntax
    out = BytesIO()
    read.save_as(out, implicit_vr=syntax == IMPLICIT_LE, little_endian=True)
    return out.getvalue()


def named(name: str) -> Callable[[Dataset], object]:
    return lambda read: setattr(read, "PatientName", name)


def with_group_length(data: bytes) -> bytes:
    """As devices write it that still have group lengths."""
    place = read_file_meta(data).dataset_offset
    return data[:place] + element(0x00080000, "UL", b"\x10\x01\0\0") + data[place:]


def other_pixels(read: Dataset) -> None:
    read.PixelData = b"\0\1" + read.PixelData[2:]


FIRST, HIDDEN, NEWEST, CONFLICT = (True, None), (False, "duplicate"), (True, "correction"), (False, "conflict")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("second", "ae_title", "standings"),
    [
        (sample(syntax=IMPLICIT_LE), "CT1", [FIRST, HIDDEN]),
        (sample(syntax=IMPLICIT_LE), "PACS", [FIRST, HIDDEN]),
        (with_group_length(sample()), "CT1", [FIRST, HIDDEN]),
        (sample(change=named("Roe^Richard")), "CT1", [(False, None), NEWEST]),
        (sample(change=named("Roe^Richard"), syntax=IMPLICIT_LE), "CT1", [(False, None), NEWEST]),
        (sample(change=named("Roe^Richard")), "PACS", [FIRST, CONFLICT]),
        (sample(change=other_pixels), "CT1", [FIRST, CONFLICT]),
        (sample(change=lambda read: setattr(read, "SeriesDescription", "Other")), "CT1", [FIRST, CONFLICT]),
        (sample(change=lambda read: setattr(read, "PatientID", "P2")), "CT1", [FIRST, CONFLICT]),
        (sample(change=lambda read: setattr(read, "AccessionNumber", "A7")), "CT1", [(False, None), NEWEST]),
    ],
)
async def test_a_variant_is_what_it_says(box: Box, second: bytes, ae_title: str, standings: list[tuple[bool, str | None]]) -> None:
    assert box.send(sample()) is Outcome.STORED
    assert box.send(second, ae_title) is Outcome.VARIANT
    assert box.standings() == [FIRST, (False, "unclassed")]
    assert await box.variants.class_some() == 1
    assert box.standings() == standings
    assert await box.variants.class_some() == 0
    (located,) = box.catalogue.locate(Query(Level.STUDY, {}))
    assert located.digest == box.digests()[[visible for visible, _ in standings].index(True)]


@pytest.mark.asyncio
async def test_what_was_sent_again_corrected_is_answered_corrected(box: Box) -> None:
    box.send(sample())
    box.send(sample(change=named("Roe^Richard")))
    await box.variants.class_some()
    assert values(ask(box.catalogue, Level.STUDY), "00100010") == [{"Alphabetic": "Roe^Richard"}]
    assert len(ask(box.catalogue, Level.PATIENT)) == 1
    box.send(sample(change=named("Roe^Rick")))
    box.send(sample(change=named("Roe^Richard"), syntax=IMPLICIT_LE))
    await box.variants.class_some()
    assert box.standings() == [(False, None), (False, "correction"), NEWEST, HIDDEN]
    assert values(ask(box.catalogue, Level.STUDY), "00100010") == [{"Alphabetic": "Roe^Rick"}]


@pytest.mark.asyncio
@pytest.mark.parametrize("again", ["restart", "catalogue"])
async def test_it_is_decided_alike_after_a_restart_and_without_the_catalogue(box: Box, again: str) -> None:
    box.send(sample())
    box.send(sample(change=named("Roe^Richard")))
    box.send(sample(change=other_pixels))
    if again == "restart":
        box.catalogue.close()
        box.open()
    else:
        await box.variants.class_some()
        box.forget_catalogue()
    await box.variants.class_some()
    assert box.standings() == [(False, None), NEWEST, CONFLICT]
    assert values(ask(box.catalogue, Level.STUDY), "00100010") == [{"Alphabetic": "Roe^Richard"}]


@pytest.mark.asyncio
async def test_a_choice_holds_until_another_variant_comes_and_outlives_the_catalogue(box: Box) -> None:
    box.send(sample())
    box.send(sample(change=other_pixels))
    await box.variants.class_some()
    (located,) = box.catalogue.locate(Query(Level.STUDY, {}))
    newest = box.digests()[1]
    assert located.digest != newest
    key = located.study, located.series, located.sop_instance
    box.decisions.put_choice(Choice(*key, Digest(newest), box.clock.now()))
    box.catalogue.rows("class_again", key[2], key[1], key[0])
    await box.variants.class_some()
    assert box.standings() == [(False, "decided"), (True, "decided")]
    box.forget_catalogue()
    await box.variants.class_some()
    assert box.standings() == [(False, "decided"), (True, "decided")]
    box.send(sample(change=lambda read: setattr(read, "PixelData", b"\7\7" + read.PixelData[2:])))
    await box.variants.class_some()
    assert box.standings() == [(False, "decided"), (True, "decided"), CONFLICT]


@pytest.mark.asyncio
async def test_a_known_study_under_another_patient_is_a_conflict_even_with_new_instances(box: Box) -> None:
    def another(read: Dataset) -> None:
        read.SOPInstanceUID = read.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
        read.PatientID = "P2"

    box.send(sample())
    assert box.send(sample(change=another)) is Outcome.STORED
    await box.variants.class_some()
    assert box.standings() == [FIRST, CONFLICT]
    assert box.catalogue.rows("conflicts")[0][1:] == (1, box.clock.now(), '["it names another patient ID or birth date"]')
    assert values(ask(box.catalogue, Level.IMAGE), "00100020") == ["1CT1"]
    box.forget_catalogue()
    await box.variants.class_some()
    assert box.standings() == [FIRST, CONFLICT]


@pytest.mark.asyncio
async def test_a_corrected_study_takes_what_the_modality_sends_on_and_what_it_sends_corrected(box: Box) -> None:
    def further(number: int, patient_id: str) -> bytes:
        def change(read: Dataset) -> None:
            read.SOPInstanceUID = read.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
            read.PatientID = patient_id

        return sample(change=change)

    box.send(sample())
    study = box.catalogue.locate(Query(Level.STUDY, {}))[0].study
    box.catalogue.remember([Correction(study, {"00100020": {"vr": "LO", "Value": ["R-7"]}}, 0.0)])
    for number, patient_id in enumerate(("1CT1", "R-7", "OTHER")):
        box.send(further(number, patient_id))
    assert [visible for visible, _ in box.standings()] == [True, True, True, False]


class Blind:
    """A worker that finds the bytes of the first variant away, or dies over it."""

    def __init__(self, dies: bool = False) -> None:
        self.dies = dies
        self.asked = 0

    async def fingerprints(self, job: FingerprintJob) -> list[Fingerprint | None]:
        self.asked += 1
        if self.dies:
            raise WorkerDied
        return [None, *(Fingerprint(study="s", rest="r", pixels="p", patient_id="", birth_date="") for _ in job.variants[1:])]


@pytest.mark.asyncio
async def test_what_only_the_archive_has_is_recalled_once_in_a_while_to_be_compared(box: Box) -> None:
    box.send(sample())
    box.send(sample(change=other_pixels))
    (located,) = box.catalogue.locate(Query(Level.STUDY, {}))
    box.coder, real = Blind(), box.coder  # type: ignore[assignment]
    box.open_variants()
    assert [await box.variants.class_some() for _ in range(3)] == [0, 0, 0]
    assert box.desk.wanted == [(located.pack, [located.dataset_offset])]
    box.clock.time += ASK_AGAIN_SECONDS
    await box.variants.class_some()
    assert len(box.desk.wanted) == 2
    box.coder = real
    box.open_variants()
    assert await box.variants.class_some() == 1


@pytest.mark.asyncio
async def test_variants_that_kill_their_worker_are_a_conflict(box: Box) -> None:
    box.send(sample())
    box.send(sample(change=named("Roe^Richard")))
    box.coder = Blind(dies=True)  # type: ignore[assignment]
    box.open_variants()
    assert [await box.variants.class_some() for _ in range(ATTEMPTS)] == [0] * (ATTEMPTS - 1) + [1]
    assert box.standings() == [FIRST, CONFLICT]


def variant(number: int, *, digest: str = "", ae_title: str = "CT1", stranger: bool = False, lost: bool = False) -> Variant:
    return Variant(
        number,
        Digest(digest or f"{number}"),
        float(number),
        ae_title,
        UID(EXPLICIT_LE),
        PackId("a" * 26),
        0,
        1,
        True,
        False,
        None,
        stranger,
        lost,
    )


def said(study: str = "s", rest: str = "r", pixels: str = "p", patient_id: str = "P1", birth_date: str = "") -> Said:
    return Said(study, rest, pixels, patient_id, birth_date)


@pytest.mark.parametrize(
    ("variants", "speech", "visible", "standings"),
    [
        ([variant(1), variant(2)], [said(), None], 0, [None, "conflict"]),
        ([variant(1, lost=True), variant(2)], [None, said()], 1, [None, "correction"]),
        ([variant(1), variant(2), variant(3)], [said(), said("t"), said()], 1, [None, "correction", "duplicate"]),
        ([variant(1), variant(2)], [said(patient_id=""), said("t")], 1, [None, "correction"]),
        ([variant(1), variant(2)], [said(patient_id="TEST"), said("t")], 1, [None, "correction"]),
        ([variant(1), variant(2)], [said(birth_date="1"), said("t", birth_date="2")], 0, [None, "conflict"]),
        ([variant(1), variant(2)], [said(birth_date="1"), said("t")], 1, [None, "correction"]),
        ([variant(1, stranger=True), variant(2)], [said(), said("t")], 1, ["conflict", None]),
        ([variant(1, stranger=True)], [said()], None, ["conflict"]),
    ],
)
def test_the_decision_is_a_function_of_what_they_say(
    variants: list[Variant], speech: list[Said | None], visible: int | None, standings: list[str | None]
) -> None:
    found = decide(variants, None, lambda one: speech[variants.index(one)])
    assert (found.visible, [standing and standing.value for standing, _ in found.standings]) == (visible, standings)


def test_a_choice_of_none_hides_all_that_was_there() -> None:
    choice = Choice(UID("1"), UID("2"), UID("3"), None, 5.0)
    found = decide([variant(1, stranger=True)], choice, lambda one: None)
    assert (found.visible, found.standings) == (None, ((Standing.DECIDED, None),))
    assert undecided([variant(1), variant(2)], choice) == []


def test_what_was_chosen_among_needs_no_comparison() -> None:
    choice = Choice(UID("1"), UID("2"), UID("3"), Digest("1"), 2.0)
    assert undecided([variant(1), variant(2)], choice) == []
    assert [one.row for one in undecided([variant(1), variant(2), variant(3)], choice)] == [1, 3]
