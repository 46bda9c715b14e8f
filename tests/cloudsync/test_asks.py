"""Edge is on the other side of the wall: an ask that breaks a rule is refused, and nothing of it reaches a path or a row."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from cloudsync.asks import fault_of
from cloudsync.ledger.ledger import Ledger
from cloudsync.sealed import SealedFiles
from edge import journal
from edge.journal import AsksUnread, Held, PartFile, Stopped
from edge.keptlines import KeptLines
from edge.model import PackId
from tests.cloudsync.conftest import Running
from tests.cloudsync.edge_side import CodedPack, EdgeSide

GOOD = CodedPack.generated(1).ask
PACK = GOOD.pack


def coded(**changes: object) -> journal.Coded:
    return msgspec.structs.replace(GOOD, **changes)


@pytest.mark.parametrize(
    "ask",
    [
        coded(pack="../../keys/kek-000001aaaaa"),
        coded(pack=""),
        coded(pack=PACK.upper()),
        coded(urgency="now"),
        coded(sha256="x" * 64),
        coded(parts=[]),
        coded(parts=GOOD.parts[1:]),
        coded(parts=[*GOOD.parts, GOOD.parts[-1]]),
        coded(parts=[PartFile(0, 0, "0" * 64)]),
        coded(parts=[PartFile(0, (64 << 20) + 1, "0" * 64)]),
        coded(parts=[PartFile(0, 1, "0" * 64), PartFile(1, (4 << 20) + 1, "0" * 64)]),
        coded(parts=[PartFile(0, 1, "../" * 20 + "abcd")]),
        coded(instances=-1),
        journal.Recall(pack="..", parts=[0]),
        journal.Recall(pack=PACK, parts=[-1]),
        journal.Recall(pack=PACK, parts=[10**9]),
        journal.Taken(pack="site"),
        journal.SiteState(bytes=1, digest="../../keys"),
        journal.SiteState(bytes=1 << 40, digest="0" * 64),
        journal.Progress(pack=PACK, confirmed=1, total=1),
    ],
)
def test_an_ask_that_breaks_a_rule_is_refused(ask: journal.Entry) -> None:
    assert fault_of(ask)


@pytest.mark.parametrize(
    "ask",
    [GOOD, journal.Recall(pack=PACK, parts=[0]), journal.Taken(pack=PACK), journal.Restate(), journal.SiteState(bytes=1, digest="0" * 64)],
)
def test_an_ask_that_breaks_no_rule_is_followed(ask: journal.Entry) -> None:
    assert fault_of(ask) == ""


@pytest.mark.asyncio
async def test_a_refused_ask_is_reported_and_what_follows_it_is_done(edge: EdgeSide, running: Running) -> None:
    bad, good = CodedPack.generated(2), CodedPack.generated(3)
    async with running():
        edge.ask(msgspec.structs.replace(bad.ask, urgency="now"), journal.Taken(pack="../../edge"))
        edge.ask(msgspec.structs.replace(bad.ask, pack="../../edge"), journal.Recall(pack="../../edge", parts=[0]))
        edge.code(good)
        (stopped,) = await edge.hears(Stopped, pack=bad.pack)
        assert "urgency" in stopped.reason
        await edge.hears(Held, pack=good.pack)
        assert edge.layout.outbox.is_dir()


@pytest.mark.asyncio
async def test_an_ask_that_does_not_parse_is_set_aside_and_named_and_those_behind_it_are_done(edge: EdgeSide, running: Running) -> None:
    unread, good = CodedPack.generated(5), CodedPack.generated(6)
    edge.ask(unread.ask, journal.Restate(), journal.Restate())
    (segment,) = edge.layout.asks.iterdir()
    coded, *rest = segment.read_bytes().splitlines()
    newer = coded.replace(b'"kind":"coded"', b'"kind":"coded","from_a_newer_edge":true')
    segment.write_bytes(b"\n".join([newer, b"\xff not JSON", rest[1], b""]))
    edge.code(good)
    async with running():
        await edge.hears(Held, pack=good.pack)
        (stopped,) = edge.heard(Stopped, pack=unread.pack)
        assert "from_a_newer_edge" in stopped.reason
        assert edge.heard(AsksUnread)[-1].sentence.startswith("Cloudsync has set aside")
        assert "ask 1 (it does not parse" in edge.heard(AsksUnread)[-1].sentence
        assert ", 2 (it does not parse" in edge.heard(AsksUnread)[-1].sentence
    assert [one.line for one in KeptLines(edge.layout.unread_asks, "ask").all()] == [newer, b"\xff not JSON"]
    edge.facts.clear()
    async with running():
        await edge.hears(AsksUnread)
        assert [fact for fact in edge.facts if isinstance(fact, Stopped)] == []


@pytest.mark.asyncio
async def test_a_journal_that_is_no_plain_file_is_not_read_and_the_rest_goes_on(edge: EdgeSide, running: Running) -> None:
    pack = CodedPack.generated(4)
    edge.code(pack)
    segment = edge.layout.asks / "000000000001.jsonl"
    async with running():
        await edge.hears(Held, pack=pack.pack)
        moved = segment.rename(segment.with_name("elsewhere"))
        segment.symlink_to(moved)
        edge.ask(journal.Restate())
        segment.unlink()
        moved.rename(segment)
        await edge.hears(Held, count=2, pack=pack.pack)


@pytest.mark.asyncio
async def test_sealed_files_that_no_row_names_are_swept_at_start(tmp_path: Path) -> None:
    files, pack = SealedFiles(tmp_path), PackId("a" * 26)
    recorded = files.keep(pack, 1, b"sealed bytes")
    files.keep(pack, 2, b"nobody's")
    files.keep(PackId("b" * 26), 0, b"nobody's")
    (tmp_path / "stray").write_bytes(b"x")
    files.sweep({(pack, 1)})
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()] == [f"{pack}/000001"]
    assert files.read(pack, 1, recorded) == b"sealed bytes"
    (tmp_path / pack / "000001").write_bytes(b"sealed bytez")
    assert files.read(pack, 1, recorded) is None
    files.drop(pack, 1)
    files.drop(pack, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_sealed_files_does_not_go_from_under_the_next_one(tmp_path: Path) -> None:
    files, pack = SealedFiles(tmp_path), PackId("a" * 26)

    def keep_and_drop(number: int) -> None:
        for _ in range(100):
            files.keep(pack, number, b"sealed bytes")
            files.drop(pack, number)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(keep_and_drop, range(4)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.asyncio
async def test_the_ledger_says_nothing_of_an_unknown_pack(tmp_path: Path) -> None:
    ledger = await Ledger.open(tmp_path / "ledger.db")
    assert await ledger.holdings.pack(PackId("a" * 26)) is None
    await ledger.close()
