"""Where recalled instances come from."""

from __future__ import annotations

from typing import BinaryIO

from cloudsync.archive.instances import InstanceArchive
from cloudsync.archive.port import NotThere
from cloudsync.instances import proof
from cloudsync.ledger.ledger import Ledger
from edge.model import PackId


class InstanceSource:
    """Part n of a pack is its instance n, as a Part 10 file (docs/formats-archive-pack.md). There is no head: edge keeps that."""

    def __init__(self, ledger: Ledger, archive: InstanceArchive) -> None:
        self._ledger = ledger
        self._archive = archive

    async def fetch(self, pack: PackId, number: int, into: BinaryIO) -> None:
        """As cloudsync.recall.Source says."""
        if number == 0:
            raise NotThere("a DICOMweb archive keeps no heads: this one was only in edge/heads, on this box")
        instance = await self._ledger.instances.one(pack, number)
        if instance is None:
            raise NotThere("this pack is not in the DICOMweb archive: it went to an archive of another kind, or is on its way")
        await proof.bring(self._archive, instance, into)
