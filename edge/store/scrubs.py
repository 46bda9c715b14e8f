"""Scrubs as rows of the catalogue: how far each is, and what was found rotten until it is whole again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edge import tarblock
from edge.model import UID, Digest, PackId
from edge.store.catalogue import Catalogue
from edge.store.scrub import Extent, Whole


@dataclass(frozen=True, slots=True)
class Scrub:
    """One reading of the whole cache. Times in seconds since the epoch."""

    number: int
    began_at: float
    hurried: bool
    """A person wants it now."""
    upto: str
    """The last pack that was read; empty before the first."""
    packs: int
    bytes: int
    rotten: int
    repaired: int
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """A pack as a scrub meets it."""

    pack: PackId
    study: UID
    bytes: int
    whole: Whole | None
    """None where only a part of it is here, or counted on."""
    held: bool
    coded: bool
    """It lies in the outbox, and the archive will have it."""
    members: tuple[Extent, ...]
    """That should be here."""


@dataclass(frozen=True, slots=True)
class Rotten:
    """An instance, or with offset 0 what lies around the instances, that is not as it was received."""

    pack: PackId
    dataset_offset: int
    found_at: float
    study: UID
    held: bool
    coded: bool
    stopped: bool
    """Its pack waits for a person, who is told otherwise."""
    pack_here: bool
    here: bool | None
    """Whether the instance is here again; None where it lies elsewhere by now."""


class Scrubs:
    """Safe to use from several threads. Errors as Catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def under_way(self) -> Scrub | None:
        """The one that has not ended; None when none is wanted now."""
        return _scrub(self._catalogue.rows("scrub_under_way"))

    def last(self) -> Scrub | None:
        """The one that ended last."""
        return _scrub(self._catalogue.rows("scrub_before"))

    def begin(self, now: float, hurried: bool) -> None:
        """Another one, in place of the one that is under way."""
        with self._catalogue.change():
            self._catalogue.rows("forget_scrubs")
            self._catalogue.rows("begin_scrub", now, int(hurried))

    def next_pack(self, scrub: Scrub) -> PackId | None:
        """What it reads next; None when it has read everything."""
        rows = self._catalogue.rows("next_to_scrub", scrub.upto)
        return PackId(rows[0][0]) if rows else None

    def pack(self, pack: PackId) -> Scrubbed | None:
        """None for one that is open, or not here."""
        rows = self._catalogue.rows("pack_to_scrub", pack)
        if not rows:
            return None
        study, size, sha256, whole, held, coded = rows[0]
        members = tuple(
            Extent(header, offset, length, Digest(digest)) for header, offset, length, digest in self._catalogue.rows("members_here", pack)
        )
        complete = whole and _covers(members, size)
        return Scrubbed(pack, UID(study), size, Whole(size, Digest(sha256)) if complete else None, bool(held), bool(coded), members)

    def advance(self, scrub: Scrub, pack: PackId, size: int, rotten: int) -> None:
        """A pack was read, and so many of its instances are rotten. Not flushed: at worst it is read again."""
        self._catalogue.rows("advance_scrub", pack=pack, bytes=size, rotten=rotten, scrub=scrub.number)

    def end(self, scrub: Scrub, now: float) -> None:
        """It has read every pack."""
        self._catalogue.rows("end_scrub", now, scrub.number)

    def found(self, one: Scrubbed, rotten: Iterable[Extent], worn: Iterable[Extent], now: float) -> None:
        """Write down what is rotten, and count on it no longer: what the archive has, or will have, is to be recalled; of the rest, what
        can be served stays so, and what cannot is lost until it is received again. Nothing of the file is touched.
        """
        rows = self._catalogue.rows
        rotten, worn = list(rotten), list(worn)
        gone = rotten + worn if one.held else rotten
        with self._catalogue.change():
            rows("forget_rotten", one.pack, 0)
            for extent in gone:
                rows("note_rotten", one.pack, extent.dataset_offset, now)
            if worn and not one.held:
                rows("note_rotten", one.pack, 0, now)
            if gone and (one.held or one.coded):
                rows("set_here", "some", one.pack)
            for extent in gone:
                if one.held or one.coded:
                    rows("take_rotten_out", one.pack, extent.dataset_offset)
                else:
                    rows("lose_instance", one.pack, extent.header_offset)

    def sound(self, pack: PackId) -> None:
        """What lies around the instances of a pack is as it was written."""
        self._catalogue.rows("forget_rotten", pack, 0)

    def rotten(self) -> list[Rotten]:
        """What is rotten, the longest known first."""
        return [
            Rotten(
                PackId(pack), offset, found_at, UID(study), bool(held), bool(coded), bool(stopped), pack_here != "no",
                None if here is None else bool(here),
            )
            for pack, offset, found_at, study, held, coded, stopped, pack_here, here in self._catalogue.rows("rotten")
        ]  # fmt: skip

    def forget(self, rows: Iterable[Rotten], repaired: int = 0) -> None:
        """These are rotten no longer; so many of them because they were repaired."""
        with self._catalogue.change():
            for one in rows:
                self._catalogue.rows("forget_rotten", one.pack, one.dataset_offset)
            self._catalogue.rows("count_repaired", repaired)


def _covers(members: Iterable[Extent], size: int) -> bool:
    """Whether the file is nothing but these instances."""
    end = 0
    for one in members:
        if one.header_offset != end:
            return False
        end = one.dataset_offset + one.dataset_length
        end += tarblock.padding(end)
    return end + len(tarblock.ZERO_TAIL) == size


def _scrub(rows: list[tuple[Any, ...]]) -> Scrub | None:
    if not rows:
        return None
    number, began_at, hurried, upto, packs, size, rotten, repaired, ended_at = rows[0]
    return Scrub(number, began_at, bool(hurried), upto, packs, size, rotten, repaired, ended_at)
