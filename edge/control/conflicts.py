"""Instances that came twice and differ, and Patient IDs of several people."""

from __future__ import annotations

from typing import Literal

from edge.control.message import Message


class ListConflicts(Message, frozen=True, tag="list-conflicts"):
    """Answered by a Conflict for each study, the oldest first, and a SharedId for each Patient ID that several people have."""


class ShowConflict(Message, frozen=True, tag="show-conflict"):
    """Answered by a VariantRow for each variant of each instance that is in conflict."""

    study: str


class Choose(Message, frozen=True, tag="choose"):
    """Keep, of each instance of a study that is in conflict, or of one, the variant that is visible, or the newest. Answered by Chosen."""

    study: str
    keep: Literal["first", "newest"]
    instance: str | None = None


class Conflict(Message, frozen=True, tag="conflict"):
    """A study with instances among whose variants a person must choose, since when (seconds since the epoch), and why."""

    study: str
    instances: int
    since: float
    reasons: list[str]


class SharedId(Message, frozen=True, tag="shared-id"):
    """One Patient ID and issuer that several people have, by their birth dates, or their sexes and names."""

    patient_id: str
    issuer: str
    people: int


class VariantRow(Message, frozen=True, tag="variant"):
    """One variant of an instance, by UIDs and digest; `standing` is its class, None for the first, `because` why it is a conflict."""

    series: str
    instance: str
    digest: str
    received_at: float
    source_ae: str
    bytes: int
    visible: bool
    standing: str | None
    because: str | None


class Chosen(Message, frozen=True, tag="chosen"):
    """A choice was made for so many instances; it shows within seconds."""

    instances: int


Request = ListConflicts | ShowConflict | Choose
Answer = Conflict | SharedId | VariantRow | Chosen
