"""What a start makes right: packs that were open, names that were not moved yet, instances that nobody was told about.

The packs are believed, not the catalogue: a member whose digest holds is adopted, a torn tail is cut. Idempotent: killed in between, the
next start does the rest.
"""

from __future__ import annotations

import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from edge import tarblock
from edge.clock import Clock
from edge.dataset.attributes import describe
from edge.dataset.look import look
from edge.dataset.source import PackSource
from edge.dataset.walk import Malformed
from edge.durable import disk_errors
from edge.model import UID, Identity, PackId, Urgency, parse_pack_id
from edge.store.bare import BareFile
from edge.store.catalogue import Catalogue
from edge.store.instances import Admission
from edge.store.pack import Found, scan_through
from edge.store.packs import end_tar, move_out
from edge.store.quarantine import set_aside, sweep

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a start found."""

    packs: int
    adopted: int
    cut_bytes: int
    lost: int


def reconcile(cache: Path, quarantine: Path, catalogue: Catalogue, clock: Clock) -> Reconciled:
    """Bring cache and catalogue together before anything is served. Every pack that was open is closed afterwards."""
    _set_aside(quarantine, catalogue)
    adopted = cut = lost = 0
    packs = 0
    for path in sorted((cache / "open").glob("*.tar"), key=_begun):  # the first variant of an instance is catalogued first
        packs += 1
        pack = parse_pack_id(path.stem)
        if pack is None:
            log.error("cache/open/%s is no pack of ours; it was left alone", path.name)
            continue
        if not _is_file(path):
            log.error("cache/open/%s is a link, or no regular file; it was not followed and left alone", path.name)
            continue
        state = catalogue.pack(pack)
        if state is not None and state.closed_at is not None:
            move_out(cache, path)
            continue
        try:
            with BareFile(path) as file:
                members = list(scan_through(file.read, file.size))
        except OSError as fault:  # closing it would cut off what only cannot be read now
            log.error("pack %s cannot be read (%s); it stays open until the next start", pack, fault.strerror)
            continue
        found = _end(cache, path, pack, members, catalogue, clock)
        adopted, cut, lost = adopted + found.adopted, cut + found.cut_bytes, lost + found.lost
    lost += _missing(cache, catalogue)
    return Reconciled(packs, adopted, cut, lost)


def _end(cache: Path, path: Path, pack: PackId, members: list[Found], catalogue: Catalogue, clock: Clock) -> Reconciled:
    """Adopt the members of a pack that was open, cut off what lies behind them, and close it."""
    with disk_errors():
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        adopted = sum(_adopt(catalogue, pack, descriptor, found) for found in members)
        while members and _surplus(catalogue, pack, descriptor, members[-1]):
            members.pop()
        end = members[-1].end if members else 0
        cut = os.fstat(descriptor).st_size - end
        proven = {found.member.header_offset for found in members}
        lost = [offset for offset, _ in catalogue.rows("offsets_in_pack", pack) if offset not in proven]
        if lost:
            catalogue.lose(pack, lost)
            for offset in lost:
                log.error("pack %s does not hold what the catalogue says at byte %d", pack, offset)
        if members:
            closed_at = float(int(clock.now()))
            size, sha256 = end_tar(descriptor, end, closed_at)
            catalogue.close_pack(pack, closed_at, size, sha256)
            move_out(cache, path)
        else:
            with disk_errors():
                path.unlink()
            catalogue.forget_empty(pack)
    finally:
        os.close(descriptor)
    return Reconciled(1, adopted, cut, len(lost))


def _is_file(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def _set_aside(quarantine: Path, catalogue: Catalogue) -> None:
    """Quarantine as its files have it: an interrupted discard leaves a row without a file, and files outlive the catalogue."""
    sweep(quarantine)
    files = set_aside(quarantine)
    known = {row[0] for row in catalogue.rows("quarantined")}
    for digest in known - files.keys():
        catalogue.rows("forget_quarantined", digest)
    for digest in sorted(files.keys() - known):
        catalogue.quarantine(digest, files[digest])


def _begun(path: Path) -> tuple[int, str]:
    """When the first instance of a pack was received."""
    if not _is_file(path):
        return 0, path.name
    with path.open("rb") as file:
        entry = tarblock.parse(file.read(tarblock.BLOCK))
    return entry.mtime if entry else 0, path.name


def _adopt(catalogue: Catalogue, pack: PackId, descriptor: int, found: Found) -> bool:
    """Catalogue a proven member, unless it is; True when it was not."""
    member, meta = found.member, found.meta
    head, identity = _look(descriptor, found)
    if identity is None:  # reception only puts identified instances into packs
        log.error("pack %s holds a member at byte %d that does not identify itself", pack, member.header_offset)
        return False
    description = describe(head, meta.transfer_syntax, member.dataset_length)
    admission = Admission(identity, description, UID(meta.transfer_syntax), pack, member, float(found.received_at), meta.source_ae)
    return catalogue.open_pack(pack, Urgency.ROUTINE, admission)


def _surplus(catalogue: Catalogue, pack: PackId, descriptor: int, found: Found) -> bool:
    """Whether a proven member is a duplicate of an instance in another pack: reception ended before it cut the pack back."""
    if found.member.header_offset in {offset for offset, _ in catalogue.rows("offsets_in_pack", pack)}:
        return False
    return _look(descriptor, found)[1] is not None


def _look(descriptor: int, found: Found) -> tuple[bytes, Identity | None]:
    try:
        return look(PackSource(descriptor, found.member.dataset_offset, found.member.dataset_length), found.meta.transfer_syntax)
    except Malformed:
        return b"", None


def _missing(cache: Path, catalogue: Catalogue) -> int:
    """Packs that should be open but have no file: reported loudly, never forgotten. What is sent again is stored again."""
    missing = 0
    for (pack,) in catalogue.rows("open_packs"):
        path = cache / "open" / f"{pack}.tar"
        if os.path.lexists(path) and _is_file(path):
            continue
        offsets = [offset for offset, _ in catalogue.rows("offsets_in_pack", pack)]
        if not offsets:  # closing an empty pack was interrupted
            catalogue.forget_empty(pack)
            continue
        missing += 1
        catalogue.lose(pack, offsets)
        log.error("pack %s has no file in cache/open; its instances are lost unless they are sent again", pack)
    return missing
