"""A rebuilt box works at once: modalities store, and the newest studies answer, while older ones are yet to be read from the catalog."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest

from cloudsync.archive.folder import Folder
from cloudsync.rebuild import rebuild
from cloudsync.seal import keys as seal_keys
from cloudsync.seal import kit as recovery_kit
from cloudsync.seal.kit import Kit
from cloudsync.setup import setup
from edge.config import Layout
from edge.control import asking
from edge.control.status import GetStatus, Status
from edge.control.studies import ListStudies, Study
from edge.model import UID, AETitle, Correction, Peer
from edge.store.decisions import Decisions
from edge.store.site import SiteState
from tests.cloudsync.conftest import serving
from tests.cloudsync.edge_side import settings
from tests.cloudsync.held_back import HeldBack
from tests.cloudsync.written import Written
from tests.dimse.fakes import CT, FILES
from tests.dumps import dump
from tests.servers import edge_alone, need

pytestmark = pytest.mark.asyncio


class Lost:
    """What a lost box leaves: an archive whose newest site state knows CT1, and says what is right of the oldest study; and the kit."""

    def __init__(self, place: Path) -> None:
        made = setup(place / "lost", settings(place / "archive"), place / "kit")
        self.kit: Kit = recovery_kit.read(place / "kit", made.passphrase)
        self.archive = Written(place / "archive", seal_keys.load(Layout(place / "lost").keys))
        self.archive.begin()
        self.studies = []
        for _ in range(3):
            self._ship()
        with closing(SiteState(place / "site.db")) as state:
            state.put_peer(Peer(AETitle("CT1")))
            right = Correction(UID(self.studies[0]), {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "RIGHT^NAME"}]}}, self.archive.now)
            Decisions(state).put_correction(right)
            self.archive.say(self.archive.site_state(state.copy()))
        self._ship()

    def _ship(self) -> None:
        held = self.archive.held()
        self.archive.say(held)
        self.studies.append(str(held.study["0020000D"]["Value"][0]))


@pytest.fixture
def lost(tmp_path: Path) -> Lost:
    return Lost(tmp_path)


class Box:
    """A rebuilt box whose real edge runs."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    async def dcmtk(self, program: str, *arguments: str | Path) -> str:
        """A tool of dcmtk as CT1; what it prints."""
        port = (self.layout.edge / "dicom.port").read_text()
        options = [argument for argument in arguments if isinstance(argument, str)]
        files = [str(argument) for argument in arguments if isinstance(argument, Path)]
        command = [need(program, "dcmtk"), "-v", "-aet", "CT1", "-aec", "OUTPOST", *options, "127.0.0.1", port, *files]
        finished = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=60)
        said = (finished.stdout + finished.stderr).decode(errors="replace")
        assert finished.returncode == 0, said
        return said

    async def answers(self, place: Path) -> dict[str, tuple[str, str]]:
        """By study, what findscu hears of its availability and of its patient."""
        place.mkdir()
        keys = ["0008,0052=STUDY", "0020,000D", "0008,0056", "0010,0010"]
        await self.dcmtk("findscu", "-S", "-X", "-od", str(place), *(word for key in keys for word in ("-k", key)))
        found = [pydicom.dcmread(path, force=True) for path in place.iterdir()]
        return {str(one.StudyInstanceUID): (str(one.InstanceAvailability), str(one.PatientName)) for one in found}

    async def notices(self) -> list[str]:
        (found,) = await asyncio.to_thread(lambda: list(asking.ask(self.layout.control, GetStatus())))
        assert isinstance(found, Status)
        return found.notices

    async def studies(self) -> dict[str, Study]:
        rows = await asyncio.to_thread(lambda: list(asking.ask(self.layout.control, ListStudies())))
        return {row.study: row for row in rows if isinstance(row, Study)}

    async def until(self, holds: Any, what: str) -> None:
        """Until what is asked of it is so."""
        async with asyncio.timeout(60):
            while not await holds():
                await asyncio.sleep(0.05)


@contextmanager
def running(layout: Layout) -> Iterator[Box]:
    kept = layout.config.read_text()
    with edge_alone(layout.state, peers=(), settings="quiet_seconds = 1.0\n"):
        layout.config.write_text(kept)
        yield Box(layout)


async def test_it_receives_and_answers_while_older_segments_are_still_to_be_read(lost: Lost, tmp_path: Path) -> None:
    oldest, newest = lost.studies[0], lost.studies[-1]
    layout = Layout(tmp_path / "rebuilt")
    rebuilt = await rebuild(layout.state, settings(tmp_path / "archive"), lost.kit, lambda _: None, whole=False)
    assert (rebuilt.left, rebuilt.holdings, rebuilt.site_state) == (4, 1, True)
    before = {path for path in lost.archive.archive.rglob("*") if path.is_file()}
    slow = HeldBack(Folder(tmp_path / "archive"), lost.archive.names[1])  # in which the oldest study is
    with running(layout) as box:
        async with serving(layout, slow):
            await box.until(lambda: _says(box, "4 of 6 segments"), "all but two segments are read")
            assert "Received Store Response (Success)" in await box.dcmtk("storescu", FILES / CT)
            answered = await box.answers(tmp_path / "found")
            assert {study for study, (availability, _) in answered.items() if availability == "NEARLINE"} == set(lost.studies[1:])
            assert newest in answered and oldest not in answered
            received = next(study for study, (availability, _) in answered.items() if availability == "ONLINE")
            assert {path for path in lost.archive.archive.rglob("*") if path.is_file()} == before
            slow.let.set()
            await box.until(lambda: _held(box, received), "what was received is held")
            assert not await box.notices()
            answered = await box.answers(tmp_path / "found whole")
        assert answered[oldest] == ("NEARLINE", "RIGHT^NAME")
        assert set(answered) == {*lost.studies, received}


async def test_the_catalogue_is_the_same_as_when_all_is_read_first(lost: Lost, tmp_path: Path) -> None:
    dumps = []
    for name in ("backward", "forward"):
        layout = Layout(tmp_path / name)
        await rebuild(layout.state, settings(tmp_path / "archive"), lost.kit, lambda _: None, whole=name == "forward")
        with running(layout) as box:
            async with serving(layout):
                await box.until(lambda: _told(box, len(lost.studies)), "all holdings are told")
        dumps.append(dump(layout.catalogue))
    assert dumps[0] == dumps[1]
    assert len(dumps[0]["holding"]) == len(lost.studies)


async def _says(box: Box, words: str) -> bool:
    return any(words in notice for notice in await box.notices())


async def _held(box: Box, study: str) -> bool:
    row = (await box.studies()).get(study)
    return row is not None and row.held == row.packs


async def _told(box: Box, count: int) -> bool:
    return len(await box.studies()) == count and not await box.notices()
