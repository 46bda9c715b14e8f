"""The holdings of a catalogue that was made again: asked for, and waited for.

Until they are told, nothing is evicted, coded or classed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from edge import audit
from edge.asks import Asks
from edge.audit import Audit
from edge.durable import disk_errors
from edge.journal import Restate
from edge.rebuild import Rebuilt
from edge.store.catalogue import Catalogue

log = logging.getLogger(__name__)

NOWHERE = "Neither the cache nor the archive has it whole. Have its study sent again."


class Restating:
    """Says with the status what became of the catalogue. Safe to use from several threads."""

    def __init__(
        self,
        catalogue: Catalogue,
        asks: Asks,
        trail: Audit,
        made: Rebuilt | None,
        told: Callable[[], object],
        put_off_heads: Callable[[bool], None] = lambda put_off: None,
    ) -> None:
        """`made` is what this start has made again; `told` is called when there may be something to code. `put_off_heads` is told whether
        heads that nobody asked for are to wait: while the archive's catalog is read, the link is needed for that.
        """
        self._catalogue = catalogue
        self._asks = asks
        self._audit = trail
        self._made = made
        self._told = told
        self._put_off_heads = put_off_heads
        self._reading = ""

    def begin(self) -> None:
        """At start: ask for the holdings, if they have yet to be told. Idempotent."""
        if made := self._made:
            log.error("the catalogue %s; it was made again: %d packs, %d instances", made.why.value, made.packs, made.instances)
            self._audit.record(
                audit.CatalogueRebuilt(why=made.why.value, packs=made.packs, instances=made.instances, unproven=made.unproven)
            )
        if self._catalogue.figure("restating") is not None:
            with disk_errors():
                seq = self._asks.tell(Restate())
            with self._catalogue.change():
                self._catalogue.rows("set_restating", seq)

    def reading(self, left: int, total: int) -> None:
        """Of a rebuilt box: so many segments of the archive's catalog are left to be read, of so many."""
        self._put_off_heads(left > 0)
        self._reading = (
            f"Older studies are still being read from the archive's catalog, the newest first: {total - left} of {total} segments. What"
            " is read answers; until all is, nothing is sent to the archive, evicted or compared."
        )

    def told(self) -> None:
        """Every holding is told."""
        with self._catalogue.change():
            for (pack,) in self._catalogue.rows("packs_nowhere"):
                log.error("pack %s is neither whole in the cache nor in the archive", pack)
                self._catalogue.mark_stopped(pack, NOWHERE)
        log.info("the holdings of the archive are told again")
        self._told()

    def notices(self) -> list[str]:
        """What a person should know of it."""
        notices = []
        if made := self._made:
            missed = f" {made.unproven} packs or instances do not prove themselves: see the log." if made.unproven else ""
            notices.append(
                f"The catalogue {made.why.value} when Outpost started, and was made again from {made.packs} packs with "
                f"{made.instances} instances.{missed}"
            )
        if self._catalogue.figure("restating") is not None:
            notices.append(
                self._reading or "What the archive holds is not told again yet: until then nothing is evicted, coded or compared."
            )
        return notices
