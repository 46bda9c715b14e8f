"""The peers: whether each that is called answers a C-ECHO, asked of edge as `outpost peers echo` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from edge.control import asking
from edge.control.errands import Echoed, EchoPeer
from edge.control.lines import NotRunning
from edge.control.peers import ListPeers, PeerRow
from edge.errors import OutpostError
from edge.finding import Finding

_SECONDS = 120.0
_CURE = (
    "Look whether it is switched on and whether host and port are right (`outpost peers ls`); it has to know our AE title. "
    "docs/operations-dicom.md says what each refusal means."
)


def rows(control: Path) -> list[PeerRow] | None:
    """Every peer; None where edge does not run. Raises PermissionError for a user who may not ask."""
    try:
        return [row for row in asking.ask(control, ListPeers(), timeout_seconds=_SECONDS) if isinstance(row, PeerRow)]
    except NotRunning:
        return None


def look(control: Path, peers: Sequence[PeerRow]) -> Iterator[Finding]:
    """Call each peer that has a host."""
    for peer in peers:
        if peer.host:
            yield _echo(control, peer.ae_title)


def _echo(control: Path, ae_title: str) -> Finding:
    check = f"peer.{ae_title}"
    try:
        for row in asking.ask(control, EchoPeer(ae_title=ae_title), timeout_seconds=_SECONDS):
            if isinstance(row, Echoed):
                figures = {"milliseconds": round(row.milliseconds, 1)}
                return Finding(check, "good", f"{ae_title} answered after {row.milliseconds:.0f} ms.", "", figures)
    except (OutpostError, OSError) as fault:
        said = str(fault).rstrip(".")
        return Finding(check, "warning", f"{ae_title} does not answer: {said[:1].lower()}{said[1:]}.", _CURE)
    return Finding(check, "warning", f"{ae_title} does not answer.", _CURE)
