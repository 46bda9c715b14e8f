"""How Outpost is: the figures behind the one sentence, and the sentence."""

from __future__ import annotations

import msgspec

from edge.control.message import Message


class GetStatus(Message, frozen=True, tag="get-status"):
    """Answered by one Status, then Done, as every request that succeeds."""


class Status(Message, frozen=True, tag="status"):
    """The figures behind the one sentence, and the sentence."""

    sentence: str
    lamp: str
    """green, amber or red."""
    site: str
    ae_title: str
    studies: int
    instances: int
    waiting_studies: int
    waiting_bytes: int
    oldest_waiting_at: float | None
    last_held_at: float | None
    stopped: int
    receiving: int
    link_state: str
    link_since: float | None
    link_sentence: str
    goodput_bytes_per_second: float
    catalog_sequence: int
    """Number of the last segment of the archive's catalog: what `outpost restore --last-sequence` wants; 0 before it was heard of."""
    cache_bytes: int
    cache_max_bytes: int
    free_bytes: int
    quarantined: int
    dropped: int = 0
    """Studies of which something is not to be archived, as a person decided."""
    conflicts: int = 0
    """Studies with an instance among whose variants a person must choose."""
    shared_ids: int = 0
    """Patient IDs that more than one person has."""
    refusals: list[str] = msgspec.field(default_factory=list)
    """What was refused at the wall since start, newest last."""
    alarms: list[str] = msgspec.field(default_factory=list)
    """What a person must see to: instances that are lost, a disk that is full or will be within a day."""
    drilled_at: float | None = None
    """When the restore was rehearsed last; None when it never was."""
    notices: list[str] = msgspec.field(default_factory=list)
    """What other application entities do not take: routes, storage commitment reports."""


Request = GetStatus
Answer = Status
