"""A catalog that is longer than a test would make it."""

from __future__ import annotations

from pathlib import Path

from cloudsync.archive.folder import Folder
from cloudsync.archive.port import md5_of
from cloudsync.catalog import CatalogChain, ChainState
from cloudsync.ledger.ledger import Ledger
from cloudsync.ledger.values import ChainTip
from cloudsync.seal import keys as seal_keys
from edge.config import Layout


async def grow(layout: Layout, folder: Path, count: int) -> None:
    """So many segments that say nothing, behind those that the archive has. cloudsync does not run now. No merge is made of them here."""
    keys, ledger, archive = seal_keys.load(layout.keys), await Ledger.open(layout.ledger), Folder(folder)
    tip = await ledger.chain.tip()
    assert tip is not None
    if left := await ledger.chain.in_flight():
        await archive.put(left.name, left.sealed, md5_of(left.sealed))
        await ledger.chain.confirmed(left.sequence)
    chain = CatalogChain(keys.site_id, keys.trust_root, keys.open, ChainState(tip.sequence, tip.digest, tip.signer))
    for _ in range(count):
        made = chain.append(keys, [])
        chain = chain.at(made.state)
        await ledger.chain.record(made.name, made.sealed, ChainTip(made.state.sequence, made.state.tip, made.state.signer), 0)
        await archive.put(made.name, made.sealed, md5_of(made.sealed))
        await ledger.chain.confirmed(made.state.sequence)
    await ledger.close()
    await archive.close()
