"""How an archive on the network is to be spoken to."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from cloudsync.link.farclock import FarClock
from cloudsync.link.pacing import Pacing
from edge.clock import Clock, SystemClock
from edge.errors import ConfigError

CONNECT_SECONDS = 20.0


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

    @classmethod
    def of(
        cls,
        pacing: Pacing | None = None,
        far: FarClock | None = None,
        trust: ssl.SSLContext | None = None,
        silence_seconds: float = 60.0,
        clock: Clock | None = None,
    ) -> Line:
        """What is not given holds nothing back."""
        ours = clock or SystemClock()
        return cls(pacing or Pacing(ours, lambda: 0.0), far or FarClock(ours), trust, CONNECT_SECONDS, silence_seconds)


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
