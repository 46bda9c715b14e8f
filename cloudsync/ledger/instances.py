"""Instances on their way to an archive that reads DICOM, and those that it has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from sqlite3 import Row

from cloudsync.ledger.database import Database
from cloudsync.ledger.values import Instance, InstancePack
from edge.listing import InstanceFile
from edge.model import UID, Digest, PackId


class Instances:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def next_packs(self, at_most: int) -> tuple[InstancePack, ...]:
        """Packs under way: STAT first, then in the order asked."""
        async with self._database.transaction() as transaction:
            rows = await transaction.all("instance_packs_next", at_most=at_most)
        return tuple(
            InstancePack(PackId(row["pack"]), row["urgency"], row["objects"], row["plain_bytes"], Digest(row["plain_digest"]))
            for row in rows
        )

    async def put(self, pack: PackId, files: Sequence[InstanceFile]) -> None:
        """The instances that the listing of a pack names, by number from 1; none of the pack may be known."""
        async with self._database.transaction() as transaction:
            await transaction.many(
                "instance_put",
                (
                    {"pack": pack, "number": number, "study": file.study, "series": file.series, "sop_instance": file.sop_instance,
                     "bytes": file.bytes, "digest": file.digest}
                    for number, file in enumerate(files, 1)
                ),
            )  # fmt: skip

    async def of(self, pack: PackId) -> tuple[Instance, ...]:
        """The instances of a pack, by number; none before its listing was read."""
        async with self._database.transaction() as transaction:
            return tuple(map(_instance, await transaction.all("instances_of", pack=pack)))

    async def one(self, pack: PackId, number: int) -> Instance | None:
        """One instance of a pack."""
        async with self._database.transaction() as transaction:
            row = await transaction.one("instance", pack=pack, number=number)
        return None if row is None else _instance(row)

    async def settle(self, instances: Iterable[Instance], state: str) -> None:
        """What became of them: `stored`, `refused`, or `asked` again."""
        async with self._database.transaction() as transaction:
            await transaction.many("instance_settled", ({"pack": one.pack, "number": one.number, "state": state} for one in instances))

    async def held(self, pack: InstancePack, stored_bytes: int, at: float) -> bool:
        """Every instance is proven to be in the archive: edge will be told. False when the pack was stopped or asked for anew meanwhile."""
        async with self._database.transaction() as transaction:
            held = await transaction.run(
                "pack_instances_held", pack=pack.pack, stored_bytes=stored_bytes, listing=pack.listing, proven_at=at
            )
            if held:
                await transaction.run("parts_drop", pack=pack.pack)
            return held > 0


def _instance(row: Row) -> Instance:
    return Instance(
        PackId(row["pack"]),
        row["number"],
        UID(row["study"]),
        UID(row["series"]),
        UID(row["sop_instance"]),
        row["bytes"],
        Digest(row["digest"]),
        row["state"],
    )
