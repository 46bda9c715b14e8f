"""The web application: each route of the rights table and its handler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from edge.clock import Clock, SystemClock
from edge.config import Config, Layout
from edge.store.reader import CatalogueReader
from edge.web.bulk import Bulks
from edge.web.condition import Condition
from edge.web.guard import Guard, Handler, finish_headers
from edge.web.health import Health
from edge.web.lamp import Lamp
from edge.web.metrics import Metrics
from edge.web.pages import Pages
from edge.web.retrieve import Retrieves
from edge.web.rights import ROUTES, E, I, S
from edge.web.search import Searches
from edge.web.store import Stores
from edge.web.supply import Supply
from edge.web.token import Token
from edge.web.uses import Uses
from edge.web.witness import Witness

_PATTERNS = {
    "{study}": "{study:[^/]+}",
    "{series}": "{series:[^/]+}",
    "{instance}": "{instance:[^/]+}",
    "{path}": "{path:.+}",
}


def make(config: Config, layout: Layout, token: Token, clock: Clock | None = None) -> web.Application:
    """The application over a state directory. It opens the catalogue when it is first needed, and closes it in its cleanup."""
    clock = clock or SystemClock()
    reader = CatalogueReader(layout.catalogue, config.link.offline_after_seconds, clock)
    uses = Uses(layout.control, clock)
    supply = Supply(reader, layout, uses)
    witness = Witness(layout.control, clock)
    reading = witness.reading
    searches, retrieves, bulks, stores = Searches(reader, witness), Retrieves(supply, layout), Bulks(supply), Stores(config, layout)
    condition, pages = Condition(layout.control, clock), Pages()
    lamp = Lamp(condition, pages, clock)
    handlers: dict[tuple[str, str], Handler] = {
        ("GET", "/healthz"): Health(reader, layout).healthz,
        ("GET", "/lamp"): lamp.page,
        ("GET", "/lamp/state"): lamp.state,
        ("GET", "/metrics"): Metrics(condition).metrics,
        ("GET", "/static/{file}"): pages.file,
        ("GET", "/studies"): searches.studies,
        ("GET", f"{S}/series"): searches.series,
        ("GET", f"{S}/instances"): searches.instances,
        ("GET", f"{E}/instances"): searches.instances,
        ("GET", "/series"): searches.series,
        ("GET", "/instances"): searches.instances,
        ("GET", S): reading(retrieves.instances),
        ("GET", E): reading(retrieves.instances),
        ("GET", I): reading(retrieves.instances),
        ("GET", f"{S}/metadata"): reading(retrieves.metadata),
        ("GET", f"{E}/metadata"): reading(retrieves.metadata),
        ("GET", f"{I}/metadata"): reading(retrieves.metadata),
        ("GET", f"{I}/frames/{{frames}}"): reading(bulks.frames),
        ("GET", f"{I}/bulkdata/{{path}}"): reading(bulks.bulkdata),
        ("POST", "/studies"): stores.store,
        ("POST", S): stores.store,
    }
    assert handlers.keys() == ROUTES.keys(), "every route has a right, and every right a route"
    app = web.Application(middlewares=[Guard(token).middleware()])
    app.on_response_prepare.append(finish_headers)
    for (method, template), handler in handlers.items():
        app.router.add_route(method, _pattern(template), handler)

    async def running(_: web.Application) -> AsyncIterator[None]:
        telling = asyncio.create_task(uses.tell(), name="tell uses")
        yield
        telling.cancel()
        await asyncio.wait({telling})
        await reader.close()

    app.cleanup_ctx.append(running)
    return app


def _pattern(template: str) -> str:
    for name, pattern in _PATTERNS.items():
        template = template.replace(name, pattern)
    return template
