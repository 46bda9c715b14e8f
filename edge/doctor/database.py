"""The SQLite that Python was built with."""

from __future__ import annotations

from edge.finding import Finding

LEAST = (3, 37, 0)
"""STRICT tables."""
_FIXED = (3, 51, 3)
"""Where a fault at the reset of the write-ahead log was mended. It needs two writing connections; Outpost has one for each file."""


def look(version: tuple[int, int, int]) -> Finding:
    """What follows from its version."""
    check, said = "sqlite.version", ".".join(map(str, version))
    if version < LEAST:
        cure = "Install Debian 12 or later, or another Python that has a newer one."
        return Finding(check, "fault", f"SQLite {said} is too old: Outpost needs {'.'.join(map(str, LEAST))}.", cure)
    known = " Its fault with two writers does not meet Outpost, which has one for each file." if version < _FIXED else ""
    return Finding(check, "good", f"SQLite {said} is new enough.{known}")
