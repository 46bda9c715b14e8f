"""Whether the disk of the state directory is encrypted: what is in the cache is in clear."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from edge.finding import Finding

_CHECK = "disk.encryption"


def devices(state: Path, sys: Path = Path("/sys"), mounts: Path = Path("/proc/self/mountinfo")) -> list[str] | None:
    """What device-mapper calls each block device below `state`, down to the disks ("" for a plain one); None where it lies on none that
    can be seen (a network, memory, a container).
    """
    device = _device(state.stat().st_dev, sys) or _mounted(state.resolve(), sys, mounts)
    return None if device is None else list(names(device))


def _device(number: int, sys: Path) -> Path | None:
    place = sys / "dev/block" / f"{os.major(number)}:{os.minor(number)}"
    return place.resolve() if os.major(number) and place.exists() else None


def _mounted(state: Path, sys: Path, mounts: Path) -> Path | None:
    """Of a file system that has a number of its own (btrfs): by the device that it was mounted from."""
    best: tuple[int, Path | None] = (-1, None)
    for line in mounts.read_text().splitlines():
        fields, _, source = line.partition(" - ")
        point = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), fields.split()[4])
        if state.is_relative_to(point) and len(point) >= best[0]:
            node = Path(source.split()[1])
            best = len(point), _device(node.stat().st_rdev, sys) if node.is_block_device() else None
    return best[1]


def names(device: Path) -> Iterator[str]:
    """Of a device in /sys, and of each below it."""
    label = device / "dm/uuid"
    yield label.read_text().strip() if label.exists() else ""
    for below in sorted((device / "slaves").glob("*")):
        yield from names(below.resolve())


def look(found: list[str] | None) -> Finding:
    """What follows from it."""
    if found is None:
        return Finding(_CHECK, "unknown", "Whether the disk is encrypted cannot be seen from here.")
    if any(name.startswith("CRYPT-") for name in found):
        return Finding(_CHECK, "good", "The disk of the state directory is encrypted.")
    cure = "Install the box anew on LUKS (Debian's installer offers it), and rebuild it with `outpost restore`."
    return Finding(
        _CHECK, "warning", "The disk of the state directory is not encrypted: who steals the box reads the cache and the keys.", cure
    )
