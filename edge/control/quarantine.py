"""What could not be filed."""

from __future__ import annotations

from edge.control.message import Message


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


class Quarantined(Message, frozen=True, tag="quarantined"):
    """A dataset that was set aside: the SHA-256 of its bytes, why, from whom, and when (seconds since the epoch)."""

    digest: str
    reason: str
    bytes: int
    transfer_syntax: str
    source_ae: str
    received_at: float
    identity: list[str] | None = None
    """SOP class, SOP instance, series and study, as the dataset says; None where it does not, or was not looked at."""


Request = ListQuarantine | ShowQuarantined | ExportQuarantined | ReadmitQuarantined | DiscardQuarantined
Answer = Quarantined
