"""How the archive is compared with what it should hold."""

from __future__ import annotations

from edge.control.message import Message

MENDING = "The cache holds it whole: it is shipped once more, under another name."
CURE = (
    "The cache does not hold it whole, so it cannot be shipped again: have the study sent again, or bring the object back from a copy of"
    " the archive."
)
"""What is said of a pack whose copy is not whole."""


class GetVerify(Message, frozen=True, tag="get-verify"):
    """Answered by one Verified where a comparison is under way or has ended, and a Hurt for each pack whose copy is not whole."""


class StartVerify(Message, frozen=True, tag="start-verify"):
    """Begin one now, from the start, and read `percent` (0 to 100) of the archive. Answered by a Verified whenever it has come further, the
    last one final, then by a Hurt for each pack that is not whole, or was not when it was looked at. Who goes early does not end it.
    """

    percent: float = 0.0


class Verified(Message, frozen=True, tag="verified"):
    """How far a comparison of the archive is."""

    percent: float
    """So much of the objects is read."""
    began_at: float
    """Seconds since the epoch."""
    ended_at: float | None
    done: float
    """From 0 to 1."""
    objects: int
    """That were looked for by name and size."""
    read_objects: int
    read_bytes: int
    damaged: int
    """Packs."""
    faults: list[str]
    """What is wrong with the catalog or with site state: sentences with the cure."""
    hindered: str = ""
    """Why it does not go on now."""


class Hurt(Message, frozen=True, tag="hurt"):
    """A pack whose copy in the archive is not whole."""

    study: str
    accession: str
    pack: str
    reason: str
    mending: bool
    """The cache has it whole, and it is shipped once more. Else a person has to act."""


Request = GetVerify | StartVerify
Answer = Verified | Hurt
