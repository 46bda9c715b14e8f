"""When the recovery kit was last tested against the keys of this box: `kit-tested.json`, which holds no secret."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from cloudsync.seal.certificates import key_id
from cloudsync.seal.keys import Keys
from edge.clock import utc
from edge.durable import write_whole

Means = Literal["sheet", "kit"]


class Tested(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A test that the kit has passed."""

    at: str
    """UTC, as in 2026-01-01T00:00:00Z."""
    by: Means
    """The lines of the printed sheet, or the files and the eight words."""
    recovery_key: str
    """The SubjectKeyIdentifier of the key that was proven, in hexadecimal."""


def record(path: Path, keys: Keys, by: Means, *, now: float) -> Tested:
    """Write down that the kit of these keys has passed. `now` in seconds since the epoch."""
    tested = Tested(utc(now), by, key_id(keys.recovery).hex())
    write_whole(path, msgspec.json.encode(tested) + b"\n", 0o644)
    return tested


def last(path: Path, keys: Keys) -> Tested | None:
    """The last test; None when the kit of these keys was never tested here."""
    try:
        tested = msgspec.json.decode(path.read_bytes(), type=Tested)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return tested if tested.recovery_key == key_id(keys.recovery).hex() else None
