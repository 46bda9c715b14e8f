"""Errors of the web services, and the one table from error type to HTTP status (RFC 9110 section 15, PS3.18 section 8.5)."""

from __future__ import annotations

from edge.control.lines import NotRunning
from edge.errors import Corrupt, Exhausted, OutpostError, Refused, StoreFull, Transient


class BadRequest(Refused):
    """The request does not follow PS3.18. The message says where."""


class Unauthorized(Refused):
    """A token is needed: send `Authorization: Bearer` with what web.token in the state directory holds."""


class Forbidden(Refused):
    """This token has no right to that."""


class NotFound(Refused):
    """There is no such study, series, instance or frame here."""


class NotAcceptable(Refused):
    """It cannot be had in any form that was asked for. Ask with transfer-syntax=* for the form in which it is stored."""


class Misdirected(Refused):
    """This name is not answered to. Use the address that Outpost printed at its start."""


class TooSlow(Refused):
    """The request did not go on. Send it again."""


class TooLarge(Refused):
    """The request is larger than is taken. Send it in several."""


class UnsupportedMedia(Refused):
    """The content is of a kind that is not taken."""


class Unavailable(Transient):
    """It cannot be had now. Ask again later."""


STATUS: tuple[tuple[type[OutpostError], int], ...] = (
    (BadRequest, 400),
    (Unauthorized, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (NotAcceptable, 406),
    (TooSlow, 408),
    (TooLarge, 413),
    (UnsupportedMedia, 415),
    (Misdirected, 421),
    (Exhausted, 503),
    (StoreFull, 507),
    (NotRunning, 503),
    (Transient, 503),
    (Refused, 403),
    (Corrupt, 500),
    (OutpostError, 500),
)
"""The first row whose type an error is an instance of decides."""

RETRY_SECONDS = 30
"""What Retry-After says with 503 and 507."""


def status_of(fault: OutpostError) -> int:
    """The HTTP status that answers an error."""
    return next(status for kind, status in STATUS if isinstance(fault, kind))
