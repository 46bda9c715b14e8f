"""What an archive has of an instance, against what edge archived: the datasets, byte for byte. It may write the file meta anew."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import BinaryIO, cast

from cloudsync.archive.instances import InstanceArchive, InstanceName
from cloudsync.archive.part10 import NoFile, dataset_digest
from cloudsync.archive.port import Damaged, NotThere, Occupied
from cloudsync.ledger.values import Instance

_META_BYTES = 1 << 20
"""The file meta of an archive may be so much longer than ours."""


def name_of(instance: Instance) -> InstanceName:
    return InstanceName(instance.study, instance.series, instance.sop_instance)


async def bring(archive: InstanceArchive, instance: Instance, into: BinaryIO) -> None:
    """The instance as the archive has it, in `into`, with the dataset that was archived. Raises NotThere, Damaged when it is another."""
    await archive.retrieve(name_of(instance), into, instance.size + _META_BYTES)
    try:
        digest = await asyncio.to_thread(dataset_digest, into)
    except NoFile as fault:
        raise Damaged(f"instance {instance.sop_instance}: {fault}") from fault
    if digest != instance.digest:
        raise Damaged(f"instance {instance.sop_instance} is not what was archived: another one stands under its UID")


async def has(archive: InstanceArchive, instance: Instance, place: Path) -> bool:
    """Whether the archive has this instance. Raises Occupied when another one stands under its UID. `place` is a directory for a file
    that nobody else sees.
    """
    with tempfile.TemporaryFile(dir=place) as file:
        try:
            await bring(archive, instance, cast("BinaryIO", file))
        except NotThere:
            return False
        except Damaged as fault:
            raise Occupied(f"the archive has another instance under the UID {instance.sop_instance}; it was left alone") from fault
        return True
