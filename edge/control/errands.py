"""What edge may be asked to do at other application entities."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from edge.control.message import Message


class EchoPeer(Message, frozen=True, tag="echo-peer"):
    """Verify a peer (C-ECHO). Answered by one Echoed."""

    ae_title: str


class SendStudy(Message, frozen=True, tag="send-study"):
    """Store a study, or one series of it, at a peer; what is only in the archive is recalled. Answered by a Sent every second, the last
    one final.
    """

    study: str
    ae_title: str
    series: str | None = None


class QueryPeer(Message, frozen=True, tag="query-peer"):
    """Search at a peer (C-FIND). Answered by a Match for each.

    A key is a keyword of PS3.6 or a tag (0010,0020), its value as in PS3.4 section C.2.2.2; an empty one is only returned.
    """

    ae_title: str
    level: Literal["patient", "study", "series", "image"]
    keys: dict[str, str] = msgspec.field(default_factory=dict)


class RetrieveStudy(Message, frozen=True, tag="retrieve-study"):
    """Have a peer send us one of its studies. Answered by a Retrieved for each response of the peer, the last one final.

    `way` is get, move (then the peer must know our AE title and port), or empty for get where the peer offers it.
    """

    ae_title: str
    study: str
    way: Literal["get", "move", ""] = ""


class CommitStudy(Message, frozen=True, tag="commit-study"):
    """Ask a peer to take responsibility for a study that was stored there (storage commitment). Answered by one Committed."""

    ae_title: str
    study: str
    wait_seconds: float = 60.0
    """For its report. What comes later is recorded too."""


class Echoed(Message, frozen=True, tag="echoed"):
    """The peer answered; how long association, echo and release took."""

    milliseconds: float


class Sent(Message, frozen=True, tag="sent"):
    """How many of `total` instances the peer has taken, taken with a warning, or not taken, and why it could not be used any longer."""

    total: int
    completed: int
    warning: int
    failed: int
    fault: str | None = None


class Match(Message, frozen=True, tag="match"):
    """One answer, as an object of the DICOM JSON Model (PS3.18 annex F)."""

    attributes: dict[str, Any]


class Retrieved(Message, frozen=True, tag="retrieved"):
    """How many instances came, with and without a warning, and failed, and how many are still to come; None when the peer does not say."""

    way: str
    completed: int
    warning: int
    failed: int
    remaining: int | None


class Committed(Message, frozen=True, tag="committed"):
    """What the peer reported of `total` instances; `reasons` are the Failure Reasons (0008,1197) of what failed, with their counts. None:
    it took the request, and has not reported yet.
    """

    total: int
    reasons: dict[str, int] | None


Request = EchoPeer | SendStudy | QueryPeer | RetrieveStudy | CommitStudy
Answer = Echoed | Sent | Match | Retrieved | Committed
