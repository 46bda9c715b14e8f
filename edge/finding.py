"""What `outpost doctor` finds: one sentence with its cure for each check, whichever side of the wall made it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Level = Literal["good", "unknown", "warning", "fault"]
"""As it should be; could not be found out; works, and will not for long or not against everything; does not work or does not protect."""
_WARNED, _FAULTY = 1, 2


class Finding(msgspec.Struct, frozen=True, tag="finding", tag_field="kind"):
    """The outcome of one check. No name of a patient, no UID and no secret stands in it."""

    check: str
    """What was looked at, for programs: stable, as in `archive.delete`."""
    level: Level
    sentence: str
    cure: str = ""
    """What to do; empty where there is nothing to do."""
    figures: dict[str, float] = {}
    """What was measured; the unit stands in the name."""


class Opening(msgspec.Struct, frozen=True, tag="opening", tag_field="kind"):
    """A way through the firewall that Outpost needs as it is configured."""

    direction: Literal["in", "out"]
    host: str
    """Who calls, or who is called: a name, an address, a range; `any`."""
    port: int
    protocol: Literal["tcp", "udp"]
    purpose: str


Said = Finding | Opening
decode = msgspec.json.Decoder(Said).decode
encode = msgspec.json.encode


def exit_code(findings: Iterable[Finding]) -> int:
    """Of `outpost doctor`: 0 nothing to do, 1 a warning, 2 a fault."""
    levels = {finding.level for finding in findings}
    return _FAULTY if "fault" in levels else _WARNED if "warning" in levels else 0
