"""What leaves the cache, and what stays."""

from __future__ import annotations

from edge.control.message import Message


class Evict(Message, frozen=True, tag="evict"):
    """Take the held packs of one study, or of all, out of the cache, whatever their age; with `dry_run` only say which.

    Answered by an Evicted for each pack that goes, and a Stays for each reason why studies stay. Refused for a study that is not known.
    """

    study: str | None = None
    dry_run: bool = False


class NoteUse(Message, frozen=True, tag="note-use"):
    """Instances of these packs were retrieved, over DICOMweb; at most 1,000 packs."""

    packs: list[str]


class PinStudy(Message, frozen=True, tag="pin-study"):
    """Keep a study in the cache, until a time (seconds since the epoch) or for good. Answered by the Pinned as it is now."""

    study: str
    until: float | None = None


class UnpinStudy(Message, frozen=True, tag="unpin-study"):
    """A study need not stay any more."""

    study: str


class ListPins(Message, frozen=True, tag="list-pins"):
    """Answered by a Pinned for each, the newest first."""


class Evicted(Message, frozen=True, tag="evicted"):
    """A pack that went out of the cache, or would: its id, the UID of its study, and what it freed."""

    pack: str
    study: str
    bytes: int


class Stays(Message, frozen=True, tag="stays"):
    """So many studies stay with one pack or more, for a reason that is read behind "is" or "are"."""

    reason: str
    studies: int


class Pinned(Message, frozen=True, tag="pinned"):
    """A pin: the UID of the study, and times in seconds since the epoch; `until` None = until it is taken back."""

    study: str
    until: float | None
    pinned_at: float
    here: int
    """Packs of it that are in the cache as a whole, of `packs`."""
    packs: int


Request = Evict | NoteUse | PinStudy | UnpinStudy | ListPins
Answer = Evicted | Stays | Pinned
