"""What edge may be asked about conflicts and quarantine, and what it answers: lines of the control socket (edge.control)."""

from __future__ import annotations

from typing import Literal

from edge.errands import Message


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


class ListQuarantine(Message, frozen=True, tag="list-quarantine"):
    """Answered by a Quarantined for each dataset, newest first."""


class ShowQuarantined(Message, frozen=True, tag="show-quarantined"):
    """Answered by the Quarantined, with what the dataset says it is. A digest may be cut short."""

    digest: str


class ExportQuarantined(Message, frozen=True, tag="export-quarantined"):
    """Write the dataset as a Part 10 file to the descriptor that comes beside the request. Answered by the Quarantined."""

    digest: str


class ReadmitQuarantined(Message, frozen=True, tag="readmit-quarantined"):
    """Take in a dataset that identifies itself, as it is, under what it says itself. Answered by the Quarantined that it was."""

    digest: str


class DiscardQuarantined(Message, frozen=True, tag="discard-quarantined"):
    """Answered by the Quarantined that it was."""

    digest: str


class Conflict(Message, frozen=True, tag="conflict"):
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


class Quarantined(Message, frozen=True, tag="quarantined"):
    digest: str
    reason: str
    bytes: int
    transfer_syntax: str
    source_ae: str
    received_at: float
    identity: list[str] | None = None
    """SOP class, SOP instance, series and study, as the dataset says; None where it does not, or was not looked at."""


ConflictRequest = ListConflicts | ShowConflict | Choose
QuarantineRequest = ListQuarantine | ShowQuarantined | ExportQuarantined | ReadmitQuarantined | DiscardQuarantined
Request = ConflictRequest | QuarantineRequest
Answer = Conflict | SharedId | VariantRow | Chosen | Quarantined
