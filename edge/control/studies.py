"""Which studies there are, and bringing them back from the archive."""

from __future__ import annotations

from typing import Any

from edge.control.message import Message


class ListStudies(Message, frozen=True, tag="list-studies"):
    """Answered by a Study for each, newest first."""

    study: str | None = None
    most: int = 1000


class RecallStudy(Message, frozen=True, tag="recall-study"):
    """Bring a study, or one series or instance of it, from the archive into the cache.

    Answered by a Recalled whenever more of it is here, and every few seconds meanwhile; by Done when all is, or by Failed.
    """

    study: str
    series: str | None = None
    instance: str | None = None


class ListAway(Message, frozen=True, tag="list-away"):
    """Answered by an Away for each study of which the archive alone has packs, newest first: those that have series of a modality, unless
    it is empty, and were received since a time.
    """

    modality: str = ""
    since: float = 0.0
    most: int = 1000


class Away(Message, frozen=True, tag="away"):
    """A study of which packs are not in the cache."""

    study: str
    bytes: int
    """Of those packs."""
    fits: bool
    """The cache has room for it and for the newer ones, and is not brought over its low mark by them."""


class RetryStudies(Message, frozen=True, tag="retry-studies"):
    """Have what waits for a person of one study, or of all, go on its way to the archive. Answered by a Retried for each pack."""

    study: str | None = None


class Study(Message, frozen=True, tag="study"):
    """One study and how far it is on its way."""

    study: str
    patient: dict[str, Any]
    attributes: dict[str, Any]
    received_at: float
    series: int
    instances: int
    packs: int
    raw_bytes: int
    coded_bytes: int
    closed: int
    coded: int
    confirmed: int
    objects: int
    held: int
    held_at: float | None
    here: int
    away: int
    stopped: str | None
    availability: str
    state: str
    """received, local, shipping, held or evicted: what all of its packs have reached; or rejected by a person."""
    origins: list[str] = []
    """The ids of the other sites that shipped packs of it, where they are followed."""


class Recalled(Message, frozen=True, tag="recalled"):
    """So many of the instances that were asked for are in the cache."""

    here: int
    total: int


class Retried(Message, frozen=True, tag="retried"):
    """A pack that was stopped on its way to the archive and goes on."""

    pack: str
    study: str
    coded_anew: bool
    """It was not in the outbox as it had been coded; else it goes on where it was."""


Request = ListStudies | RecallStudy | ListAway | RetryStudies
Answer = Study | Recalled | Away | Retried
