"""A merge in the archive is compared with the ledger, and with what its parts say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from cloudsync import merge
from cloudsync.catalog import CatalogChain, ChainState
from cloudsync.ledger.ledger import Ledger
from cloudsync.seal import keys as seal_keys
from cloudsync.seal.certificates import to_der
from cloudsync.setup import NewSite
from cloudsync.span import FAN, Span
from edge.journal import Held
from tests.cloudsync.conftest import Running
from tests.cloudsync.edge_side import CodedPack, EdgeSide
from tests.cloudsync.growing import grow
from tests.cloudsync.test_verify import verified

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def merged(edge: EdgeSide, site: NewSite, archive_folder: Path, running: Running) -> Path:
    """The first merge, in the archive."""
    pack, path = CodedPack.generated(1), archive_folder / Span(1, 1).name(site.site_id)
    async with running():
        edge.code(pack)
        await edge.hears(Held, pack=pack.pack)
    await grow(edge.layout, archive_folder, FAN)
    async with running():
        await edge.until(path.exists, "a merge")
    return path


async def test_what_was_done_to_merges_is_named_and_one_that_went_missing_is_put_back(
    edge: EdgeSide, site: NewSite, archive_folder: Path, running: Running, merged: Path
) -> None:
    before, name = merged.read_bytes(), Span(1, 1).name(site.site_id)
    async with running():
        assert (await verified(edge, 0)).faults == []
        for changed in (before[:-1], before[:-1] + bytes([before[-1] ^ 1])):
            merged.write_bytes(changed)
            (fault,) = (await verified(edge, 0)).faults
            assert fault.startswith(name)
            assert "A rebuild reads the segments in its place" in fault
        merged.unlink()
        (fault,) = (await verified(edge, 0)).faults
        assert fault.startswith(f"{name} was missing. It was put back")
        assert merged.read_bytes() == before
        stray = Span(1, 33).name(site.site_id)
        (archive_folder / stray).write_bytes(before)
        (fault,) = (await verified(edge, 0)).faults
        assert fault.startswith(f"{stray} was not written by this box")
        (archive_folder / stray).unlink()
        assert (await verified(edge, 100)).faults == []


async def test_a_merge_that_says_something_else_than_its_parts_is_named_though_the_site_signed_it(
    edge: EdgeSide, site: NewSite, running: Running, merged: Path
) -> None:
    keys, name = seal_keys.load(edge.layout.keys), Span(1, 1).name(site.site_id)
    chain = CatalogChain(site.site_id, keys.trust_root, keys.open, ChainState(99, signer=to_der(keys.signing)))
    piece = merge.read(chain, Span(1, 1), merged.read_bytes())
    sealed = merge.write(keys, replace(piece, lines=piece.lines[:-1]))
    merged.write_bytes(sealed)
    ledger = await Ledger.open(edge.layout.ledger)
    await ledger.merges.confirmed(Span(1, 1), sealed)
    await ledger.close()
    async with running():
        (fault,) = (await verified(edge, 0)).faults
    assert fault.startswith(f"{name} is not what it should be ({name} says something else than its parts)")
