"""Whether the wall stands: the user who parses what comes from the LAN must not read the keys."""

from __future__ import annotations

import os

from edge.config import Layout, Wall
from edge.finding import Finding

_CHECK = "wall.keys"


def look(wall: Wall, layout: Layout) -> Finding:
    """As the user of this process sees it, who is edge's where there is a wall."""
    if not wall.edge_user or not wall.cloudsync_user or wall.edge_user == wall.cloudsync_user:
        sentence = "Everything runs as one user: whoever takes over what listens on the LAN can read the archive keys."
        return Finding(
            _CHECK, "warning", sentence, "Install the units and their two users, and name those in [wall] (README, A real site)."
        )
    if os.access(layout.keys, os.R_OK | os.X_OK):
        cure = "Run `systemd-tmpfiles --create`, which sets the modes, and remove edge's user from groups that it needs not."
        return Finding(_CHECK, "fault", "The user of edge can read the archive keys: there is no wall.", cure)
    return Finding(_CHECK, "good", "The user of edge cannot read the archive keys.")
