"""What stands before every handler: the name that was called, the token, the right; and what goes on every answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from edge.errors import OutpostError
from edge.web.faults import RETRY_SECONDS, BadRequest, Forbidden, Misdirected, Unauthorized, status_of
from edge.web.rights import Right, needed
from edge.web.token import Token

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""The names that are answered to: a page that rebinds its own name to this machine gets nothing."""

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """The outermost middleware. Deny by default."""

    def __init__(self, token: Token) -> None:
        self._token = token

    def middleware(self) -> Middleware:
        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            begun = time.monotonic()
            response = await self._answer(request, handler)
            log.info(
                "request",
                extra={
                    "method": request.method if request.method in hdrs.METH_ALL else "other",
                    "route": _template(request) or "none",
                    "status": response.status,
                    "milliseconds": round(1000 * (time.monotonic() - begun)),
                },
            )
            return response

        return guarded

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._admit(request)
            return await handler(request)
        except OutpostError as fault:
            return refusal(fault)
        except web.HTTPException as fault:  # the router's own 404 and 405
            return _plain(fault.status, f"{fault.reason}.", {"Allow": fault.headers["Allow"]} if "Allow" in fault.headers else {})

    def _admit(self, request: web.Request) -> None:
        if _name(request.headers.get(hdrs.HOST, "")) not in NAMES:
            raise Misdirected
        right = needed(request.method, _template(request))
        if right is Right.NONE:
            return
        if not self._token.is_in(request.headers.get(hdrs.AUTHORIZATION, "")):
            raise Unauthorized
        if request.match_info.http_exception is None and (right is None or right not in self._token.rights):
            raise Forbidden


def refusal(fault: OutpostError) -> web.Response:
    """The plain sentence that answers an error, with its cure."""
    status = status_of(fault)
    headers: dict[str, str] = {}
    if isinstance(fault, Unauthorized):
        headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="Outpost"'
    if status in {503, 507}:
        headers[hdrs.RETRY_AFTER] = str(RETRY_SECONDS)
    if status >= 500 and status not in {503, 507}:
        log.error("a request failed: %s", type(fault).__name__)
    return _plain(status, str(fault), headers)


async def finish_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Goes on every answer: nothing is cached, sniffed, framed or shared, and no version is shown."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.pop(hdrs.SERVER, None)


def _plain(status: int, sentence: str, headers: dict[str, str]) -> web.Response:
    return web.Response(status=status, text=sentence + "\n", headers=headers)


def _template(request: web.Request) -> str | None:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else None


def _name(host: str) -> str:
    """The Host header without its port."""
    if len(host) > 260:
        raise BadRequest("The Host header is too long.")
    name, _, port = host.rpartition(":")
    return (name if port.isdigit() and name else host).lower()
