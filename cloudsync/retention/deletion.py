"""Deletes what a list names, and nothing else: the objects of its packs, all attempts of them, each pack's sums last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cloudsync.archive.erasing import Eraser, Kept
from cloudsync.retention.paper import Deletions


@dataclass(slots=True)
class Deleted:
    """What became of a list."""

    packs: int = 0
    """Of which nothing is left."""
    absent: int = 0
    """Of which nothing was there any more; they count among `packs` too."""
    objects: int = 0
    """That were deleted, or would be."""
    bytes: int = 0
    kept: list[str] = field(default_factory=list)
    """Objects that the archive did not let go of, with its reason."""


async def delete(wanted: Deletions, archive: Eraser, say: Callable[[int, int], None], *, dry: bool = False) -> Deleted:
    """Delete the objects of the packs; `say` gets how many of how many packs are done. `dry`: look, and delete nothing.

    Idempotent: broken off, or refused for some objects, it can be run again. Raises what the archive raises.
    """
    done = Deleted()
    for number, pack in enumerate(wanted.packs, 1):
        # The name ends in a slash: the prefix of one pack is never that of another.
        found = [each async for each in archive.list(f"{wanted.site}/p/{pack}/")]
        kept = len(done.kept)
        for each in sorted(found, key=lambda each: (each.name.endswith("/sums"), each.name)):
            try:
                if not dry:
                    await archive.erase(each.name)
            except Kept as fault:
                done.kept.append(str(fault))
                continue
            done.objects += 1
            done.bytes += each.size
        done.absent += not found
        done.packs += len(done.kept) == kept
        say(number, len(wanted.packs))
    return done
