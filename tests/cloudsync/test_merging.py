"""cloudsync writes merges once their parts are in the archive, each once, whatever happens in between."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from cloudsync import merge
from cloudsync.archive.folder import Folder
from cloudsync.archive.port import ObjectRefused, md5_of
from cloudsync.catalog import CatalogChain, ChainState, Entry, epoch_entry
from cloudsync.epochs import begin
from cloudsync.ledger.ledger import Ledger
from cloudsync.ledger.values import ChainTip
from cloudsync.merge import MOST_BYTES
from cloudsync.merging import Merger
from cloudsync.seal import keys as seal_keys
from cloudsync.seal import part
from cloudsync.seal.keys import Keys
from cloudsync.span import Span
from tests.cloudsync.test_catalog import NOW, held
from tests.cloudsync.test_shared import held as small

pytestmark = pytest.mark.asyncio


class Cut(Exception):
    """The box dies here."""


class Vault(Folder):
    """An archive that can die before or after it took a merge, or refuse it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.root = root
        self.before: Exception | None = None
        self.after: Exception | None = None
        self.away = ""
        """An object that the archive will not give."""

    async def get(self, name: str) -> bytes:
        if name == self.away:
            raise ObjectRefused("it lies in an archive tier")
        return await super().get(name)

    async def put(self, name: str, data: bytes, md5: bytes) -> None:
        if self.before is not None:
            raise self.before
        await super().put(name, data, md5)
        if self.after is not None:
            raise self.after

    def merges(self) -> dict[str, bytes]:
        return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in sorted(self.root.glob("*/c/[1-9]/*"))}


@dataclass(slots=True)
class Box:
    keys: Keys
    ledger: Ledger
    vault: Vault
    directory: Path
    state: ChainState = field(default_factory=ChainState)

    @property
    def chain(self) -> CatalogChain:
        return CatalogChain(self.keys.site_id, self.keys.trust_root, self.keys.open, self.state)

    @property
    def merger(self) -> Merger:
        """As a start makes it."""
        return Merger(self.ledger, self.keys, self.vault)

    async def write(self, count: int, *, kept: bool = True) -> None:
        """So many segments, confirmed; without their bytes where those are not kept."""
        for _ in range(count):
            first: list[Entry] = [] if self.state.sequence else [epoch_entry(self.keys, NOW)]
            made = self.chain.append(self.keys, [*first, small()])
            self.state = made.state
            tip = ChainTip(made.state.sequence, made.state.tip, made.state.signer)
            await self.ledger.chain.record(made.name, made.sealed, tip, 0)
            await self.ledger.chain.confirmed(tip.sequence)
            if not kept:
                await self.vault.put(made.name, made.sealed, md5_of(made.sealed))
                forget(self.directory.with_name("ledger.db"))


def forget(ledger: Path) -> None:
    """A ledger that an older Outpost began did not keep the bytes of segments."""
    with contextlib.closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
        connection.execute("UPDATE segments SET sealed = NULL")


@pytest_asyncio.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    Folder.prepare(tmp_path / "archive")
    made, _ = seal_keys.make(tmp_path / "keys", now=NOW)
    ledger, vault = await Ledger.open(tmp_path / "ledger.db"), Vault(tmp_path / "archive")
    yield Box(made, ledger, vault, tmp_path / "keys")
    await ledger.close()
    await vault.close()


async def test_the_thirty_second_segment_is_followed_by_a_merge_and_the_1024th_by_one_of_those(box: Box) -> None:
    await box.write(31)
    await box.merger.settle()
    assert box.vault.merges() == {}
    await box.write(1)
    await box.merger.settle()
    assert [*box.vault.merges()] == ["1/000000000001"]
    await box.write(1024 + 31 - 32)
    await box.merger.settle()
    found = box.vault.merges()
    assert [*found] == [*(str(span) for span in Span(2, 1).parts), "2/000000000001"]
    lines = {name: merge.read(box.chain, Span(int(name[0]), int(name[2:])), sealed).lines for name, sealed in found.items()}
    assert [line for span in Span(2, 1).parts for line in lines[str(span)]] == [*lines["2/000000000001"]]
    assert len(lines["2/000000000001"]) == 1 + 1024
    assert await box.ledger.merges.due() is None
    assert (await box.merger.settle(), box.vault.merges()) == (None, found)


async def test_a_merge_that_was_broken_off_is_sent_as_the_same_bytes(box: Box) -> None:
    await box.write(32)
    box.vault.before = Cut()
    with pytest.raises(Cut):
        await box.merger.settle()
    recorded = await box.ledger.merges.sending()
    assert recorded is not None
    box.vault.before, box.vault.after = None, Cut()
    with pytest.raises(Cut):
        await box.merger.settle()
    box.vault.after = None
    await box.merger.settle()
    assert [*box.vault.merges().values()] == [recorded.sealed]
    assert await box.ledger.merges.there() == {Span(1, 1): len(recorded.sealed or b"")}


async def test_parts_whose_bytes_are_not_kept_come_from_the_archive(box: Box) -> None:
    await box.write(32, kept=False)
    await box.merger.settle()
    assert [*box.vault.merges()] == ["1/000000000001"]


async def test_parts_that_are_not_what_was_written_are_not_merged_and_those_behind_them_are(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    await box.write(32, kept=False)
    path = box.vault.root / Span(0, 7).name(box.keys.site_id)
    path.write_bytes(path.read_bytes()[:-1])
    await box.write(32)
    with caplog.at_level(logging.ERROR):
        await box.merger.settle()
    assert [*box.vault.merges()] == ["1/000000000033"]
    assert "c/1/000000000001 is not made" in caplog.text
    assert "c/0/000000000007" in caplog.text


async def test_parts_that_the_archive_will_not_give_are_not_merged_and_those_behind_them_are(box: Box) -> None:
    await box.write(32, kept=False)
    box.vault.away = Span(0, 7).name(box.keys.site_id)
    await box.write(32)
    await box.merger.settle()
    assert [*box.vault.merges()] == ["1/000000000033"]


async def test_a_merge_that_would_be_too_large_is_passed_over(box: Box) -> None:
    chain, entries = box.chain, [msgspec.structs.replace(held(1), series=[{"text": os.urandom(MOST_BYTES // 32).hex()}])]
    for number in range(64):
        first: list[Entry] = [] if number else [epoch_entry(box.keys, NOW)]
        made = chain.append(box.keys, [*first, *entries[: number < 32]])
        chain = chain.at(made.state)
        tip = ChainTip(made.state.sequence, made.state.tip, made.state.signer)
        await box.ledger.chain.record(made.name, made.sealed, tip, 0)
        await box.ledger.chain.confirmed(tip.sequence)
    await box.merger.settle()
    assert [*box.vault.merges()] == ["1/000000000033"]


async def test_what_the_archive_refuses_is_left_out_and_those_behind_it_are_not(box: Box) -> None:
    await box.write(32)
    box.vault.before = ObjectRefused("not this one")
    await box.merger.settle()
    box.vault.before = None
    await box.write(32)
    await box.merger.settle()
    assert [*box.vault.merges()] == ["1/000000000033"]


async def test_a_merge_that_lies_there_already_counts_if_it_says_the_same(box: Box) -> None:
    """A lost box wrote it, in whose place this one was rebuilt."""
    await box.write(64)
    lying = {}
    for span, lines in ((Span(1, 1), 32 + 1), (Span(1, 33), 31)):
        pieces = [merge.read(box.chain, found.span, found.sealed or b"") for found in await box.ledger.merges.parts(span)]
        piece = merge.merged(span, pieces, box.keys.site_id)
        sealed = merge.write(box.keys, replace(piece, lines=piece.lines[:lines]))
        await box.vault.put(span.name(box.keys.site_id), sealed, md5_of(sealed))
        lying[str(span)] = sealed
    await box.merger.settle()
    assert box.vault.merges() == lying
    assert await box.ledger.merges.there() == {Span(1, 1): len(lying["1/000000000001"])}


async def test_a_merge_is_sealed_under_the_epoch_whose_key_is_in_the_archive(box: Box) -> None:
    await box.write(32)
    box.keys = await begin(box.directory, box.ledger, box.keys, (), NOW)
    await box.merger.settle()
    (sealed,) = box.vault.merges().values()
    assert part.epoch_of(sealed, Span(1, 1).name(box.keys.site_id)) == 1
