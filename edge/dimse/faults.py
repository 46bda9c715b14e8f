"""How an association, or the attempt at one, can end badly. Orderly release is not a fault."""

from __future__ import annotations

from edge.errors import Refused, Transient


class AssociationEnded(Transient):
    """The association ended before its work was done. The peer may open another."""


class PeerGone(AssociationEnded):
    """The peer closed the transport connection without a release. If it happens often, look at its log and at the network."""


class PeerSilent(AssociationEnded):
    """The peer did not send or take data before the deadline, and the association was aborted. Look at the peer and the network."""


class PeerAborted(AssociationEnded):
    """The peer aborted the association. Its log says why."""

    def __init__(self, source: int, reason: int) -> None:
        who = "its upper layer" if source == 2 else "its application"
        super().__init__(f"The peer aborted the association ({who}, reason {reason}). Its log says why.")
        self.source = source
        self.reason = reason


class ProtocolBroken(AssociationEnded):
    """The peer broke the DICOM protocol, and the association was aborted. The message names the rule."""


class Stopping(AssociationEnded):
    """Outpost is stopping, and the association was aborted. The peer may try again when it is back."""


class SourceFailed(AssociationEnded):
    """What was being sent could not be read to its end, and the association was aborted. The message says what failed."""


class NotSecured(AssociationEnded):
    """TLS could not be agreed on with the peer. The message says why; compare certificates, their dates, and TLS versions on both sides."""


class InvalidPdu(Exception):
    """Bytes that are no acceptable PDU (event 19 of PS3.8 table 9-10). `reason` is that of the A-ABORT, PS3.8 table 9-26."""

    UNRECOGNIZED = 1
    UNEXPECTED = 2
    UNRECOGNIZED_PARAMETER = 4
    UNEXPECTED_PARAMETER = 5
    INVALID_PARAMETER = 6

    def __init__(self, reason: int, what: str) -> None:
        super().__init__(what)
        self.reason = reason


class Unreachable(Transient):
    """No transport connection to the peer. Check that it runs, its host, port, and the network between."""


class AssociationRejected(Refused):
    """The peer rejected the association. The message carries its reason (PS3.8 table 9-21)."""

    _REASONS = {
        (1, 1): "no reason given",
        (1, 2): "application context not supported",
        (1, 3): "it does not know our AE title; enter it there",
        (1, 7): "it does not answer to the AE title we call; correct the peer's AE title here",
        (2, 1): "no reason given",
        (2, 2): "protocol version not supported",
        (3, 1): "it is busy",
        (3, 2): "its limit of associations is reached",
    }

    def __init__(self, result: int, source: int, reason: int) -> None:
        why = self._REASONS.get((source, reason), f"reason {source}/{reason}")
        super().__init__(f"The peer rejected the association: {why}.")
        self.result = result
        self.source = source
        self.reason = reason

    @property
    def transient(self) -> bool:
        """The peer says that another attempt may succeed."""
        return self.result == 2


class NoContext(Refused):
    """The peer accepted no presentation context for what was to be done. Compare both conformance statements."""
