"""Routes: to whom what arrives is sent on. The rules are site state; what each of them owes lies in the catalogue, beside the instances."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge.model import UID, PackId
from edge.store.catalogue import Catalogue
from edge.store.site import SiteState

_MATCHED_AT_ONCE = 5000


@dataclass(frozen=True, slots=True)
class Route:
    """Sends what arrives from `since` on and meets every condition; an empty condition holds for all."""

    name: str
    peer: str
    """AE title of a peer; empty where it is a STOW-RS service."""
    url: str
    """Of a STOW-RS service, without the `/studies`; empty where it is a peer."""
    token_file: str
    """A file with a bearer token for it; empty = none."""
    from_ae: str
    urgency: str
    modalities: tuple[str, ...]
    description: str
    """Of study or series, with * and ?, whatever the case."""
    begins: str
    ends: str
    """HH:MM, local time of the reception, up to and without `ends`; over midnight where that is earlier than `begins`."""
    since: float


@dataclass(frozen=True, slots=True)
class Owed:
    """An instance that a route may send now."""

    instance: int
    study: UID
    sop_instance: UID
    sop_class: UID
    attempts: int


@dataclass(frozen=True, slots=True)
class Away:
    """An instance that a route may send as soon as it was recalled."""

    instance: int
    pack: PackId
    dataset_offset: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How a route fares."""

    sent: int
    sent_at: float | None
    failures: int
    """Attempts at the destination that failed, in a row."""
    fault: str | None
    next_at: float
    owed: int
    owed_since: float | None
    refused: int
    """Instances of those owed that the destination did not take."""
    refusal: str | None


class RouteTable:
    """The rules. Every change is flushed. Safe to use from several threads."""

    def __init__(self, site: SiteState) -> None:
        self._site = site

    def all(self) -> list[Route]:
        """Every rule, as it is in force."""
        return [
            Route(
                name=row[0],
                peer=row[1],
                url=row[2],
                token_file=row[3],
                from_ae=row[4],
                urgency=row[5],
                modalities=tuple(json.loads(row[6])),
                description=row[7],
                begins=row[8],
                ends=row[9],
                since=row[10],
            )
            for row in self._site.rows("routes")
        ]

    def put(self, route: Route) -> None:
        """Add a route, or change the one of this name, whose `since` stays."""
        self._site.decide(
            "put_route",
            name=route.name,
            peer=route.peer,
            url=route.url,
            token_file=route.token_file,
            from_ae=route.from_ae,
            urgency=route.urgency,
            modalities=json.dumps(route.modalities),
            description=route.description,
            begins=route.begins,
            ends=route.ends,
            since=route.since,
        )

    def remove(self, name: str) -> bool:
        """False when there is no such route."""
        return self._site.decide("remove_route", name) == 1

    def move_since(self, name: str, since: float) -> None:
        """What arrived before that (seconds since the epoch) need not be sent again should the catalogue have to be made anew."""
        self._site.change("move_since", name=name, since=since)


class Forwards:
    """What routes owe: derived by query from what arrived, so nothing can be forgotten.

    Committed without a flush: what a power cut takes with it is derived, and sent, again. Safe to use from several threads.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def know(self, route: str) -> None:
        """The route begins to look at what arrives. Idempotent."""
        self._catalogue.rows("know_route", route)

    def forget(self, route: str) -> None:
        """It owes nothing any more."""
        self._catalogue.rows("forget_route", route)

    def match(self, route: Route) -> None:
        """Find what the route owes since it looked last."""
        pattern = route.description.lower().replace("[", "[[]")
        while (last := self._catalogue.rows("last_to_match", route=route.name, most=_MATCHED_AT_ONCE)[0][0]) is not None:
            self._catalogue.rows(
                "match_forwards",
                route=route.name,
                last=last,
                since=route.since,
                from_ae=route.from_ae,
                urgency=route.urgency,
                modalities=json.dumps(route.modalities),
                description=pattern,
                begins=route.begins,
                ends=route.ends,
            )
            self._catalogue.rows("matched_upto", route=route.name, last=last)

    def due(self, route: str, now: float, most: int, farthest: float = math.inf) -> list[Owed]:
        """At most so many that are here and may be tried now: in the order of arrival, what was not tried yet first. Nothing is put off
        beyond `farthest` but by a clock that has been set back since: that may be tried now too.
        """
        return [Owed(*row) for row in self._catalogue.rows("due_forwards", route=route, now=now, farthest=farthest, most=most)]

    def away(self, route: str, now: float, most: int, farthest: float = math.inf) -> list[Away]:
        """At most so many that may be tried now and are not here, in the order of arrival; `farthest` as with `due`."""
        rows = self._catalogue.rows("away_forwards", route=route, now=now, farthest=farthest, most=most)
        return [Away(instance, PackId(pack), offset, attempts) for instance, pack, offset, attempts in rows]

    def forwarded(self, route: str, instances: Sequence[int], now: float) -> None:
        """These are there, which also says that the destination can be used."""
        self._catalogue.rows("forwarded", route=route, instances=json.dumps(list(instances)))
        self._catalogue.rows("count_forwarded", route=route, count=len(instances), now=now)

    def failed(self, route: str, instance: int, fault: str, next_at: float) -> None:
        """The destination did not take this one."""
        self._catalogue.rows("forward_failed", route=route, instance=instance, fault=fault, next_at=next_at)

    def destination_failed(self, route: str, fault: str, next_at: float) -> None:
        """The destination could not be used, and why; nothing is tried there before `next_at` (seconds since the epoch)."""
        self._catalogue.rows("destination_failed", route=route, fault=fault, next_at=next_at)

    def trouble(self, route: str) -> tuple[int, float]:
        """How often in a row the destination failed, and when it may be tried again."""
        rows = self._catalogue.rows("forwarding", route)
        return (rows[0][3], rows[0][5]) if rows else (0, 0.0)

    def retry(self, route: str) -> None:
        """Whatever waits may be tried now."""
        self._catalogue.rows("retry_forwards", route)
        self._catalogue.rows("retry_destination", route)

    def standing(self, route: str) -> Standing:
        """How the route fares. Looks at everything that it owes: for people, not for each step."""
        rows = self._catalogue.rows("forwarding", route)
        _, sent, sent_at, failures, fault, next_at = rows[0] if rows else (0, 0, None, 0, None, 0.0)
        ((owed, owed_since, refused, refusal),) = self._catalogue.rows("owed", route)
        return Standing(sent, sent_at, failures, fault, next_at, owed, owed_since, refused, refusal)
