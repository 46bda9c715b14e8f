"""edge.verifying: what cloudsync finds wrong with the archive is mended from the cache, or named to a person with its study."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge import cli
from edge.asks import Asks
from edge.config import Layout
from edge.control.verify import GetVerify, Hurt, StartVerify, Verified
from edge.controller import Controller
from edge.errors import Transient
from edge.facts import Facts
from edge.journal import Damaged, Entry, Held, Verification, Verify
from edge.journalfiles import JournalReader, JournalWriter
from edge.reach import Reach
from edge.refusals import Refusals
from edge.responder import Asker, Role
from edge.store.catalogue import Catalogue
from edge.unread import UnreadFacts
from edge.verifying import Verifying
from edge.wall import Gate
from tests.responses import answers
from tests.store.rows import Clock, admission, close, hold, pack_id, put

REASON = "x/p/a/000001 is missing"


class Desk:
    """Nobody waits for a recall."""

    def arrived(self, pack: str, number: int, digest: str, size: int) -> None: ...
    def failed(self, pack: str, reason: str, final: bool) -> None: ...
    def heard_news(self, pack: str) -> None: ...

    def heard(self, pack: str) -> None: ...


class EdgeSide:
    """The catalogue of a box with one held pack, whole in its cache, and what it hears; `cloudsync` writes the facts."""

    def __init__(self, state: Path) -> None:
        self.layout = Layout(state)
        self.layout.edge.mkdir(parents=True)
        self.clock = Clock()
        self.catalogue = Catalogue(self.layout.catalogue)
        put(self.catalogue, admission("a", more={0x00080050: ("SH", "A77")}))
        close(self.catalogue, "a")
        hold(self.catalogue, "a", upto=0)
        self.cloudsync = JournalWriter(self.layout.facts)
        self.asks = JournalWriter(self.layout.asks)
        self.woken: list[str] = []
        self.facts = Facts(
            Gate(self.layout.facts),
            self.catalogue,
            self.asks,
            Desk(),
            lambda pack: None,
            UnreadFacts(self.layout.unread),
            Refusals(),
            damaged=self._damaged,
        )
        self.verifying = Verifying(self.catalogue, Asks(self.asks, lambda: None), Reach(self.catalogue, 900.0, self.clock))

    def _damaged(self, pack: str) -> None:
        self.woken.append(pack)
        self.verifying.found(pack)

    def hear(self, *facts: Entry) -> None:
        self.cloudsync.append(*facts)
        assert self.facts.apply()

    @property
    def to_code(self) -> list[str]:
        return [pack for (pack,) in self.catalogue.rows("next_to_code", since=0.0)]

    def close(self) -> None:
        self.catalogue.close()
        self.cloudsync.close()
        self.asks.close()


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[EdgeSide]:
    made = EdgeSide(tmp_path)
    yield made
    made.close()


def held() -> Held:
    return Held(
        pack=pack_id("a"),
        held_at=5.0,
        instances=1,
        raw_bytes=9,
        sealed_bytes=7,
        sha256="0" * 64,
        study={"0020000D": {"vr": "UI", "Value": ["1.2.3"]}},
        series=[{"0020000E": {"vr": "UI", "Value": ["1.2.3.1"]}}],
    )


def verification(asked: int, *, ended_at: float | None = None, damaged: int = 0, faults: list[str] | None = None) -> Verification:
    return Verification(
        asked=asked,
        percent=0.0,
        began_at=1.0,
        ended_at=ended_at,
        done=0.5 if ended_at is None else 1.0,
        objects=12,
        read_objects=0,
        read_bytes=0,
        damaged=damaged,
        faults=faults or [],
    )


def test_a_pack_that_the_cache_has_whole_is_the_only_copy_until_it_was_shipped_once_more(edge: EdgeSide) -> None:
    edge.hear(held(), Damaged(pack=pack_id("a"), reason=REASON))
    state = edge.catalogue.pack(pack_id("a"))
    assert state is not None
    assert (state.held, edge.to_code, edge.woken) == (False, [pack_id("a")], [pack_id("a")])
    assert answers(edge.verifying, GetVerify()) == [Hurt(study="1.2.3", accession="A77", pack=pack_id("a"), reason=REASON, mending=True)]
    assert edge.verifying.alarms() == []
    edge.hear(held())
    state = edge.catalogue.pack(pack_id("a"))
    assert state is not None
    assert (state.held, edge.to_code, answers(edge.verifying, GetVerify())) == (True, [], [])


def test_a_pack_that_the_cache_has_not_whole_is_an_alarm_with_its_study_until_it_is_whole_again(edge: EdgeSide) -> None:
    edge.catalogue.evict(pack_id("a"))
    edge.hear(held(), Damaged(pack=pack_id("a"), reason=REASON))
    state = edge.catalogue.pack(pack_id("a"))
    assert state is not None
    assert (state.held, edge.to_code) == (True, [])
    (alarm,) = edge.verifying.alarms()
    assert alarm.startswith(f"Study 1.2.3 (accession number A77) is damaged in the archive: {REASON}. The cache does not hold it whole")
    edge.catalogue.begin_recall(pack_id("a"))
    edge.catalogue.set_whole(pack_id("a"))
    assert edge.to_code == [pack_id("a")]
    assert edge.verifying.alarms() == []


def test_what_is_wrong_with_the_catalog_is_an_alarm_until_a_comparison_finds_it_right(edge: EdgeSide) -> None:
    edge.hear(verification(0, ended_at=2.0, faults=["x/c/0/000000000002 is missing."]))
    assert edge.verifying.alarms() == ["The archive is not as it should be: x/c/0/000000000002 is missing."]
    edge.hear(verification(0, ended_at=3.0))
    assert edge.verifying.alarms() == []


@pytest.mark.asyncio
async def test_who_asks_is_told_how_far_it_is_and_at_the_end_what_was_found(edge: EdgeSide) -> None:
    edge.hear(verification(0, ended_at=1.0))  # of another one
    (responder,) = [one for one in edge.verifying.responders() if one.request is StartVerify]
    rows: list[object] = []
    async with contextlib.aclosing(responder.answer(StartVerify(percent=5.0), Asker(0, Role.ROOT))) as answered:
        following = asyncio.ensure_future(anext(answered))
        seq, ask = await asyncio.to_thread(next_verify, edge)
        assert ask.percent == 5.0
        edge.hear(verification(seq))
        rows.append(await asyncio.wait_for(following, 20))
        edge.hear(Damaged(pack=pack_id("a"), reason=REASON), verification(seq, ended_at=9.0, damaged=1))
        rows += [row async for row in answered]
    first, last, hurt = rows
    assert isinstance(first, Verified)
    assert isinstance(last, Verified)
    assert isinstance(hurt, Hurt)
    assert (first.ended_at, last.ended_at, last.damaged, hurt.study) == (None, 9.0, 1, "1.2.3")


@pytest.mark.asyncio
async def test_a_pack_that_is_mended_before_the_comparison_ends_is_named_all_the_same(edge: EdgeSide) -> None:
    (responder,) = [one for one in edge.verifying.responders() if one.request is StartVerify]
    async with contextlib.aclosing(responder.answer(StartVerify(), Asker(0, Role.ROOT))) as answered:
        following = asyncio.ensure_future(anext(answered))
        seq, _ = await asyncio.to_thread(next_verify, edge)
        edge.hear(held(), Damaged(pack=pack_id("a"), reason=REASON))
        edge.hear(held())
        edge.hear(verification(seq, ended_at=9.0, damaged=1))
        last = await asyncio.wait_for(following, 20)
        found = [row async for row in answered]
    assert isinstance(last, Verified)
    assert found == [Hurt(study="1.2.3", accession="A77", pack=pack_id("a"), reason=REASON, mending=True)]
    assert edge.catalogue.rows("damaged_packs") == []


def next_verify(edge: EdgeSide) -> tuple[int, Verify]:
    reader = JournalReader(Gate(edge.layout.asks), 0)
    while True:
        for entry in reader.read():
            if isinstance(entry, Verify):
                return entry.seq, entry


@pytest.mark.asyncio
async def test_who_asks_is_told_that_cloudsync_does_not_run(edge: EdgeSide) -> None:
    (responder,) = [one for one in edge.verifying.responders() if one.request is StartVerify]
    edge.clock.time += 3600
    with pytest.raises(Transient, match="Cloudsync, which asks the archive, does not run"):
        async with contextlib.aclosing(responder.answer(StartVerify(), Asker(0, Role.ROOT))) as answered:
            await anext(answered)


@pytest.mark.asyncio
async def test_the_command_says_what_was_found_and_its_exit_code_tells_it_to_a_script(edge: EdgeSide) -> None:
    controller = asyncio.create_task(Controller(edge.layout.control, [edge.verifying]).serve())
    while not edge.layout.control.exists():
        await asyncio.sleep(0)

    async def run(*options: str) -> tuple[int, str]:
        result = await asyncio.to_thread(CliRunner().invoke, cli.app, ["verify", "--last", "--state", str(edge.layout.state), *options])
        return result.exit_code, result.output

    assert await run() == (0, "The archive was not compared yet.\n")
    edge.hear(verification(3, ended_at=9.0))
    code, said = await run()
    assert (code, "12 objects looked for; all of it is as it should be" in said) == (0, True)
    edge.hear(
        Damaged(pack=pack_id("a"), reason=REASON), verification(4, ended_at=9.0, damaged=1, faults=["x/c/0/000000000002 is missing."])
    )
    code, said = await run()
    assert code == 65
    assert "1 pack is damaged, and the catalog or site state is not as it should be" in said
    assert f"damaged    study 1.2.3 (accession number A77): {REASON}. The cache holds it whole: it is shipped once more" in said
    code, said = await run("--json")
    assert (code, len(said.splitlines()), '"hurt"' in said) == (65, 2, True)
    controller.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await controller
