"""What the catalogue knows of one pack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edge.model import UID, Digest, PackId, Urgency


@dataclass(frozen=True, slots=True)
class PackState:
    """What the catalogue says of a pack; times in seconds since the epoch, None for what it has not come to yet."""

    pack: PackId
    study: UID
    urgency: Urgency
    opened_at: float
    closed_at: float | None
    bytes: int | None
    sha256: Digest | None
    instances: int
    coded_at: float | None
    here: str
    has_head: bool
    stopped: str | None
    held: bool


def pack_state(row: Sequence[Any]) -> PackState:
    """A row of the named query `pack_state`."""
    return PackState(
        pack=row[0],
        study=row[1],
        urgency=Urgency(row[2]),
        opened_at=row[3],
        closed_at=row[4],
        bytes=row[5],
        sha256=row[6],
        instances=row[7],
        coded_at=row[8],
        here=row[9],
        has_head=bool(row[10]),
        stopped=row[11],
        held=bool(row[12]),
    )
