"""When the restore of this site was rehearsed last: `drilled.json` of the state directory, which `outpost drill` writes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec

from edge.config import Layout


class _Record(msgspec.Struct, frozen=True):
    at: str
    result: str


@dataclass(frozen=True, slots=True)
class Drill:
    """A rehearsal that came to its end."""

    at: float
    """Seconds since the epoch, when it began."""
    passed: bool


def last(layout: Layout) -> Drill | None:
    """The last one; None when there was none, or what is written of it cannot be read."""
    try:
        record = msgspec.json.decode(layout.drilled.read_bytes(), type=_Record)
        return Drill(datetime.fromisoformat(record.at).timestamp(), record.result == "passed")
    except (OSError, ValueError, msgspec.DecodeError):
        return None


def alarms(layout: Layout) -> list[str]:
    """What a person must see to: the archive, or the kit, did not bring the site back."""
    drill = last(layout)
    if drill is None or drill.passed:
        return []
    return ["The last rehearsal of a restore failed: its certificate says why. Mend that, and run `outpost drill` again."]
