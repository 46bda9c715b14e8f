"""cloudsync as a whole, between a written edge side and a real archive."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cloudsync.rebuild import rebuild
from cloudsync.seal import kit as recovery_kit
from cloudsync.setup import NewSite
from edge import journal
from edge.config import Layout
from edge.journal import Ack, Held, Here, Link, Progress, SiteStateHere
from tests.cloudsync.conftest import Running, serving
from tests.cloudsync.edge_side import CodedPack, EdgeSide, settings

pytestmark = pytest.mark.asyncio


async def test_a_coded_pack_is_held_and_comes_back_byte_for_byte(edge: EdgeSide, running: Running) -> None:
    pack = CodedPack.generated(1, parts=5)
    async with running():
        edge.code(pack)
        (held,) = await edge.hears(Held, pack=pack.pack)
        assert (held.instances, held.raw_bytes, held.sha256) == (3, pack.ask.raw_bytes, pack.ask.sha256)
        assert (held.study, held.series) == (pack.ask.study, pack.ask.series)
        assert edge.heard(Progress, pack=pack.pack)[-1].confirmed == 7
        edge.ask(journal.Recall(pack=pack.pack, parts=list(range(6))))
        await edge.hears(Here, count=6, pack=pack.pack)
        assert tuple(edge.inbox(pack.pack, number) for number in range(6)) == pack.objects
        await edge.hears(Ack, upto=2)
        assert edge.heard(Link)[0].state == "up"


async def test_an_empty_box_is_rebuilt_by_the_kit_alone(
    edge: EdgeSide, running: Running, site: NewSite, archive_folder: Path, tmp_path: Path
) -> None:
    packs = [CodedPack.generated(seed, parts=seed) for seed in range(3)]
    async with running():
        for pack in packs:
            edge.code(pack)
        edge.site_state(b"an older state")
        edge.site_state(b"the newest state")
        await edge.hears(Held, count=3)
        await edge.until(lambda: not list((edge.layout.cloudsync / "sealed").iterdir()), "an empty outbox")
        await asyncio.sleep(0.3)
    other = Layout(tmp_path / "other")
    kit = recovery_kit.read(tmp_path / "kit", site.passphrase)
    said: list[str] = []
    rebuilt = await rebuild(other.state, settings(archive_folder), kit, said.append)
    assert (rebuilt.site_id, rebuilt.holdings, rebuilt.site_state) == (site.site_id, 3, True)
    second = EdgeSide(other)
    second.listen()
    assert isinstance(second.facts[0], SiteStateHere)
    assert (other.inbox / "site" / second.facts[0].digest).read_bytes() == b"the newest state"
    assert {fact.pack for fact in second.heard(Held)} == {pack.pack for pack in packs}
    assert sorted(map(str, second.heard(Held))) == sorted(str(fact).replace("seq=0", "") for fact in second.heard(Held))
    async with serving(other):
        for pack in packs:
            second.ask(journal.Recall(pack=pack.pack, parts=list(range(len(pack.objects)))))
            await second.hears(Here, count=len(pack.objects), pack=pack.pack)
            assert tuple(second.inbox(pack.pack, number) for number in range(len(pack.objects))) == pack.objects
        another = CodedPack.generated(9)
        second.code(another)
        await second.hears(Held, pack=another.pack)
    second.close()
