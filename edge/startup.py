"""What a start finds missing and makes again before anything is served: site state on a rebuilt box, a catalogue that was lost."""

from __future__ import annotations

import logging
from collections.abc import Callable

from edge.config import Layout
from edge.errors import Corrupt
from edge.journal import JournalReader, SiteStateHere
from edge.notify import notify
from edge.rebuild import BrokenOff, Rebuilt, needed, rebuild
from edge.sitecopies import newest
from edge.store import site
from edge.store.decisions import Decisions
from edge.wall import Gate

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 120
"""How long the service manager waits for the next pack while the catalogue is made again."""


def restore_site(layout: Layout, facts: Gate, inbox: Gate) -> float | None:
    """Make site.db from the newest copy that is here: one that was to be shipped, or the one that cloudsync brought to a rebuilt box.
    When the copy was made (seconds since the epoch); None where there is none, and nothing is changed.

    Raises Corrupt when the one in the inbox is not what was proven, and what site.restore raises.
    """
    if copy := newest(layout):
        site.restore(layout.site, copy.data)
        return copy.made_at
    brought = None
    reader = JournalReader(facts, 0)
    while entries := reader.read_all():
        brought = next((entry for entry in reversed(entries) if isinstance(entry, SiteStateHere)), brought)
    if brought is None:
        return None
    data = inbox.read(f"site/{brought.digest}", site.COPY_MAX_BYTES)
    if site.digest(data) != brought.digest:
        raise Corrupt("The site state in the inbox is not the one that was proven. Run `outpost restore` again.")
    site.restore(layout.site, data)
    return (inbox.root / "site" / brought.digest).stat().st_mtime


def make_catalogue(layout: Layout, decisions: Decisions, state: site.SiteState, ended: Callable[[], bool]) -> Rebuilt | None:
    """Make the catalogue again where there is none that can be opened; what came of it. Raises BrokenOff once `ended`."""
    why = needed(layout)
    if why is None:
        return None
    log.error("the catalogue %s: it is made again from packs and heads, and Outpost serves when that is done", why.value)

    def say(done: int, packs: int) -> None:
        if ended():
            raise BrokenOff
        notify(f"STATUS=The catalogue is made again: {done} of {packs} packs.\nEXTEND_TIMEOUT_USEC={PATIENCE_SECONDS * 1_000_000}")
        if done % 500 == 0 or done == packs:
            log.info("the catalogue is made again: %d of %d packs", done, packs)

    return rebuild(layout, why, decisions.corrections(), state.issuer_of, say)
