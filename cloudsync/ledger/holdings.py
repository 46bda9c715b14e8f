"""Holdings: packs that the archive is proven to have, with their sums."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from sqlite3 import Row

import msgspec

from cloudsync.ledger.database import Database, Transaction, Value
from cloudsync.ledger.values import Ahead, ChainTip, Pack
from cloudsync.seal.part import NotOurs
from cloudsync.segment import Held, Tombstone
from cloudsync.span import Span
from edge.model import Digest, PackId


class Holdings:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def pack(self, pack: PackId) -> Pack | None:
        """What the ledger knows of a pack, in whatever state it is."""
        async with self._database.transaction() as transaction:
            row = await transaction.one("pack", pack=pack)
        return None if row is None else pack_of(row)

    async def keep_sums(self, pack: PackId, sums: bytes, digest: Digest) -> None:
        """The sums of a rebuilt holding, once they were compared with `digest`, which the catalog names."""
        async with self._database.transaction() as transaction:
            await transaction.run("holding_sums", pack=pack, sums=sums, sums_digest=digest)

    async def follow(
        self,
        name: str,
        sealed: bytes,
        tip: ChainTip,
        held: Iterable[Held],
        tombstones: Iterable[Tombstone] = (),
        *,
        told: bool = True,
        merge: Span | None = None,
    ) -> None:
        """A verified segment of an archive, or the merge of this span, that a box is rebuilt from, and the holdings that it names: edge
        will be told of them, but for those that are retired; of those too unless edge was `told`, or never knew them.

        Raises NotOurs for a holding that replaces, or a tombstone that retires, one that no segment named.
        """
        async with self._database.transaction() as transaction:
            await _read(transaction, name, sealed, tip, merge)
            await put(transaction, name, held)
            await bury(transaction, name, tombstones, told=told)

    async def ahead(self) -> Ahead:
        """What a catalog that is being read back has said of holdings that are named further on."""
        async with self._database.transaction() as transaction:
            rows = list(await transaction.all("holdings_ahead"))
        return Ahead({row["pack"] for row in rows if not row["retired"]}, {row["pack"] for row in rows if row["retired"]})

    async def read_back(
        self, name: str, sealed: bytes, tip: ChainTip, entries: Sequence[Held | Tombstone], ahead: Ahead, merge: Span | None = None
    ) -> None:
        """The verified segment before those that were read, or the merge of this span, and what it says of holdings: edge will be told of
        them under the id that each was born with, but for those that are retired. The ledger ends as `follow` leaves it, which reads the
        other way.

        `ahead` is what stood in the ledger, and stands there after this; after an error it is of no use any more.
        """
        async with self._database.transaction() as transaction:
            await _read(transaction, name, sealed, tip, merge)
            for entry in reversed(entries):
                if isinstance(entry, Tombstone):
                    ahead.retired.add(entry.pack)
                    await transaction.run(
                        "holding_retired", pack=entry.pack, stored_as=entry.pack, at=entry.at, entry=None, told=True, origin=None
                    )
                else:
                    await _read_back(transaction, entry, ahead)

    async def site_state_here(self, number: int, size: int, digest: Digest) -> None:
        """The site state of the archive lies in the inbox; edge is told of it before it is told of any holding."""
        async with self._database.transaction() as transaction:
            await transaction.run("site_state_here", number=number, bytes=size, digest=digest)


async def put(transaction: Transaction, name: str, held: Iterable[Held], origin: str | None = None, since: float = 0.0) -> None:
    """The holdings that the verified segment `name` brings, of the site `origin`, followed since then; None: our own. Edge will be told of
    them.

    Raises NotOurs for one that another site has or that is retired, and for one that replaces what no segment of its site named.
    """
    for entry in held:
        if origin is not None:
            await transaction.run("holding_again", pack=entry.pack, origin=origin)
        if await transaction.one("id_retired", id=entry.pack) is not None:
            raise NotOurs(f"{name}: pack {entry.pack} is held, and was retired before")
        values = _holding(entry) | {"origin": origin}
        if entry.replaces:
            if not await transaction.run("holding_replaced", **values, replaces=entry.replaces):
                raise NotOurs(f"{name}: pack {entry.pack} replaces {entry.replaces}, which no segment before it names")
            continue
        put_now = await transaction.run("holding_put", **values, news=origin is not None and entry.held_at >= since)
        if not put_now and await transaction.one("holding_of", pack=entry.pack, origin=origin) is None:
            raise NotOurs(f"{name}: pack {entry.pack} is known here as one of another site")


async def bury(transaction: Transaction, name: str, tombstones: Iterable[Tombstone], *, told: bool, origin: str | None = None) -> None:
    """The tombstones that the verified segment `name` of the site `origin` has. Edge is told of them unless `told`.

    Raises NotOurs for one of a pack that no segment of that site named.
    """
    for tombstone in tombstones:
        row = await transaction.one("holding_named", stored_as=tombstone.pack, origin=origin)
        if row is None:
            raise NotOurs(f"{name}: pack {tombstone.pack} is retired, and no segment before it names it")
        pack = row["pack"]
        await transaction.run("holding_retired", pack=pack, stored_as=tombstone.pack, at=tombstone.at, entry=None, told=told, origin=origin)
        await transaction.run("recalls_taken", pack=pack)
        await transaction.run("holding_drop", pack=pack)


async def _read(transaction: Transaction, name: str, sealed: bytes, tip: ChainTip, merge: Span | None) -> None:
    if merge is None:
        await transaction.run(
            "segment_put", sequence=tip.sequence, name=name, tip=tip.digest, signer=tip.signer, sealed=sealed, confirmed=True
        )
    else:
        await transaction.run("merge_put", level=merge.level, first=merge.first, last=merge.last, state="there", sealed=sealed)


async def _read_back(transaction: Transaction, entry: Held, ahead: Ahead) -> None:
    if entry.pack in ahead.retired:
        if entry.replaces:
            ahead.retired.add(entry.replaces)
            await transaction.run("retired_further", pack=entry.pack, replaces=entry.replaces)
    elif entry.pack in ahead.replaced:
        ahead.replaced.remove(entry.pack)
        if entry.replaces:
            ahead.replaced.add(entry.replaces)
            await transaction.run("holding_ahead_further", pack=entry.pack, replaces=entry.replaces)
        else:
            await transaction.run("holding_born", pack=entry.pack)
    elif entry.replaces:
        ahead.replaced.add(entry.replaces)
        await transaction.run("holding_ahead_put", **_holding(entry), replaces=entry.replaces)
    else:
        await transaction.run("holding_put", **_holding(entry), origin=None, news=False)


def _holding(entry: Held) -> dict[str, Value]:
    return {
        "pack": entry.pack,
        "instances": entry.instances,
        "raw_bytes": entry.raw_bytes,
        "sha256": entry.sha256,
        "study": msgspec.json.encode(entry.study).decode(),
        "series": msgspec.json.encode(entry.series).decode(),
        "objects": entry.objects,
        "sealed_bytes": entry.sealed_bytes,
        "sums_digest": entry.sums_digest,
        "proven_at": entry.held_at,
    }


def pack_of(row: Row) -> Pack:
    """A row of `packs` as a value."""
    study, series = msgspec.json.decode(row["study"]), msgspec.json.decode(row["series"])
    digest = row["sums_digest"]
    return Pack(
        PackId(row["pack"]),
        row["state"],
        row["instances"],
        row["raw_bytes"],
        Digest(row["sha256"]),
        study,
        series,
        row["objects"],
        row["sealed_bytes"] or 0,
        row["sums"],
        None if digest is None else Digest(digest),
        row["proven_at"] or 0.0,
        row["reason"] or "",
        PackId(row["stored_as"] or row["pack"]),
        None if row["replaces"] is None else PackId(row["replaces"]),
        row["damage"] or "",
        row["origin"] or "",
        bool(row["news"]),
    )
