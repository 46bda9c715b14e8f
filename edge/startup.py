"""What a start finds missing and makes again before anything is served: site state on a rebuilt box, a catalogue that was lost."""

from __future__ import annotations

import logging
from collections.abc import Callable

from edge.config import Layout
from edge.errors import Corrupt
from edge.journal import JournalReader, SiteStateHere
from edge.notify import notify
from edge.rebuild import BrokenOff, Rebuilt, needed, rebuild
from edge.store import site
from edge.store.decisions import Decisions
from edge.wall import Gate

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 120
"""How long the service manager waits for the next pack while the catalogue is made again."""


def restore_site(layout: Layout, facts: Gate, inbox: Gate) -> None:
    """A rebuilt box starts from the site state that cloudsync brought from the archive."""
    newest = None
    reader = JournalReader(facts, 0)
    while entries := reader.read_all():
        newest = next((entry for entry in reversed(entries) if isinstance(entry, SiteStateHere)), newest)
    if newest is None:
        return
    copy = inbox.read(f"site/{newest.digest}", site.COPY_MAX_BYTES)
    if site.digest(copy) != newest.digest:
        raise Corrupt("The site state in the inbox is not the one that was proven. Run `outpost restore` again.")
    site.restore(layout.site, copy)
    log.info("site state was restored from the archive")


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
