"""edge.controller: the answering end of edge's socket, spoken to as the command line speaks to it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from edge import control
from edge.config import Cache, Config, Layout
from edge.conflicts import Conflicts
from edge.controller import Controller
from edge.correcting import Correcting
from edge.dimse.requestor import Requestor
from edge.errors import Refused
from edge.intake import PackIntake
from edge.keeper import Keeper
from edge.model import UID, AETitle, Query
from edge.outreach import Outreach
from edge.peering import Peering
from edge.refusals import Refusals
from edge.retrieve import Link
from edge.setaside import SetAside
from edge.store.callers import Callers
from edge.store.catalogue import Catalogue
from edge.store.decisions import Decisions
from edge.store.packs import OpenPacks
from edge.store.site import SiteState
from tests.dimse.fakes import FakeAudit, FakeIndex
from tests.store.rows import Clock, admission, close, hold, put

pytestmark = pytest.mark.asyncio


class Nothing:
    """A retrieval of which nothing ever comes."""

    total = remaining = 1

    def __init__(self) -> None:
        self.closed = threading.Event()

    def next(self, timeout_seconds: float) -> None:
        self.closed.wait(0.05)

    def close(self) -> None:
        self.closed.set()


class Retrieve:
    """Hands out retrievals of which nothing comes, once `known` is set."""

    def __init__(self) -> None:
        self.asked = 0
        self.begun: list[Nothing] = []
        self.known = threading.Event()
        self.known.set()

    def begin(self, query: Query) -> Nothing:
        self.asked += 1
        assert self.known.wait(20)
        self.begun.append(Nothing())
        return self.begun[-1]

    def want_study(self, study: UID) -> None:
        pass


class Desk:
    """Nobody waits for anything."""

    def busy(self, pack: str) -> bool:
        return False


class Box:
    """An edge of which only the control socket is up."""

    def __init__(self, state: Path) -> None:
        self.layout = Layout(state)
        for directory in (self.layout.open_packs, self.layout.quarantine):
            directory.mkdir(parents=True)
        config, clock = Config(cache=Cache(reserve_bytes=0)), Clock()
        self.catalogue = Catalogue(self.layout.catalogue)
        self.site = SiteState(self.layout.site)
        self.retrieve = Retrieve()
        self.audit = FakeAudit()
        packs = OpenPacks(self.layout.cache, config.cache, self.catalogue, clock)
        intake = PackIntake(config, self.layout, self.catalogue, packs, clock, lambda fault: None)
        self.controller = Controller(
            config,
            self.layout,
            self.catalogue,
            Peering(config, self.site, Callers(self.catalogue, clock), self.audit),
            Correcting(self.catalogue, Decisions(self.site), self.audit, clock),
            Conflicts(self.catalogue, Decisions(self.site), self.audit, clock),
            SetAside(self.layout, self.catalogue, intake, self.audit, AETitle("OUTPOST")),
            packs,
            intake,
            self.retrieve,
            Keeper(config, self.layout, self.catalogue, Desk(), clock),
            Link(self.catalogue, 900.0, clock),
            Outreach(config, self.site, FakeIndex([]), self.retrieve, intake, None, Requestor(), FakeAudit()),
            None,
            list,
            Refusals(),
            clock,
        )

    async def ask(self, request: control.Request) -> list[Any]:
        return await asyncio.to_thread(lambda: list(control.ask(self.layout.control, request, timeout_seconds=20)))


@pytest_asyncio.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    made = Box(tmp_path)
    serving = asyncio.create_task(made.controller.serve())
    while not made.layout.control.exists():
        await asyncio.sleep(0)
    yield made
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    made.catalogue.close()
    made.site.close()


def wait(event: threading.Event) -> bool:
    return event.wait(20)


async def test_the_status_is_one_sentence_with_its_figures(box: Box) -> None:
    put(box.catalogue, admission("a"))
    (found,) = await box.ask(control.GetStatus())
    assert (found.studies, found.instances, found.lamp) == (1, 1, "amber")
    assert "not yet in the archive" in found.sentence
    with box.catalogue.facts(1):
        box.catalogue.set_link("up", 1.0, 0.0, "The archive answers.", 2.0, 8)
    (found,) = await box.ask(control.GetStatus())
    assert found.catalog_sequence == 8
    assert re.fullmatch(r"The archive answered \d+ days ago\.", found.link_sentence)


async def test_a_peer_is_added_listed_and_removed(box: Box) -> None:
    (put,) = await box.ask(control.PutPeer(ae_title="CT1", address="10.0.0.8", rights=["store"]))
    (row,) = await box.ask(control.ListPeers())
    assert row == put
    assert (row.ae_title, row.address, row.rights) == ("CT1", "10.0.0.8", ["store"])
    assert await box.ask(control.RemovePeer(ae_title="CT1")) == []
    with pytest.raises(Refused, match="no peer 'CT1'"):
        await box.ask(control.RemovePeer(ae_title="CT1"))


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (control.PutPeer(ae_title="A\\B"), "no AE title"),
        (control.PutPeer(ae_title="CT1", rights=["rule"]), "no right rule"),
        (control.PutPeer(ae_title="CT1", port=0), "no port"),
    ],
)
async def test_a_peer_that_cannot_be_is_refused_with_the_reason(box: Box, request_: control.PutPeer, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        await box.ask(request_)
    assert await box.ask(control.ListPeers()) == []


async def test_a_dry_run_says_what_would_go_and_keeps_it(box: Box) -> None:
    put(box.catalogue, admission("a"))
    close(box.catalogue, "a", size=100)
    hold(box.catalogue, "a")
    assert [row.bytes for row in await box.ask(control.Evict(dry_run=True))] == [100]
    assert [row.bytes for row in await box.ask(control.Evict())] == [100]
    assert await box.ask(control.Evict()) == []


async def test_what_is_no_request_is_answered_with_why(box: Box) -> None:
    def say() -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.connect(str(box.layout.control))
            line.sendall(b'{"is": "nonsense"}\n')
            return line.makefile("rb").readline()

    answer = control.decode_answer.decode(await asyncio.to_thread(say))
    assert isinstance(answer, control.Failed)
    assert (answer.error, answer.sentence.startswith("That is no request")) == ("Refused", True)


async def test_who_goes_away_is_no_longer_waited_for(box: Box) -> None:
    def ask_and_go() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.connect(str(box.layout.control))
            line.sendall(control.encode(control.RecallStudy(study="1.2.3")) + b"\n")
            assert line.makefile("rb").readline()

    await asyncio.to_thread(ask_and_go)
    (retrieval,) = box.retrieve.begun
    assert await asyncio.to_thread(wait, retrieval.closed)


async def test_many_who_wait_keep_nobody_from_the_threads_of_the_loop(box: Box) -> None:
    box.retrieve.known.clear()
    lines = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(48)]
    for line in lines:
        line.connect(str(box.layout.control))
        line.sendall(control.encode(control.RecallStudy(study="1.2.3")) + b"\n")
    async with asyncio.timeout(15):
        while box.retrieve.asked < len(lines):
            await asyncio.sleep(0.01)
        (found,) = await box.ask(control.GetStatus())
    assert found.studies == 0
    for line in lines:
        line.close()
    box.retrieve.known.set()
    while len(box.retrieve.begun) < len(lines):
        await asyncio.sleep(0.01)
    for retrieval in box.retrieve.begun:
        assert await asyncio.to_thread(wait, retrieval.closed)
