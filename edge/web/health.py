"""/healthz: whether the services can work, for whoever watches the box. No patient data."""

from __future__ import annotations

from aiohttp import web

from edge.config import Layout
from edge.errors import OutpostError
from edge.store.reader import CatalogueReader
from edge.web.asking import listens


class Health:
    """Answers without a token."""

    def __init__(self, reader: CatalogueReader, layout: Layout) -> None:
        self._reader = reader
        self._layout = layout

    async def healthz(self, request: web.Request) -> web.StreamResponse:
        """200 when the catalogue can be read and edge takes requests, else 503; which of them, as JSON."""
        found = {"catalogue": await self._readable(), "edge": await listens(self._layout.control)}
        return web.json_response(found, status=200 if all(found.values()) else 503)

    async def _readable(self) -> bool:
        try:
            await self._reader.link_up()
        except OutpostError:
            return False
        return True
