"""Reads what edge asks for. Edge is on the other side of the wall: each ask is checked against the rules before anything is done.

An ask that does not parse is kept aside and named; those behind it are followed. It is not tried again: edge, or a person, asks anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from cloudsync.ledger.ledger import Ledger
from edge import journal
from edge.errors import Corrupt, OutpostError
from edge.journal import AsksUnread, Unread
from edge.journalfiles import JournalReader
from edge.keptlines import KeptLines
from edge.model import Urgency, parse_digest, parse_pack_id
from edge.wall import Gate, Trespass

HEAD_MAX_BYTES = 64 << 20
PART_MAX_BYTES = 4 << 20
PARTS_MAX = 1_000_000
SITE_STATE_MAX_BYTES = 64 << 20
_FOREVER = 1e11

log = logging.getLogger(__name__)


class Asks:
    """The reader of the asks journal."""

    def __init__(
        self,
        gate: Gate,
        ledger: Ledger,
        position: int,
        committed: Callable[[Sequence[journal.Entry]], None],
        unread: KeptLines,
        tell: Callable[[AsksUnread], None],
    ) -> None:
        """`position` is the ledger's. `committed` is called in the loop with asks that may be followed, once they are committed; `tell`
        when some were set aside in `unread`.
        """
        self._reader = JournalReader(gate, position)
        self._ledger = ledger
        self._committed = committed
        self._unread = unread
        self._tell = tell

    async def run(self, bell: asyncio.Event, poll_seconds: float) -> None:
        """Commit asks as they come, for ever: at each ring of the bell, and at least once a poll interval."""
        refused = ""
        while True:
            bell.clear()
            try:
                while await self.take():
                    pass
                refused = ""
            except (Trespass, Corrupt) as fault:  # what is behind it waits until a person has looked; what was asked before goes on
                if str(fault) != refused:
                    refused = str(fault)
                    log.error("asks are not read: %s", fault)
            try:
                async with asyncio.timeout(poll_seconds):
                    await bell.wait()
            except TimeoutError:
                continue

    async def take(self) -> bool:
        """Commit the next batch; False when there was none. What cannot be committed is read again by the next call. Raises Trespass and
        Corrupt as the journal's reader does, Corrupt when too many were set aside, and StoreFull.
        """
        lines = await asyncio.to_thread(self._reader.read_all)
        if not lines:
            return False
        refusals = {line.seq: reason for line in lines if (reason := _refusal(line))}
        unread = [line for line in lines if isinstance(line, Unread)]
        try:
            for line in unread:
                await asyncio.to_thread(self._unread.keep, line)
            await self._ledger.asked.commit(lines, refusals)
        except OutpostError:
            self._reader.rewind(lines[0].seq - 1)
            raise
        for seq, reason in refusals.items():
            log.error("ask %d is refused: %s", seq, reason)
        self._committed([line for line in lines if not isinstance(line, Unread) and line.seq not in refusals])
        if unread:
            for fact in said_of(self._unread):
                self._tell(fact)
        return True


def said_of(unread: KeptLines) -> list[AsksUnread]:
    """What edge is told of asks that were set aside; nothing when there are none."""
    named = unread.named()
    if not named:
        return []
    sentence = (
        f"Cloudsync has set aside what edge asked for, because it cannot be read: {named}. Run edge and cloudsync of one release. "
        f"`outpost studies retry` asks again for what was to be shipped. Report the files in {unread.directory}, and remove them."
    )
    return [AsksUnread(sentence=sentence)]


def _refusal(line: journal.Entry | Unread) -> str:
    return f"cloudsync cannot read it: {line.reason}" if isinstance(line, Unread) else fault_of(line)


def fault_of(ask: journal.Entry) -> str:
    """The rule that an ask breaks, as a sentence; empty when it may be followed."""
    match ask:
        case journal.Coded():
            return _coded_fault(ask)
        case journal.Recall():
            if parse_pack_id(ask.pack) is None:
                return f"{ask.pack!r} is no pack id"
            if len(ask.parts) > PARTS_MAX or not all(0 <= number < PARTS_MAX for number in ask.parts):
                return "it names parts that no pack has"
            return ""
        case journal.Taken():
            return "" if parse_pack_id(ask.pack) else f"{ask.pack!r} is no pack id"
        case journal.SiteState():
            whole = parse_digest(ask.digest) and 0 < ask.bytes <= SITE_STATE_MAX_BYTES
            return "" if whole else "it names no digest, or a size that no site state has"
        case journal.Verify():
            return "" if 0 <= ask.percent <= 100 else "it wants a part of the archive read that cannot be"
        case journal.Pause():
            return "" if ask.until is None or 0 <= ask.until < _FOREVER else "it pauses until a time that is none"
        case journal.Ack() | journal.Restate() | journal.Resume():
            return ""
        case _:
            return "it is a fact, not an ask"


def _coded_fault(ask: journal.Coded) -> str:
    if parse_pack_id(ask.pack) is None:
        return f"{ask.pack!r} is no pack id"
    if ask.urgency not in set(Urgency):
        return f"{ask.urgency!r} is no urgency"
    if parse_digest(ask.sha256) is None or any(parse_digest(part.digest) is None for part in ask.parts):
        return "it names something that is no SHA-256"
    if not ask.parts or [part.number for part in ask.parts] != list(range(len(ask.parts))):
        return "its parts are not numbered from the head on without a gap"
    if ask.instances < 0 or ask.raw_bytes < 0:
        return "it counts below zero"
    if ask.form not in {"parts", "instances"}:
        return f"{ask.form!r} is no form of a pack"
    if ask.form == "instances" and (len(ask.parts) > 1 or not ask.instances):
        return "it names more than the listing of its instances, or none of them"
    if not all(0 < part.bytes <= (PART_MAX_BYTES if part.number else HEAD_MAX_BYTES) for part in ask.parts):
        return f"a part may have {PART_MAX_BYTES} bytes and a head {HEAD_MAX_BYTES}"
    return ""
