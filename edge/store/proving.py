"""What a start proves of closed packs: that their files are there, and that what was admitted last is on the disk, not in memory only."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.durable import disk_errors, flush_directory
from edge.model import PackId
from edge.store.bare import BareFile
from edge.store.catalogue import Catalogue
from edge.store.pack import digest_through

log = logging.getLogger(__name__)

RECENT_SECONDS = 300.0
"""The kernel writes back what is dirty within half a minute; a disk that fails has done so by then."""
RECENT_BYTES = 4 << 30
"""At most so much is read again, the newest first: a start must not take minutes."""
GONE = "Its file is gone from the cache, and the archive has no copy. Have its study sent again."


@dataclass(frozen=True, slots=True)
class Proven:
    """What became of closed packs that did not prove themselves."""

    nearline: int = 0
    """Packs that the archive has, and the cache no longer."""
    lost: int = 0
    """Instances that are on no disk any more."""
    found: int = 0
    """Instances that were lost, and are there again."""


def prove_files(cache: Path, catalogue: Catalogue) -> Proven:
    """Compare the closed packs that should be here with the files that are. Idempotent; reads names, no bytes."""
    files = set(_files(cache))
    absent = [row for row in catalogue.rows("closed_packs_here") if row[0] not in files]
    nearline = lost = 0
    if absent:
        with catalogue.change():
            for pack, held, coded in absent:
                if held or coded:
                    nearline += 1
                    _send_for(catalogue, pack, held)
                    log.error("pack %s has no file in the cache; it comes from the archive when it is asked for", pack)
                else:
                    lost += len(catalogue.rows("offsets_in_pack", pack))
                    catalogue.rows("lose_pack", pack)
                    catalogue.mark_stopped(pack, GONE)
                    log.error("pack %s has no file in the cache and is not in the archive; its instances are lost until sent again", pack)
    return Proven(nearline, lost, _find_again(cache, catalogue, files))


def prove_recent(cache: Path, catalogue: Catalogue) -> Proven:
    """Re-hash, past the page cache, what was admitted in the last minutes. Idempotent.

    Where a member does not prove itself, it comes from the archive again if that has it, or will have it from the outbox; else it is lost,
    and the rest of its pack is packed anew when it is coded.
    """
    nearline = lost = done = 0
    for pack, size, held, coded in catalogue.rows("packs_used_last", seconds=RECENT_SECONDS):
        done += size
        if done > RECENT_BYTES:
            log.warning("what was admitted last is proven as far as %d bytes go; the scrub does the rest", RECENT_BYTES)
            break
        path = cache / pack[:2] / f"{pack}.tar"
        bad = unproven(path, catalogue, pack)
        if not bad:
            continue
        if held or coded:
            nearline += 1
            with catalogue.change():
                _send_for(catalogue, pack, held)
            with disk_errors():
                path.unlink(missing_ok=True)
                flush_directory(path.parent)
            log.error("pack %s is not on the disk as it was written; it comes from the archive when it is asked for", pack)
        else:
            lost += len(bad)
            catalogue.lose(pack, bad)
            log.error("pack %s: %d instances do not prove themselves and are lost until sent again", pack, len(bad))
    return Proven(nearline, lost)


def unproven(path: Path, catalogue: Catalogue, pack: str) -> list[int]:
    """Where the members begin that should lie in a closed pack and do not prove themselves, read past the page cache."""
    rows = catalogue.rows("members_here", pack)
    try:
        with BareFile(path) as file:
            return [header for header, offset, length, digest in rows if not _proves(file, offset, length, digest)]
    except OSError as fault:
        if fault.errno not in {errno.ENOENT, errno.ELOOP}:
            raise
        return [row[0] for row in rows]


def notices(catalogue: Catalogue) -> list[str]:
    """What `outpost status` says of instances that are lost."""
    return [
        f"{count} {'instance' if count == 1 else 'instances'} of study {study} {'is' if count == 1 else 'are'} lost: neither the disk nor "
        "the archive has what was received. Have the modality send the study again."
        for study, count, _ in catalogue.rows("losses")
    ]


def _proves(file: BareFile, offset: int, length: int, digest: str) -> bool:
    try:
        return digest_through(file.read, offset, length) == digest
    except OSError as fault:
        log.error("a member at byte %d cannot be read: %s", offset, os.strerror(fault.errno or 0))
        return False


def _send_for(catalogue: Catalogue, pack: PackId, held: bool) -> None:
    """The archive has the bytes, or will have them as soon as the outbox is shipped."""
    catalogue.rows("set_here", "no" if held else "some", pack)
    catalogue.rows("set_instances_here", 0, pack)


def _find_again(cache: Path, catalogue: Catalogue, files: set[str]) -> int:
    """A file that was gone is back: a disk was mounted, or somebody put it there."""
    found = 0
    for (pack,) in catalogue.rows("packs_with_losses"):
        if pack not in files:
            continue
        with BareFile(cache / pack[:2] / f"{pack}.tar") as file:
            again = [header for header, *where in catalogue.rows("members_lost", pack) if _proves(file, *where)]
        if not again:
            continue
        with catalogue.change():
            for offset in again:
                catalogue.rows("find_again", pack, offset)
            catalogue.rows("go_on", pack)
        found += len(again)
        log.warning("pack %s: %d instances that were lost are there again", pack, len(again))
    return found


def _files(cache: Path) -> Iterator[str]:
    """The packs that have a file in the cache."""
    with os.scandir(cache) as directories:
        for directory in directories:
            if len(directory.name) == 2 and directory.is_dir(follow_symlinks=False):
                with os.scandir(directory.path) as entries:
                    yield from (entry.name[:-4] for entry in entries if entry.name.endswith(".tar"))
