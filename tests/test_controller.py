"""edge.controller: the answering end of edge's socket, spoken to as the command line speaks to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, get_args

import pytest
import pytest_asyncio

from edge.admitting import Admitting
from edge.audit import Accessed
from edge.config import Cache, Config, Layout
from edge.conflicts import Conflicts
from edge.control import asking, lines
from edge.control.access import NoteAccess
from edge.control.cache import Evict, Stays
from edge.control.message import Failed, Message
from edge.control.peers import ListPeers, PutPeer, RemovePeer
from edge.control.status import GetStatus
from edge.control.studies import Away, ListAway, RecallStudy
from edge.controller import Controller
from edge.correcting import Correcting
from edge.dimse.requestor import Requestor
from edge.errors import OutpostError, Refused, Transient
from edge.failstop import FailStop
from edge.intake import PackIntake
from edge.keeper import Keeper
from edge.link import LinkState
from edge.linking import Linking
from edge.model import UID, AETitle, Query
from edge.outbox import Outbox
from edge.outreach import Outreach
from edge.peering import Peering
from edge.pinning import Pinning
from edge.planning import Planning
from edge.queueing import Queueing
from edge.reach import Reach
from edge.refusals import Refusals
from edge.reporting import Reporting
from edge.responder import PEOPLE, Asker, Responder, Role, at_once
from edge.routing import Routing
from edge.scrubber import Scrubber
from edge.setaside import SetAside
from edge.store.callers import Callers
from edge.store.catalogue import Catalogue
from edge.store.decisions import Decisions
from edge.store.packs import OpenPacks
from edge.store.pins import Pins
from edge.store.room import Room
from edge.store.site import SiteState
from edge.studies import Studies
from edge.verifying import Verifying
from edge.witness import Witness
from tests.desks import Desk
from tests.dimse.fakes import FakeAudit, FakeIndex
from tests.store.rows import Clock, admission, close, hold, pack_id, put

pytestmark = pytest.mark.asyncio


class Nothing:
    """A retrieval of which nothing ever comes."""

    total = remaining = 1
    missing = 0

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


class Box:
    """An edge of which only the control socket is up."""

    def __init__(self, state: Path) -> None:
        self.layout = Layout(state)
        for directory in (self.layout.open_packs, self.layout.quarantine):
            directory.mkdir(parents=True)
        config = Config(cache=Cache(reserve_bytes=0))
        self.clock = clock = Clock()
        self.catalogue = Catalogue(self.layout.catalogue)
        self.site = SiteState(self.layout.site)
        self.retrieve = Retrieve()
        self.audit = FakeAudit()
        packs = OpenPacks(self.layout.cache, config.cache, self.catalogue, clock)
        intake = PackIntake(config, self.layout, self.catalogue, packs, Room([self.layout.cache], 0), clock, FailStop(lambda: None))
        reach = Reach(self.catalogue, 900.0, clock)
        self.studies = Studies(config.cache, self.catalogue, self.retrieve, reach)
        decisions, title = Decisions(self.site), AETitle("OUTPOST")
        nouns = [
            Reporting(config, self.layout, self.catalogue, packs, reach, [], [], Refusals(), clock),
            self.studies,
            Outbox(config, self.layout, self.catalogue, Room([], 0), None, None, clock),
            Keeper(config, self.layout, self.catalogue, Pins(self.site), Desk(), Room([self.layout.cache], 0), asyncio.Event(), clock),
            Pinning(self.catalogue, Pins(self.site), self.audit, clock),
            Scrubber(config, self.layout, self.catalogue, Desk(), reach.up, self.audit, clock, lambda fault: None),
            Planning(config, self.layout, self.catalogue, clock),
            Admitting(intake, title),
            Peering(config, self.site, Callers(self.catalogue, clock), self.audit),
            Correcting(self.catalogue, decisions, self.audit, clock),
            Conflicts(self.catalogue, decisions, self.audit, clock),
            SetAside(self.layout, self.catalogue, intake, self.audit, title),
            Outreach(config, self.site, FakeIndex([]), self.retrieve, intake, None, Requestor(), FakeAudit()),
            Routing(None, self.audit, clock),
            Verifying(self.catalogue, None, reach),
            Linking(self.catalogue, None, reach, clock),
            Queueing(self.layout, self.catalogue, self.audit, None, None),
            Witness(self.audit),
        ]
        self.controller = Controller(self.layout.control, nouns)

    async def ask(self, request: lines.Request) -> list[Any]:
        return await asyncio.to_thread(lambda: list(asking.ask(self.layout.control, request, timeout_seconds=20)))


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
    made.studies.close()
    made.catalogue.close()
    made.site.close()


def wait(event: threading.Event) -> bool:
    return event.wait(20)


async def test_the_status_is_one_sentence_with_its_figures(box: Box) -> None:
    put(box.catalogue, admission("a"))
    (found,) = await box.ask(GetStatus())
    assert (found.studies, found.instances, found.lamp) == (1, 1, "amber")
    assert "not yet in the archive" in found.sentence
    with box.catalogue.facts(1):
        box.catalogue.set_link(LinkState("up", 1.0, 0.0, "The archive answers.", 2.0, 8, 0.0))
    (found,) = await box.ask(GetStatus())
    assert found.catalog_sequence == 8
    assert re.fullmatch(r"The archive answered \d+ days ago\.", found.link_sentence)


async def test_a_cloudsync_that_says_nothing_any_more_turns_the_lamp_red(box: Box) -> None:
    with box.catalogue.facts(1):
        box.catalogue.set_link(LinkState("up", 1.0, 9.0, "The archive answers.", 2.0, 8, box.clock.now()))
    box.clock.time += 181
    (found,) = await box.ask(GetStatus())
    assert (found.lamp, found.link_state, found.link_since) == ("red", "silent", box.clock.now() - 181)
    assert "was last heard of 3 minutes ago" in found.sentence


async def test_a_peer_is_added_listed_and_removed(box: Box) -> None:
    (put,) = await box.ask(PutPeer(ae_title="CT1", address="10.0.0.8", rights=["store"]))
    (row,) = await box.ask(ListPeers())
    assert row == put
    assert (row.ae_title, row.address, row.rights) == ("CT1", "10.0.0.8", ["store"])
    assert await box.ask(RemovePeer(ae_title="CT1")) == []
    with pytest.raises(Refused, match="no peer 'CT1'"):
        await box.ask(RemovePeer(ae_title="CT1"))


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (PutPeer(ae_title="A\\B"), "no AE title"),
        (PutPeer(ae_title="CT1", rights=["rule"]), "no right rule"),
        (PutPeer(ae_title="CT1", port=0), "no port"),
    ],
)
async def test_a_peer_that_cannot_be_is_refused_with_the_reason(box: Box, request_: PutPeer, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        await box.ask(request_)
    assert await box.ask(ListPeers()) == []


async def test_a_dry_run_says_what_would_go_and_keeps_it(box: Box) -> None:
    put(box.catalogue, admission("a"))
    close(box.catalogue, "a", size=100)
    hold(box.catalogue, "a")
    assert [row.bytes for row in await box.ask(Evict(dry_run=True))] == [100]
    assert [row.bytes for row in await box.ask(Evict())] == [100]
    assert await box.ask(Evict()) == []
    assert await box.ask(Evict(study="1.2.3")) == [Stays(reason="not in the cache", studies=1)]


async def test_what_is_no_request_is_answered_with_why(box: Box) -> None:
    def say() -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.connect(str(box.layout.control))
            line.sendall(b'{"is": "nonsense"}\n')
            return line.makefile("rb").readline()

    answer = lines.decode_answer.decode(await asyncio.to_thread(say))
    assert isinstance(answer, Failed)
    assert (answer.error, answer.sentence.startswith("That is no request")) == ("Refused", True)


async def test_who_goes_away_is_no_longer_waited_for(box: Box) -> None:
    def ask_and_go() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.connect(str(box.layout.control))
            line.sendall(lines.encode(RecallStudy(study="1.2.3")) + b"\n")
            assert line.makefile("rb").readline()

    await asyncio.to_thread(ask_and_go)
    (retrieval,) = box.retrieve.begun
    assert await asyncio.to_thread(wait, retrieval.closed)


async def test_many_who_wait_keep_nobody_from_the_threads_of_the_loop(box: Box) -> None:
    box.retrieve.known.clear()
    waiting = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(48)]
    for line in waiting:
        line.connect(str(box.layout.control))
        line.sendall(lines.encode(RecallStudy(study="1.2.3")) + b"\n")
    async with asyncio.timeout(15):
        while box.retrieve.asked < len(waiting):
            await asyncio.sleep(0.01)
        (found,) = await box.ask(GetStatus())
    assert found.studies == 0
    for line in waiting:
        line.close()
    box.retrieve.known.set()
    while len(box.retrieve.begun) < len(waiting):
        await asyncio.sleep(0.01)
    for retrieval in box.retrieve.begun:
        assert await asyncio.to_thread(wait, retrieval.closed)


async def test_every_request_that_a_line_can_say_has_a_responder(box: Box) -> None:
    assert box.controller.requests == set(get_args(lines.Request))


class Noun:
    """Answers ListPeers and GetStatus as it is told, and keeps who asked."""

    def __init__(self, row: Callable[[], list[Message]], who: frozenset[Role] = PEOPLE) -> None:
        self._row = row
        self._who = who
        self.askers: list[Asker] = []

    def responders(self) -> Iterable[Responder]:
        return [at_once(ListPeers, self._who, self._answer), at_once(GetStatus, PEOPLE, lambda request, asker: [])]

    def _answer(self, _request: ListPeers, asker: Asker) -> list[Message]:
        self.askers.append(asker)
        return self._row()


@contextlib.asynccontextmanager
async def answering(path: Path, noun: Noun, most: int = 8) -> AsyncIterator[Callable[[lines.Request], Awaitable[list[Any]]]]:
    """A controller of one noun, and how it is asked."""
    serving = asyncio.create_task(Controller(path, [noun], most=most).serve())
    while not path.exists():
        await asyncio.sleep(0)
    yield lambda request: asyncio.to_thread(lambda: list(asking.ask(path, request, timeout_seconds=20)))
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving


async def test_a_fault_of_one_request_is_said_and_logged_and_ends_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def row() -> list[Message]:
        raise ValueError("one of its own")

    async with answering(tmp_path / "socket", Noun(row)) as ask:
        with pytest.raises(OutpostError, match="its log says more"):
            await ask(ListPeers())
        assert await ask(GetStatus()) == []
    assert [record.exc_info[1].args for record in caplog.records if record.exc_info] == [("one of its own",)]


async def test_who_has_not_the_role_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    noun = Noun(list, frozenset({Role.OTHER}))
    async with answering(tmp_path / "socket", noun) as ask:
        with pytest.raises(Refused, match="Use sudo"):
            await ask(ListPeers())
    assert noun.askers == []


async def test_who_asks_is_who_the_kernel_says(tmp_path: Path) -> None:
    noun = Noun(list)
    async with answering(tmp_path / "socket", noun) as ask:
        await ask(ListPeers())
    (asker,) = noun.askers
    assert (asker.user, asker.role) == (os.getuid(), Role.EDGE if os.getuid() else Role.ROOT)


async def test_more_than_can_be_answered_at_a_time_wait_and_are_answered(tmp_path: Path) -> None:
    go = threading.Event()

    def row() -> list[Message]:
        assert go.wait(20)
        return []

    noun = Noun(row)
    async with answering(tmp_path / "socket", noun, most=2) as ask:
        asked = [asyncio.create_task(ask(ListPeers())) for _ in range(4)]  # type: ignore[arg-type]
        while len(noun.askers) < 2:
            await asyncio.sleep(0.01)
        go.set()
        assert await asyncio.gather(*asked) == [[]] * 4
    assert len(noun.askers) == 4


async def test_a_request_that_does_not_end_is_refused(tmp_path: Path) -> None:
    def say(path: Path) -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.connect(str(path))
            line.sendall(b'{"is": "get-status"')
            line.shutdown(socket.SHUT_WR)
            return line.makefile("rb").readline()

    async with answering(tmp_path / "socket", Noun(list)):
        answer = lines.decode_answer.decode(await asyncio.to_thread(say, tmp_path / "socket"))
    assert answer == Failed(error="Refused", sentence="The request did not end.")


async def test_who_asks_while_there_are_no_descriptors_is_answered_when_there_are(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with answering(path, Noun(list)) as ask:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        held = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, least), most))
        try:
            with contextlib.suppress(OSError):
                while True:
                    held.append(os.dup(line.fileno()))
            line.connect(str(path))
            await asyncio.sleep(0.3)
        finally:
            for descriptor in held:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, (least, most))
        with line:
            line.sendall(lines.encode(GetStatus()) + b"\n")
            assert await asyncio.to_thread(line.makefile("rb").readline) == b'{"is":"done"}\n'
        assert await ask(GetStatus()) == []


async def test_what_edge_web_shows_is_in_the_trail_and_refused_while_that_is_full(box: Box) -> None:
    note = NoteAccess(service="WADO-RS", address="10.0.0.9", study="1.2.3", keys=[])
    assert await box.ask(note) == []
    assert box.audit.events == [Accessed(service="WADO-RS", address="10.0.0.9", study="1.2.3")]
    box.audit.full = True
    with pytest.raises(Transient, match="The audit trail cannot be written"):
        await box.ask(note)


async def test_what_the_archive_alone_has_is_listed_newest_first_as_far_as_the_cache_has_room(box: Box) -> None:
    for number, letter in enumerate("abc"):
        put(box.catalogue, admission(letter, study=f"1.2.{number}", received_at=1000.0 + number))
        close(box.catalogue, letter, size=10_000)
        hold(box.catalogue, letter, number + 1)
    assert await box.ask(ListAway()) == []
    for letter in "ab":
        box.catalogue.evict(pack_id(letter))
    whole = [Away(study="1.2.1", bytes=10_000, fits=True), Away(study="1.2.0", bytes=10_000, fits=True)]
    assert await box.ask(ListAway()) == whole
    assert await box.ask(ListAway(since=1001.0)) == whole[:1]
    assert await box.ask(ListAway(modality="XX")) == []
