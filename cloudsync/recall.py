"""Recalls parts: each is fetched, proven, and put whole into the inbox. What edge wants is a query of the ledger."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Container
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Protocol

from cloudsync.archive.port import Archive, Damaged, NotThere, ObjectRefused
from cloudsync.archive.retrying import Wake
from cloudsync.catalog import Opener
from cloudsync.ledger.ledger import Ledger
from cloudsync.seal import sums
from cloudsync.seal.part import NotOurs, WrongKey
from cloudsync.teller import Teller
from cloudsync.watch import DISK_SECONDS, Watch, disk_full
from edge.durable import flush_directory
from edge.errors import OutpostError, StoreFull
from edge.journal import RecallFailed
from edge.model import Digest, PackId, parse_pack_id

log = logging.getLogger(__name__)


_FRESH = ".new-"
"""So begins the name of a part that is being fetched."""
_MADE = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_STEP_BYTES = 1 << 20


class Unknown(NotThere):
    """The archive does not hold this pack. If the cache has it, it is still on its way."""


class NotFollowed(NotThere):
    """The pack is another site's, which this box no longer follows. Run `outpost follow` for that site."""


class Source(Protocol):
    """Where parts come from."""

    async def fetch(self, pack: PackId, number: int, into: BinaryIO) -> None:
        """Write the plaintext of a part, proven to be what was archived, into the empty file `into`. Raises NotThere, Damaged,
        ObjectRefused, NotOurs and WrongKey when it cannot be had.
        """
        ...


class SealedParts:
    """Parts as they were sealed: compared with the sums, and opened."""

    def __init__(self, ledger: Ledger, site: str, opener_of: Callable[[str], Opener | None], archive: Archive) -> None:
        """`site` is our own id, `opener_of` gives what opens the objects of a site: ours, or one that is followed; None of another one."""
        self._ledger = ledger
        self._site = site
        self._opener_of = opener_of
        self._archive = archive
        self._turn = asyncio.Lock()

    async def fetch(self, pack: PackId, number: int, into: BinaryIO) -> None:
        """As Source says."""
        whole = await self._sums_of(pack)
        sealed = await self._archive.get(whole.place_of(number))
        opener = self._opener_of(whole.site)
        if opener is None:
            raise NotFollowed
        into.write(await asyncio.to_thread(whole.open, number, sealed, opener))

    async def _sums_of(self, pack: PackId) -> sums.Sums:
        """The sums of a holding; of one that a catalog brought they are fetched once, and compared with the digest that it names."""
        async with self._turn:
            row = await self._ledger.holdings.pack(pack)
            if row is None or row.sums_digest is None or row.state not in {"proven", "held"}:
                raise Unknown
            site = row.origin or self._site
            if row.sums is not None:
                return sums.proven(row.sums, row.sums_digest, site, row.stored_as)
            text = await self._archive.get(sums.Sums(site, row.stored_as, ()).place)
            whole = sums.proven(text, row.sums_digest, site, row.stored_as)
            await self._ledger.holdings.keep_sums(pack, text, row.sums_digest)
            return whole


class Recaller:
    """Keeps several wanted parts in flight. It is also the watcher of its own archive calls: edge hears of a fault at once."""

    def __init__(
        self,
        ledger: Ledger,
        inbox: Path,
        teller: Teller,
        watch: Watch,
        wake: Wake,
        parallel: int,
        busy_changed: Callable[[], None],
        refusal: Callable[[], str],
    ) -> None:
        """`busy_changed` is called when recalling begins and ends, because shipping makes room for it. `refusal` says why nothing may be
        fetched now: edge is told, and it stays wanted.
        """
        self._ledger = ledger
        self._inbox = inbox
        self._teller = teller
        self._watch = watch
        self._wake = wake
        self._parallel = parallel
        self._busy_changed = busy_changed
        self._refusal = refusal
        self._under_way: set[tuple[PackId, int]] = set()
        self._inbox_turn = asyncio.Lock()
        self._changed = asyncio.Event()

    @property
    def busy(self) -> bool:
        """Whether parts are being fetched."""
        return bool(self._under_way)

    def wake(self) -> None:
        """Something is wanted."""
        self._changed.set()

    async def run(self, source: Source) -> None:
        """Recall, for ever."""
        await self._settle_inbox()
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                busy = frozenset(self._under_way)  # one that ends while the ledger is read may be among the rows that were read before
                wanted = await self._ledger.recalls.wanted(self._parallel + len(busy))
                if reason := self._refusal():
                    for pack in sorted({pack for pack, _ in wanted}):
                        parts = sorted(number for other, number in wanted if other == pack)
                        self._teller.say(RecallFailed(pack=pack, parts=parts, reason=reason, final=False))
                    await self._changed.wait()
                    continue
                for pack, number in [one for one in wanted if one not in busy][: self._parallel - len(busy)]:
                    self._under_way.add((pack, number))
                    self._busy_changed()
                    group.create_task(self._work(source, pack, number), name=f"recall {pack}/{number}")
                await self._changed.wait()

    def answered(self) -> None:
        """The archive answered a call of ours."""
        self._watch.answered()

    def failed(self, fault: OutpostError) -> None:
        """A call of ours failed: edge hears of it for all that is under way. It stays wanted, and is tried again."""
        self._watch.failed(fault)
        for pack in sorted({pack for pack, _ in self._under_way}):
            parts = sorted(number for other, number in self._under_way if other == pack)
            self._teller.say(RecallFailed(pack=pack, parts=parts, reason=str(fault), final=False))

    async def taken(self, pack: PackId) -> None:
        """Edge no longer needs inbox files of this pack: remove those that the ledger does not name as here."""
        async with self._inbox_turn:
            kept = await self._ledger.recalls.in_inbox_of(pack)
            await asyncio.to_thread(_clear, self._inbox / pack, {f"{number:06d}" for number in kept})

    async def _work(self, source: Source, pack: PackId, number: int) -> None:
        try:
            await self._recall(source, pack, number)
        except (NotThere, Damaged, ObjectRefused, NotOurs, WrongKey) as fault:
            log.error("recall of %s/%06d failed: %s", pack, number, fault)
            await self._ledger.recalls.failed(pack, number, str(fault))
        except (OSError, StoreFull) as fault:
            full = disk_full(fault)
            if full is None:
                raise
            self.failed(full)
            await self._wake.wait(DISK_SECONDS)
        finally:
            self._under_way.discard((pack, number))
            self._changed.set()
            self._busy_changed()
        self._teller.wake()

    async def _recall(self, source: Source, pack: PackId, number: int) -> None:
        fresh = self._inbox / f"{_FRESH}{pack}-{number:06d}"
        try:
            with os.fdopen(os.open(fresh, _MADE, 0o640), "w+b") as file:
                await source.fetch(pack, number, file)
                size, digest = await asyncio.to_thread(_flushed, file)
            async with self._inbox_turn:
                await asyncio.to_thread(self._put, pack, number, fresh)
                wanted = await self._ledger.recalls.here(pack, number, size, digest)
        finally:
            fresh.unlink(missing_ok=True)
        if not wanted:
            await self.taken(pack)

    def _put(self, pack: PackId, number: int, fresh: Path) -> None:
        directory = self._inbox / pack
        if not directory.is_dir():
            directory.mkdir(mode=0o750, exist_ok=True)
            flush_directory(self._inbox)
        fresh.rename(directory / f"{number:06d}")
        flush_directory(directory)

    async def _settle_inbox(self) -> None:
        """After a restart: recall again what the inbox lost, and remove what nobody wants."""
        for pack, number in await self._ledger.recalls.in_inbox():
            if not (self._inbox / pack / f"{number:06d}").is_file():
                await self._ledger.recalls.wanted_again(pack, number)
        for name in os.listdir(self._inbox):
            if parse_pack_id(name):
                await self.taken(PackId(name))
            elif name.startswith(_FRESH):
                (self._inbox / name).unlink()


def _flushed(file: BinaryIO) -> tuple[int, Digest]:
    """Size and SHA-256 of a file that is durable when it returns."""
    file.flush()
    os.fsync(file.fileno())
    file.seek(0)
    digest = sha256()
    while piece := file.read(_STEP_BYTES):
        digest.update(piece)
    return file.tell(), Digest(digest.hexdigest())


def _clear(directory: Path, kept: Container[str]) -> None:
    """Remove the files of an inbox folder but `kept`, and the folder when nothing is left in it."""
    if not directory.is_dir():
        return
    for path in directory.iterdir():
        if path.name not in kept:
            path.unlink()
    if not os.listdir(directory):
        directory.rmdir()
