"""A fault at the wall."""

from __future__ import annotations

import os

from edge.wall import Gate


def following_a_symlink() -> None:
    """What lies behind a name is opened, wherever that is."""
    Gate.open = lambda gate, name, max_bytes: os.open(gate.root / name, os.O_RDONLY)
