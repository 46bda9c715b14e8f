"""/lamp: green, amber or red and the one sentence, for a tablet on the wall. No patient data."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from aiohttp import web

from edge.clock import Clock
from edge.errors import OutpostError
from edge.status import count
from edge.web.condition import Condition
from edge.web.pages import Pages

_WORDS = {"green": "Safe", "amber": "On its way", "red": "Needs a person"}
"""Beside each colour, for who does not tell them apart."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What stands on the page."""

    lamp: str
    """green, amber or red."""
    word: str
    sentence: str
    more: str
    """A second sentence, when there is more that a person must see to; else empty."""
    site: str
    at: float
    """When that was so, in seconds since 1970."""


class Lamp:
    """The page, and what on it changes."""

    def __init__(self, condition: Condition, pages: Pages, clock: Clock) -> None:
        self._condition = condition
        self._pages = pages
        self._clock = clock

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The page as it is now; without JavaScript it loads itself again."""
        return self._pages.page("lamp", shown=await self._shown())

    async def state(self, request: web.Request) -> web.StreamResponse:
        """The same as JSON."""
        return web.json_response(asdict(await self._shown()))

    async def _shown(self) -> Shown:
        now = self._clock.now()
        try:
            status = await self._condition.now()
        except OutpostError:
            sentence = "Outpost does not answer: nothing can be received now, and nothing that was received is lost."
            return Shown("red", _WORDS["red"], sentence, "Whoever looks after it: `systemctl status edge` says why.", "", now)
        things = len(status.alarms)
        more = f"{count(things, 'thing needs', 'things need')} a person: see `outpost status`." if things else ""
        return Shown(status.lamp, _WORDS[status.lamp], status.sentence, more, status.site, now)
