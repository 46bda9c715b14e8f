"""Where what arrives is sent on to."""

from __future__ import annotations

import msgspec

from edge.control.message import Message


class ListRoutes(Message, frozen=True, tag="list-routes"):
    """Answered by a RouteRow for each."""


class PutRoute(Message, frozen=True, tag="put-route"):
    """Send on what arrives from now on, or change the route of this name. Empty conditions hold for all. Answered by Done."""

    name: str
    peer: str = ""
    url: str = ""
    token_file: str = ""
    from_ae: str = ""
    urgency: str = ""
    modalities: list[str] = msgspec.field(default_factory=list)
    description: str = ""
    begins: str = ""
    ends: str = ""


class RemoveRoute(Message, frozen=True, tag="remove-route"):
    """Answered by Done."""

    name: str


class RetryRoute(Message, frozen=True, tag="retry-route"):
    """Try at once what waits. Answered by Done."""

    name: str


class RouteRow(Message, frozen=True, tag="route"):
    """A route and how it fares: the fields of edge.store.routes, Route and Standing."""

    name: str
    peer: str
    url: str
    token_file: str
    from_ae: str
    urgency: str
    modalities: list[str]
    description: str
    begins: str
    ends: str
    sent: int
    sent_at: float | None
    owed: int
    owed_since: float | None
    failures: int
    fault: str | None
    next_at: float
    refused: int
    refusal: str | None


Request = ListRoutes | PutRoute | RemoveRoute | RetryRoute
Answer = RouteRow
