"""What a start does before anything is served: site state where it is missing, and a catalogue that is there, up to date, and true."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge.clock import Clock
from edge.config import Layout
from edge.durable import flush_directory
from edge.errors import BrokenOff, Corrupt, StoreFailed
from edge.journal import SiteStateHere
from edge.journalfiles import JournalReader
from edge.notify import notify
from edge.rebuild import Rebuilt, needed, rebuild
from edge.sitecopies import newest
from edge.store import site
from edge.store.anew import NewCatalogue, swap
from edge.store.catalogue import Catalogue
from edge.store.decisions import Decisions
from edge.store.proving import prove_files, prove_recent
from edge.store.reconcile import reconcile
from edge.store.sql import Database, connect
from edge.wall import Gate

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 120
"""How long the service manager waits for the next sentence while the catalogue is made again, or brought up to date."""
SAID_SECONDS = 5.0


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


def expect_holdings(layout: Layout, facts: Gate, state: site.SiteState) -> None:
    """Of a rebuilt box, whose catalogue is not there yet, and to which cloudsync brought site state: begin one whose holdings have yet to
    be told. What others rely on, as storage commitment, waits for them. Nothing on any other box. Raises as the catalogue does.
    """
    if layout.catalogue.exists() or needed(layout) is not None:
        return
    if not isinstance(next(iter(JournalReader(facts, 0).read(1)), None), SiteStateHere):
        return
    fresh = layout.catalogue.with_name(f".{layout.catalogue.name}.new")
    with contextlib.closing(NewCatalogue(fresh, state.issuer_of)) as new:
        new.finish()
    swap(fresh, layout.catalogue)


@dataclass(frozen=True, slots=True)
class Opened:
    """The catalogue, true of the packs that are here."""

    catalogue: Catalogue
    made: Rebuilt | None
    """What came of making it again; None where it was there."""


def open_catalogue(
    layout: Layout,
    state: site.SiteState,
    clock: Clock,
    ended: Callable[[], bool] = lambda: False,
    full: Callable[[], None] = lambda: None,
    failed: Callable[[StoreFailed], None] = lambda fault: None,
) -> Opened:
    """The catalogue as edge serves from it: made again where it is lost, brought up to date where an older Outpost made it, and compared
    with the packs: what was under way, what has a file, and, unless edge ended in order, what was admitted last.

    The service manager is told how far it is. `full` and `failed` are those of the catalogue. Raises BrokenOff once `ended`, and what
    Catalogue raises. Blocks.
    """
    decisions = Decisions(state)
    made = _make_again(layout, decisions, state, ended)
    _bring_up_to_date(layout, ended)
    catalogue = Catalogue(layout.catalogue, state.issuer_of, full, failed)
    try:
        catalogue.remember(decisions.corrections())
        found = reconcile(layout.cache, layout.quarantine, catalogue, clock)
        log.info("start: %d open packs, %d instances adopted, %d bytes cut", found.packs, found.adopted, found.cut_bytes)
        prove_files(layout.cache, catalogue)
        if not _stopped_in_order(layout):
            prove_recent(layout.cache, catalogue)
    except BaseException:
        catalogue.close()
        raise
    return Opened(catalogue, made)


def _make_again(layout: Layout, decisions: Decisions, state: site.SiteState, ended: Callable[[], bool]) -> Rebuilt | None:
    """Make the catalogue again where there is none that can be opened; what came of it."""
    why = needed(layout)
    if why is None:
        return None
    log.error("the catalogue %s: it is made again from packs and heads, and Outpost serves when that is done", why.value)

    def say(done: int, packs: int) -> None:
        if ended():
            raise BrokenOff
        _at_work(f"The catalogue is made again: {done} of {packs} packs.")
        if done % 500 == 0 or done == packs:
            log.info("the catalogue is made again: %d of %d packs", done, packs)

    return rebuild(layout, why, decisions.corrections(), state.issuer_of, say)


def _bring_up_to_date(layout: Layout, ended: Callable[[], bool]) -> None:
    """Run the migrations that are due: minutes, where there are a million studies."""
    begun, said = time.monotonic(), -math.inf
    if not layout.catalogue.exists():
        return  # a new one is made in no time

    def go_on() -> bool:
        nonlocal said
        now = time.monotonic()
        if now - said >= SAID_SECONDS:
            said = now
            sentence = (
                f"The catalogue of an older version is brought up to date, for {now - begun:.0f} s now. Nothing is served until then."
            )
            _at_work(sentence)
            log.info("%s", sentence)
        return not ended()

    try:
        connect(layout.catalogue, Database.CATALOGUE, go_on=go_on).close()
    except Corrupt:  # who opens it for good says so, and marks it
        return


def _at_work(sentence: str) -> None:
    notify(f"STATUS={sentence}\nEXTEND_TIMEOUT_USEC={PATIENCE_SECONDS * 1_000_000}")


def _stopped_in_order(layout: Layout) -> bool:
    """Whether edge ended in order before this start; it runs from now on."""
    try:
        layout.stopped.unlink()
    except FileNotFoundError:
        return False
    flush_directory(layout.edge)
    return True
