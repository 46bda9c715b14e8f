"""A disk that failed ends the process: nothing is acknowledged from then on, and the next start proves again what was admitted last."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from edge.durable import disk_errors
from edge.errors import Exhausted, StoreFailed

log = logging.getLogger(__name__)


class FailStop:
    """Told of the first failure by whoever meets it. Safe to use from several threads."""

    def __init__(self, end: Callable[[], object]) -> None:
        """`end` has the process end; it is called from any thread, and more than once."""
        self._end = end
        self.fault: StoreFailed | None = None
        """The first failure; None while the disk is well."""

    def __call__(self, fault: StoreFailed) -> None:
        if self.fault is None:
            self.fault = fault
        self._end()

    def check(self) -> None:
        """Raises StoreFailed once the disk has failed: after a failed flush the page cache says what the disk does not have."""
        if self.fault is not None:
            raise StoreFailed(str(self.fault))

    async def guard(self, name: str, work: Callable[[], Awaitable[None]], pause_seconds: float = 5.0) -> None:
        """Do the work: its end by a failed disk ends the process, and after one for want of descriptors or memory it is begun again."""
        while True:
            try:
                with disk_errors():
                    await work()
            except StoreFailed as fault:
                self(fault)
            except Exhausted as fault:
                log.error("%s: %s", name, fault)
                await asyncio.sleep(pause_seconds)
                continue
            return
