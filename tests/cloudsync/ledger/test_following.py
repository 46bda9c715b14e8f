"""What the ledger takes of another site's catalog."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudsync.catalog import Tombstone
from cloudsync.ledger.ledger import Ledger
from cloudsync.ledger.values import ChainTip, Reading
from cloudsync.seal.part import NotOurs
from edge.model import Digest, PackId
from tests.cloudsync.test_follow import entry

pytestmark = pytest.mark.asyncio


async def test_a_site_can_name_no_pack_of_another(tmp_path: Path) -> None:
    ledger = await Ledger.open(tmp_path / "ledger.db")
    tip = ChainTip(1, Digest("1" * 64), b"signer")
    try:
        own = entry()
        await ledger.holdings.follow("own/c/0/000000000001", b"sealed", tip, [own])
        for taken in (own, entry(pack="b" * 26, replaces=own.pack)):
            with pytest.raises(NotOurs):
                await ledger.following.follow(
                    "clinicabcd", "clinicabcd/c/0/000000000001", Reading(tip, None), [entry(pack="c" * 26), taken]
                )
            assert await ledger.following.read("clinicabcd") is None
            assert await ledger.holdings.pack(PackId("c" * 26)) is None
        kept = await ledger.holdings.pack(PackId(own.pack))
        assert kept is not None and (kept.origin, kept.stored_as) == ("", own.pack)
    finally:
        await ledger.close()


async def test_a_site_can_name_no_pack_that_another_retired_by_whichever_id(tmp_path: Path) -> None:
    ledger = await Ledger.open(tmp_path / "ledger.db")
    first, anew = entry(), entry(pack="b" * 26, replaces="a" * 26)
    tombstone = Tombstone(pack=anew.pack, at=2.0, reason="kept long enough", law="a law", by="the archivist")
    try:
        tip = ChainTip(1, Digest("1" * 64), b"signer")
        await ledger.holdings.follow("own/c/0/000000000001", b"sealed", tip, [first, anew], [tombstone])
        for taken in (first, entry(pack=anew.pack)):
            with pytest.raises(NotOurs):
                await ledger.following.follow("clinicabcd", "clinicabcd/c/0/000000000001", Reading(tip, None), [taken])
        assert await ledger.holdings.pack(PackId(first.pack)) is None
    finally:
        await ledger.close()
