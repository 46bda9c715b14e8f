"""How an archive on the network is to be spoken to."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from cloudsync.link.farclock import FarClock
from cloudsync.link.pacing import Pacing
from edge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Line:
    pacing: Pacing
    far: FarClock
    """Is told what time the archive has."""
    trust: ssl.SSLContext | None
    """The authorities; None for those of the system."""
    connect_seconds: float
    silence_seconds: float
    """After which a connection on which nothing moves is given up."""


def authorities(file: str) -> ssl.SSLContext | None:
    """Those of the system and those in `file`; None without one. Raises ConfigError naming the key when it holds none."""
    if not file:
        return None
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(file)
    except OSError as fault:  # of which ssl.SSLError is one
        reason = "holds no certificate" if isinstance(fault, ssl.SSLError) else f"cannot be read ({fault.strerror})"
        raise ConfigError("archive.ca_file", f"{file} {reason}", "Name a PEM file with the certificates of the authorities.") from fault
    return context
