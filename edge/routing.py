"""Routes as people change them: what they enter is checked, in force at once, and audited."""

from __future__ import annotations

import re
from collections.abc import Iterable

from edge import audit
from edge.audit import Audit
from edge.clock import Clock
from edge.control.routes import ListRoutes, PutRoute, RemoveRoute, RetryRoute, RouteRow
from edge.errors import Refused, Unknown
from edge.model import Urgency, parse_ae_title
from edge.responder import PEOPLE, Asker, Responder, at_once
from edge.routes import Routes
from edge.store.routes import Route, Standing
from edge.stow import checked

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
_MODALITY = re.compile(r"[A-Z0-9]{1,16}")
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


class Routing:
    """Answers what is asked about routes; what cannot be is refused with the reason and the cure. Safe to use from several threads."""

    def __init__(self, routes: Routes, trail: Audit, clock: Clock) -> None:
        self._routes = routes
        self._audit = trail
        self._clock = clock

    def responders(self) -> Iterable[Responder]:
        return [
            at_once(ListRoutes, PEOPLE, self._list),
            at_once(PutRoute, PEOPLE, self._put),
            at_once(RemoveRoute, PEOPLE, self._remove),
            at_once(RetryRoute, PEOPLE, self._retry),
        ]

    def _list(self, _request: ListRoutes, _asker: Asker) -> list[RouteRow]:
        return [_row(route, standing) for route, standing in self._routes.standings()]

    def _put(self, request: PutRoute, asker: Asker) -> list[RouteRow]:
        known = {route.name for route, _ in self._routes.standings()}
        self._routes.put(_route(request, self._clock.now()))
        self._record(asker, request.name, "changed" if request.name in known else "added")
        return []

    def _remove(self, request: RemoveRoute, asker: Asker) -> list[RouteRow]:
        self._need(self._routes.remove(request.name), request.name)
        self._record(asker, request.name, "removed")
        return []

    def _retry(self, request: RetryRoute, _asker: Asker) -> list[RouteRow]:
        self._need(self._routes.retry(request.name), request.name)
        return []

    def _need(self, found: bool, name: str) -> None:
        if not found:
            raise Unknown(f"There is no route {name!r}. `outpost routes ls` lists them.")

    def _record(self, asker: Asker, route: str, change: str) -> None:
        self._audit.record(audit.RouteChanged(user=asker.user, route=route, change=change))


def _route(request: PutRoute, now: float) -> Route:
    if not _NAME.fullmatch(request.name):
        raise Refused(f"{request.name!r} is no name for a route: use letters, digits, space, dot, dash and underscore.")
    if bool(request.peer) == bool(request.url):
        raise Refused("A route leads either to a peer (--to) or to a STOW-RS service (--stow).")
    for title in (request.peer, request.from_ae):
        if title and parse_ae_title(title) != title:
            raise Refused(f"{title!r} is no AE title.")
    if request.token_file and not request.url:
        raise Refused("A token is for a STOW-RS service, not for a peer.")
    if request.token_file and not request.token_file.startswith("/"):
        raise Refused(f"{request.token_file!r}: write the whole path of the token file.")
    if request.urgency and request.urgency not in set(Urgency):
        raise Refused(f"There is no class {request.urgency!r}. Use one of {', '.join(Urgency)}.")
    for modality in request.modalities:
        if not _MODALITY.fullmatch(modality):
            raise Refused(f"{modality!r} is no modality: write for example CT or MR.")
    if bool(request.begins) != bool(request.ends) or not all(_TIME.fullmatch(text) for text in (request.begins, request.ends) if text):
        raise Refused("A time of day is written from-until, for example 18:00-07:00.")
    return Route(
        name=request.name,
        peer=request.peer,
        url=checked(request.url, with_token=bool(request.token_file)) if request.url else "",
        token_file=request.token_file,
        from_ae=request.from_ae,
        urgency=request.urgency,
        modalities=tuple(request.modalities),
        description=request.description,
        begins=request.begins,
        ends=request.ends,
        since=float(int(now)),
    )


def _row(route: Route, standing: Standing) -> RouteRow:
    return RouteRow(
        name=route.name,
        peer=route.peer,
        url=route.url,
        token_file=route.token_file,
        from_ae=route.from_ae,
        urgency=route.urgency,
        modalities=list(route.modalities),
        description=route.description,
        begins=route.begins,
        ends=route.ends,
        sent=standing.sent,
        sent_at=standing.sent_at,
        owed=standing.owed,
        owed_since=standing.owed_since,
        failures=standing.failures,
        fault=standing.fault,
        next_at=standing.next_at,
        refused=standing.refused,
        refusal=standing.refusal,
    )
