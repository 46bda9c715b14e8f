"""The catalogue made again from what it is derived of: packs, heads, quarantine, site state (docs/formats.md, "Catalogue made again").

What the archive holds is told again by cloudsync afterwards. Instances are put in the order of their reception, because who came first
is visible, and describes its study: by receive time, then by pack, then by place in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import itertools
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from edge import heads, tarblock
from edge.code.apart import listing
from edge.code.manifest import Head, coded_bytes, objects, read_head
from edge.config import Layout
from edge.dataset.attributes import describe
from edge.dataset.look import look
from edge.dataset.source import PackSource
from edge.dataset.walk import Malformed
from edge.errors import Corrupt
from edge.journal import Coded, PartFile
from edge.model import UID, Correction, Digest, Identity, PackId, Urgency, parse_pack_id
from edge.store.anew import NewCatalogue, PackRow, Standing, standing, swap
from edge.store.instances import Admission
from edge.store.pack import Found, digest_of, proves, scan
from edge.store.quarantine import set_aside

log = logging.getLogger(__name__)

AT_ONCE = 64
"""Packs that are looked into at the same time: so many are read at once where the clock stood still."""
BATCH = 2_000
"""Instances that commit together."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was made again."""

    why: Standing
    packs: int
    instances: int
    unproven: int
    """Packs, or members of them, that do not prove themselves: they are not in the catalogue."""


@dataclass(order=True, slots=True)
class _Next:
    """A member that waits for its turn."""

    received_at: float
    begun: float
    pack: PackId
    header_offset: int
    admission: Admission = field(compare=False)


def needed(layout: Layout) -> Standing | None:
    """Why the catalogue has to be made again; None where it can be opened, or where nothing has come yet that it could hold."""
    found = standing(layout.catalogue)
    if found is Standing.DAMAGED or (found is not Standing.GOOD and _has_run(layout)):
        return found
    return None


def rebuild(
    layout: Layout,
    why: Standing,
    corrections: Iterable[Correction],
    issuer_of: Callable[[str], str],
    say: Callable[[int, int], None],
) -> Rebuilt:
    """Make the catalogue again beside the one that is there, then swap it whole. `say` gets how many packs of how many are read.

    The caller is alone on the state directory. Raises StoreFull or StoreFailed; broken off, the old one is still there, or none is.
    """
    packs = _Packs(layout, say)
    fresh = layout.catalogue.with_name(f".{layout.catalogue.name}.new")
    due = sorted(corrections, key=lambda one: one.corrected_at)
    with contextlib.closing(NewCatalogue(fresh, issuer_of)) as new:
        members = packs.members()
        while batch := list(itertools.islice(members, BATCH)):
            with new.batch():
                for one in batch:
                    while due and due[0].corrected_at < one.received_at:
                        new.correct(due.pop(0))
                    if row := packs.rows.pop(one.pack, None):
                        new.put_pack(row, one.admission)
                    new.admit(one.admission)
        with new.batch():
            for correction in due:
                new.correct(correction)
            for digest, about in sorted(set_aside(layout.quarantine).items()):
                new.set_aside(digest, about)
        new.finish()
    swap(fresh, layout.catalogue)
    return Rebuilt(why, packs.count, packs.instances, packs.unproven)


class _Packs:
    """Reads the packs of a state directory in the order in which they were begun, a few at a time."""

    def __init__(self, layout: Layout, say: Callable[[int, int], None]) -> None:
        self._layout = layout
        self._say = say
        self.rows: dict[PackId, PackRow] = {}
        """Of packs of which no member had its turn yet."""
        self.count = 0
        self.instances = 0
        self.unproven = 0

    def members(self) -> Iterator[_Next]:
        """Every member that proves itself, in the order of reception."""
        waiting: list[_Next] = []
        left: dict[PackId, int] = {}
        order = self._order()
        for done, (begun, pack) in enumerate(order, 1):
            while waiting and (waiting[0].received_at < begun or len(left) >= AT_ONCE):
                yield self._pop(waiting, left)
            row, found = self._look(pack)
            if found:
                self.count += 1
                left[pack] = len(found)
                opened_at = min(found, key=lambda one: one.member.header_offset).received_at
                self.rows[pack] = replace(row, opened_at=opened_at, asked=_asked_of(row.asked, opened_at))
            for one in found:
                heapq.heappush(waiting, _Next(one.received_at, begun, pack, one.member.header_offset, one))
            self._say(done, len(order))
        while waiting:
            yield self._pop(waiting, left)

    def _pop(self, waiting: list[_Next], left: dict[PackId, int]) -> _Next:
        one = heapq.heappop(waiting)
        left[one.pack] -= 1
        if not left[one.pack]:
            del left[one.pack]
        self.instances += 1
        return one

    def _order(self) -> list[tuple[float, PackId]]:
        """Every pack, with the time of its first member."""
        layout = self._layout
        files = [*layout.cache.glob("??/*.tar"), *layout.open_packs.glob("*.tar"), *layout.heads.glob("??/*.tar.zst")]
        packs = {pack for path in files if (pack := parse_pack_id(path.name.partition(".")[0]))}
        return sorted((begun, pack) for pack in packs if (begun := self._begun(pack)) is not None)

    def _begun(self, pack: PackId) -> float | None:
        for path in (self._layout.cached(pack), self._open(pack)):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                if entry := tarblock.parse(file.read(tarblock.BLOCK)):
                    return float(entry.mtime)
        if found := self._head(pack):
            return float(min((member.received for member in found[0].manifest.members), default=0))
        self._miss(pack, "neither its file nor its head can be read")
        return None

    def _look(self, pack: PackId) -> tuple[PackRow, list[Admission]]:
        """A pack, and its members."""
        if self._open(pack).exists():
            return self._scanned(pack, self._open(pack), closed=False)
        if found := self._head(pack):
            return self._headed(pack, self._layout.cached(pack), *found)
        return self._scanned(pack, self._layout.cached(pack), closed=True)

    def _scanned(self, pack: PackId, path: Path, *, closed: bool) -> tuple[PackRow, list[Admission]]:
        """From a pack file alone: every member is hashed."""
        row = PackRow(pack, 0.0, None, None, None, None, None, None, 0, "whole")
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            found = [one for each in scan(descriptor) if (one := self._admission(pack, descriptor, each)) is not None]
            if closed:
                size = os.fstat(descriptor).st_size
                row = replace(row, closed_at=os.fstat(descriptor).st_mtime, bytes=size, sha256=digest_of(descriptor, 0, size))
        finally:
            os.close(descriptor)
        if not found:
            self._miss(pack, "no member of it proves itself")
        return row, found

    def _admission(self, pack: PackId, descriptor: int, found: Found) -> Admission | None:
        member, syntax = found.member, found.meta.transfer_syntax
        head = b""
        identity: Identity | None = None
        with contextlib.suppress(Malformed):
            head, identity = look(PackSource(descriptor, member.dataset_offset, member.dataset_length), syntax)
        if identity is None:
            self._miss(pack, f"its member at byte {member.header_offset} does not identify itself")
            return None
        description = describe(head, syntax, member.dataset_length)
        return Admission(identity, description, UID(syntax), pack, member, float(found.received_at), found.meta.source_ae)

    def _headed(self, pack: PackId, path: Path, head: Head, data: bytes, coded_at: float) -> tuple[PackRow, list[Admission]]:
        """From a head, which says of each member what the catalogue held, and what the cache has of the pack."""
        manifest = head.manifest
        row = PackRow(
            pack=pack,
            opened_at=0.0,
            closed_at=coded_at,
            bytes=manifest.raw_bytes,
            sha256=Digest(manifest.sha256),
            coded_at=coded_at,
            coded_bytes=coded_bytes(manifest, len(data)),
            asked=self._asked(pack, head, data),
            objects=objects(manifest),
            here="no",
        )
        found = list(heads.admissions(head))
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return row, found
        try:
            stat = os.fstat(descriptor)
            if stat.st_size == manifest.raw_bytes:
                return replace(row, closed_at=stat.st_mtime, here="whole"), [replace(one, here=True) for one in found]
            return replace(row, here="some"), [replace(one, here=proves(descriptor, one.member)) for one in found]
        finally:
            os.close(descriptor)

    def _asked(self, pack: PackId, head: Head, data: bytes) -> str | None:
        """The ask that ships a pack, where it lies in the outbox: that goes when the pack is held."""
        if not (self._layout.outbox / pack).is_dir():
            return None
        manifest = head.manifest
        first = listing(manifest) if manifest.apart else data
        parts = [PartFile(number=0, bytes=len(first), digest=hashlib.sha256(first).hexdigest())]
        if not manifest.apart:
            parts += [PartFile(number=part.number, bytes=part.bytes, digest=part.digest) for part in manifest.parts]
        ask = Coded(
            pack=pack,
            urgency=Urgency.ROUTINE,
            instances=len(manifest.members),
            raw_bytes=manifest.raw_bytes,
            sha256=manifest.sha256,
            study=manifest.study,
            series=manifest.series,
            parts=parts,
            form=manifest.form,
        )
        return msgspec.json.encode(ask).decode()

    def _head(self, pack: PackId) -> tuple[Head, bytes, float] | None:
        """The kept head, its file, and when the pack was coded; None where there is none that can be read."""
        path = self._layout.head(pack)
        try:
            data, coded_at = path.read_bytes(), path.stat().st_mtime
            head = read_head(data)
        except FileNotFoundError:
            return None
        except Corrupt as fault:
            log.error("pack %s: its kept head is not used: %s", pack, fault)
            return None
        if head.manifest.pack != pack or not head.manifest.members:
            log.error("pack %s: its kept head belongs to another pack, or is empty", pack)
            return None
        return head, data, coded_at

    def _miss(self, pack: PackId, why: str) -> None:
        self.unproven += 1
        log.error("pack %s: %s; it is not in the catalogue", pack, why)

    def _open(self, pack: PackId) -> Path:
        return self._layout.open_packs / f"{pack}.tar"


def _has_run(layout: Layout) -> bool:
    """Whether edge has run here before: it has packs, heads or quarantine, or has said or heard something over the wall."""
    trees = (layout.cache, layout.heads, layout.quarantine)
    if any(path.is_file() for tree in trees if tree.is_dir() for path in tree.rglob("*")):
        return True
    asks, facts = (sorted(place.glob("*.jsonl")) if place.is_dir() else [] for place in (layout.asks, layout.facts))
    return any(path.stat().st_size for path in asks) or (bool(facts) and facts[0].stem.isdigit() and int(facts[0].stem) > 1)


def _asked_of(asked: str | None, received_at: float) -> str | None:
    """The ask that ships a pack, with the time of reception, which only its members say."""
    if asked is None:
        return None
    return msgspec.json.encode(msgspec.structs.replace(msgspec.json.decode(asked, type=Coded), received_at=received_at)).decode()
