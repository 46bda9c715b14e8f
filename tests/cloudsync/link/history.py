"""A clinic and its link over weeks, in a moment: the shipping laws at work on a link whose every whim comes from a seed.

Time goes from part to part. The link is as fast as its hour, its week and its luck have it, loses parts, and is away for minutes, hours,
and in the end for ten days. What is sent is one part after the other, which is what pre-emption "at the next part" is about; how many are
in flight at once is tried apart from this.
"""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass, field

from cloudsync.link.backoff import Backoff
from cloudsync.link.order import Turn, choose
from edge.model import FRESH_SECONDS

DAY = 86_400.0
SLOT = 300.0
"""The link is steady for so long."""
PARTS = 8
BEGIN = 20_000 * DAY
RANKS = {"stat": 0, "routine": 1, "background": 2}


@dataclass(frozen=True, slots=True)
class Piece:
    """One object of a study."""

    study: int
    number: int
    rank: int
    plain_bytes: int
    received_at: float


@dataclass(slots=True)
class Study:
    number: int
    urgency: str
    received_at: float
    bytes: int
    confirmed: set[int] = field(default_factory=set)
    held_at: float | None = None

    def pieces(self) -> list[Piece]:
        size = self.bytes // PARTS
        return [Piece(self.number, number, RANKS[self.urgency], size, self.received_at) for number in range(PARTS)]


@dataclass(frozen=True, slots=True)
class Sent:
    piece: Piece
    at: float
    fresh: bool
    both: bool
    """A fresh and a backlogged one of its class waited."""


class Link:
    """Bytes a second at each time, 0 while it is away."""

    def __init__(self, source: random.Random, days: int, outage: tuple[float, float]) -> None:
        """`outage` is when the long one begins and ends, in seconds since BEGIN."""
        self.base = math.exp(source.uniform(math.log(16e3), math.log(400e3)))
        self.loss = source.choice([0.0, 0.02, 0.05])
        depth, busiest = source.uniform(0.1, 0.7), source.uniform(10, 20)
        fast = slow = 0.0
        self.slots: list[float] = []
        away_until = 0.0
        for slot in range(int(days * DAY / SLOT)):
            at = slot * SLOT
            fast += -fast * SLOT / 1200 + 0.25 * math.sqrt(2 * SLOT / 1200) * source.gauss(0, 1)
            slow += -slow * SLOT / (1.5 * DAY) + 0.2 * math.sqrt(2 * SLOT / (1.5 * DAY)) * source.gauss(0, 1)
            if source.random() < 3 * SLOT / DAY:
                away_until = max(away_until, at + source.expovariate(1 / 480))
            if source.random() < 0.3 * SLOT / DAY:
                away_until = max(away_until, at + source.uniform(3600, 4 * 3600))
            hour = at % DAY / 3600
            daily = 1 - depth * (0.5 + 0.5 * math.cos((hour - busiest) / 24 * math.tau))
            away = at < away_until or outage[0] <= at < outage[1]
            self.slots.append(0.0 if away else self.base * daily * math.exp(fast + slow))

    def at(self, when: float) -> float:
        return self.slots[min(len(self.slots) - 1, int((when - BEGIN) / SLOT))]

    def next_slot(self, when: float) -> float:
        return BEGIN + (int((when - BEGIN) / SLOT) + 1) * SLOT


class Clinic:
    """40 studies a day, and what became of them."""

    def __init__(self, seed: int, *, before: int = 8, outage: int = 10, after: int = 30, per_day: int = 40) -> None:
        self.source = random.Random(seed)
        self.outage = (before * DAY, (before + outage) * DAY + 8 * 3600)
        self.days = before + outage + after
        self.link = Link(self.source, self.days, self.outage)
        usual = sum(self.link.slots) * SLOT / (self.days - outage)
        mean = usual * self.source.uniform(0.05, 0.4) / per_day
        self.studies = self._studies(per_day, before + outage + 14, mean)
        self.now = BEGIN
        self.sent: list[Sent] = []
        self.attempts = 0
        self._turn = Turn()
        self._backoff = Backoff()
        self._kinds: dict[tuple[bool, int], deque[Piece]] = {(fresh, rank): deque() for fresh in (True, False) for rank in range(3)}
        self._arrived = 0
        self._waiting: set[int] = set()

    def _studies(self, per_day: int, days: int, mean: float) -> list[Study]:
        arrivals = sorted(BEGIN + day * DAY + self.source.uniform(8, 18) * 3600 for day in range(days) for _ in range(per_day))
        return [
            Study(
                number,
                self.source.choices(["stat", "routine", "background"], [1, 38, 1])[0],
                at,
                max(PARTS, int(mean * math.exp(self.source.gauss(-0.32, 0.8)))),
            )
            for number, at in enumerate(arrivals)
        ]

    @property
    def back_at(self) -> float:
        """When the long outage ends."""
        return BEGIN + self.outage[1]

    def run(self) -> None:
        """Until everything is off-site."""
        while self._arrived < len(self.studies) or self._waiting:
            self._receive()
            if not self._waiting:
                self.now = self.studies[self._arrived].received_at
                continue
            self._send()

    def _receive(self) -> None:
        while self._arrived < len(self.studies) and self.studies[self._arrived].received_at <= self.now:
            study = self.studies[self._arrived]
            self._kinds[True, RANKS[study.urgency]].extend(study.pieces())
            self._waiting.add(study.number)
            self._arrived += 1
        for rank in range(3):  # what was fresh is no more
            fresh, backlog = self._kinds[True, rank], self._kinds[False, rank]
            while fresh and self.now - fresh[0].received_at >= FRESH_SECONDS:
                backlog.append(fresh.popleft())

    def _first(self, fresh: bool) -> list[Piece]:
        return next(([kind[0]] for rank in range(3) if (kind := self._kinds[fresh, rank])), [])

    def _send(self) -> None:
        fresh, backlog = self._first(True), self._first(False)
        (piece,), turn = choose(fresh, backlog, 1, self._turn)
        began, both = self.now, bool(fresh and backlog and fresh[0].rank == backlog[0].rank)
        if not self._transfer(piece):
            return
        self._turn = turn
        of_fresh = bool(fresh) and piece is fresh[0]
        self._kinds[of_fresh, piece.rank].popleft()
        self.sent.append(Sent(piece, began, of_fresh, both))
        study = self.studies[piece.study]
        assert piece.number not in study.confirmed
        study.confirmed.add(piece.number)
        if len(study.confirmed) == PARTS:
            study.held_at = self.now
            self._waiting.discard(study.number)

    def _transfer(self, piece: Piece) -> bool:
        """Send one part; False when it was lost on the way, after which the back-off was waited out, or the link came back."""
        left = float(piece.plain_bytes)
        lost = self.source.random() < self.link.loss
        while left > 1e-3:
            speed, edge = self.link.at(self.now), self.link.next_slot(self.now)
            if speed <= 0 or (lost and left < piece.plain_bytes / 2):
                self._fail()
                return False
            step = min(edge - self.now, left / speed)
            left -= step * speed
            self.now = edge if step == edge - self.now else self.now + step
        self.attempts = 0
        return True

    def _fail(self) -> None:
        self.attempts += 1
        self.now += self._backoff.wait_seconds(self.attempts, self.source.random())
