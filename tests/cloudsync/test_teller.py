"""cloudsync.teller: what the ledger holds untold becomes a fact, also when it is asked for while it is being told."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from cloudsync.ledger.ledger import Ledger
from cloudsync.ledger.values import ChainTip
from cloudsync.segment import Held
from cloudsync.teller import Teller
from edge import journal
from edge.model import Digest

pytestmark = pytest.mark.asyncio

HELD = Held(
    pack="a" * 26,
    held_at=5.0,
    instances=1,
    raw_bytes=9,
    sealed_bytes=7,
    sha256="0" * 64,
    study={},
    series=[],
    objects=2,
    head="000000",
    head_digest="0" * 64,
    sums_digest="0" * 64,
)


class Facts:
    """A journal that is slow to write: each `append` waits for `go`."""

    def __init__(self) -> None:
        self.written: list[journal.Entry] = []
        self.reached = threading.Event()
        self.go = threading.Event()

    def append(self, *entries: journal.Entry) -> None:
        self.reached.set()
        assert self.go.wait(20)
        self.written += entries


async def test_a_holding_that_is_asked_for_again_while_it_is_told_is_told_again(tmp_path: Path) -> None:
    ledger = await Ledger.open(tmp_path / "ledger.db")
    await ledger.holdings.follow("x/c/0/000000000001", b"sealed", ChainTip(1, Digest("0" * 64), b"signer"), [HELD])
    facts = Facts()
    teller = Teller(ledger, facts, lambda: None)
    telling = asyncio.create_task(teller.flush())
    assert await asyncio.to_thread(facts.reached.wait, 20)
    asking = asyncio.create_task(ledger.asked.commit([journal.Restate(seq=1)], {}))
    await asyncio.wait({asking}, timeout=0.3)
    facts.go.set()
    await asyncio.gather(telling, asking)
    await teller.flush()
    assert [fact.pack for fact in facts.written if isinstance(fact, journal.Held)] == [HELD.pack] * 2
    await ledger.close()


async def test_an_acknowledgement_comes_behind_every_holding_that_was_asked_for_again(tmp_path: Path) -> None:
    ledger = await Ledger.open(tmp_path / "ledger.db")
    packs = [replace(HELD, pack=f"{number:026d}".translate(str.maketrans("0189", "abcd"))) for number in range(450)]
    await ledger.holdings.follow("x/c/0/000000000001", b"sealed", ChainTip(1, Digest("0" * 64), b"signer"), packs)
    facts = Facts()
    facts.go.set()
    teller = Teller(ledger, facts, lambda: None)
    await teller.flush()
    del facts.written[:]
    await ledger.asked.commit([journal.Restate(seq=1)], {})
    await teller.flush()
    assert {fact.pack for fact in facts.written[:-1] if isinstance(fact, journal.Held)} == {pack.pack for pack in packs}
    assert facts.written[-1] == journal.Ack(upto=1)
    await ledger.close()
