"""What edge asked for: every effect of an ask commits together with the position of the asks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

import msgspec

from cloudsync.ledger.database import Database, Transaction, Value
from cloudsync.ledger.values import RANKS, AsksPosition
from edge import journal
from edge.model import PackId, Urgency, parse_pack_id, successor


class Asked:
    def __init__(self, database: Database, turn: asyncio.Lock) -> None:
        """`turn` is the one of Telling: nothing is asked for again while it is being told."""
        self._database = database
        self._turn = turn

    async def position(self) -> AsksPosition:
        """How far the asks are committed, and up to where that was acknowledged."""
        async with self._database.transaction() as transaction:
            row = await transaction.one("asks_position")
        assert row is not None
        return AsksPosition(row["position"], row["owed"], row["acknowledged"])

    async def commit(self, asks: Iterable[journal.Entry | journal.Unread], refusals: dict[int, str]) -> None:
        """Commit these asks, which follow the position, with all their effects. Idempotent by seq: what is committed is passed over.

        `refusals` gives the reason, by seq, of asks that break a rule of the wall or do not parse: edge is told, nothing else is done.
        """
        async with self._turn, self._database.transaction() as transaction:
            row = await transaction.one("asks_position")
            assert row is not None
            position, owed = row["position"], False
            for ask in asks:
                if ask.seq <= position:
                    continue
                position, owed = ask.seq, owed or not isinstance(ask, journal.Ack)
                if isinstance(ask, journal.Unread) or ask.seq in refusals:
                    await _refuse(transaction, ask, refusals[ask.seq])
                else:
                    await _apply(transaction, ask)
            await transaction.run("asks_commit", position=position, owed=owed)


async def _apply(transaction: Transaction, ask: journal.Entry) -> None:
    match ask:
        case journal.Coded():
            await _coded(transaction, ask)
        case journal.SiteState():
            await transaction.run("site_state_asked", bytes=ask.bytes, digest=ask.digest)
            await transaction.run("site_states_superseded")
        case journal.Recall():
            wanted: list[dict[str, Value]] = [{"pack": ask.pack, "number": number, "asked": ask.seq} for number in ask.parts]
            await transaction.many("recall_asked", wanted)
        case journal.Taken():
            await transaction.run("recalls_taken", pack=ask.pack)
        case journal.Restate():
            await transaction.run("packs_tell_again")
            await transaction.run("retired_all_tell_again")
        case journal.Verify():
            await transaction.run("verification_asked", asked=ask.seq, percent=ask.percent)
        case journal.Pause():
            await transaction.run("paused", asked=ask.seq, paused_until=ask.until)
        case journal.Resume():
            await transaction.run("resumed", asked=ask.seq)


async def _coded(transaction: Transaction, ask: journal.Coded) -> None:
    """A pack that is new, that was coded anew, or that is asked for again. What the archive has proven stays as it is,
    and so does what is retired: edge is told once more.

    Where the archive's copy is damaged, the pack is shipped once more under the id that follows from the one it has there.
    """
    if await transaction.run("retired_tell_again", pack=ask.pack):
        return
    known = await transaction.one("pack_state", pack=ask.pack)
    if known is not None and known["damage"] is not None:
        await transaction.run("pack_anew", pack=ask.pack, stored_as=successor(PackId(known["stored_as"])))
        known = await transaction.one("pack_state", pack=ask.pack)
    if known is not None and known["state"] in {"proven", "held"}:
        await transaction.run("pack_tell_again", pack=ask.pack)
        return
    if known is not None and known["summed"]:
        # The sums may lie in the archive already, and say which coding counts.
        await transaction.run("pack_resume", pack=ask.pack)
        return
    await transaction.run(
        "pack_put",
        pack=ask.pack,
        urgency=RANKS[Urgency(ask.urgency)],
        asked=ask.seq,
        instances=ask.instances,
        raw_bytes=ask.raw_bytes,
        sha256=ask.sha256,
        study=msgspec.json.encode(ask.study).decode(),
        series=msgspec.json.encode(ask.series).decode(),
        objects=ask.instances if ask.form == "instances" else len(ask.parts),
        form=ask.form,
        received_at=ask.received_at,
    )
    if known is not None and known["state"] == "stopped":
        # A name at which the archive refused our bytes is not tried again; an instance that it refused is.
        await transaction.run("parts_anew", pack=ask.pack)
        await transaction.run("instances_again", pack=ask.pack)
    await transaction.run("instances_unlisted", pack=ask.pack, digest=ask.parts[0].digest)
    await transaction.run("parts_cut", pack=ask.pack, objects=len(ask.parts))
    parts: list[dict[str, Value]] = [
        {"pack": ask.pack, "number": part.number, "plain_bytes": part.bytes, "plain_digest": part.digest} for part in ask.parts
    ]
    await transaction.many("part_put", parts)


async def _refuse(transaction: Transaction, ask: journal.Entry | journal.Unread, reason: str) -> None:
    pack = _pack_to_ship(ask)
    if parse_pack_id(pack):
        await transaction.run("pack_refused", pack=pack, asked=ask.seq, sha256="0" * 64, reason=reason)


class _Naming(msgspec.Struct):
    """What may still be read of a line that does not parse."""

    kind: str
    pack: str


def _pack_to_ship(ask: journal.Entry | journal.Unread) -> str:
    """The pack that an ask wants shipped, as it names it; empty when it wants something else."""
    if isinstance(ask, journal.Coded):
        return ask.pack
    if isinstance(ask, journal.Unread):
        with contextlib.suppress(ValueError, RecursionError):
            named = msgspec.json.decode(ask.line, type=_Naming)
            return named.pack if named.kind == "coded" else ""
    return ""
