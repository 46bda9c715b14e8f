"""What is taken out of the cache."""

from __future__ import annotations

from edge.control.message import Message


class Evict(Message, frozen=True, tag="evict"):
    """Take the held packs of one study, or of all, out of the cache. Answered by an Evicted for each pack, then Done."""

    study: str | None = None
    dry_run: bool = False


class Evicted(Message, frozen=True, tag="evicted"):
    pack: str
    study: str
    bytes: int


Request = Evict
Answer = Evicted
