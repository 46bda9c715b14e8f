"""edge.web.uses: edge hears which packs were retrieved from, together and not too often."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edge.model import PackId
from edge.web.uses import AGAIN_SECONDS, Uses
from tests.store.rows import Clock
from tests.web.box import ANY, CT, Web, sample, stored

pytestmark = pytest.mark.asyncio


async def test_edge_hears_of_the_pack_of_a_retrieve_and_not_of_a_search_or_of_metadata(served: Web) -> None:
    data, path = await stored(served, CT)
    assert (await served.get(f"{path}/metadata"))[0] == 200
    assert not served.edge.told.is_set()
    assert (await served.get(path, ANY))[0] == 200
    async with asyncio.timeout(20):
        await served.edge.told.wait()
    (pack,) = served.box.close_packs()
    assert served.edge.used == [pack]
    assert data == sample(CT)


async def test_what_is_used_is_told_once_a_minute(tmp_path: Path) -> None:
    clock = Clock()
    uses = Uses(tmp_path / "nobody", clock)
    packs = [PackId(letter * 26) for letter in "ab"]
    uses.note(packs)
    assert uses.pending == set(packs)
    uses.told(packs)
    assert uses.pending == set()
    clock.time += AGAIN_SECONDS - 1
    uses.note(packs)
    assert uses.pending == set()
    clock.time += 1
    uses.note(packs[:1])
    assert uses.pending == {packs[0]}


async def test_what_nobody_hears_is_told_later(tmp_path: Path) -> None:
    uses = Uses(tmp_path / "nobody", Clock())
    uses.note([PackId("a" * 26)])
    await uses.tell_once()
    assert uses.pending == {"a" * 26}


async def test_a_pack_that_cannot_be_read_is_named_until_edge_hears_it(tmp_path: Path) -> None:
    uses = Uses(tmp_path / "nobody", Clock())
    uses.suspect(PackId("a" * 26))
    await uses.tell_once()
    assert uses.suspects == {"a" * 26}
