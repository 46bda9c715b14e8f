"""What cloudsync needs of the firewall: the way to the archive. Nothing comes in."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from edge.finding import Opening


def openings(host: str, port: int, proxy: str) -> Iterator[Opening]:
    """For an archive on the network; where a proxy (host:port) stands between, only that is called."""
    if proxy:
        between = urlsplit(f"//{proxy}")
        yield Opening("out", between.hostname or "", between.port or 3128, "tcp", f"the proxy on the way to the archive ({host})")
    else:
        yield Opening("out", host, port, "tcp", "the archive")
