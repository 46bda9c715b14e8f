"""Who may come in: decided purely, from the peer table and what the transport knows of the caller. Deny by default."""

from __future__ import annotations

import collections
import enum
import ipaddress
import threading
from dataclasses import dataclass

from edge.dimse.negotiation import BUSY, NO_REASON, TOO_MANY_FROM_YOU, UNKNOWN_CALLING_AE, Rejection
from edge.model import AETitle, Peer


@dataclass(frozen=True, slots=True)
class Knock:
    """Who asks for an association, as far as the transport knows."""

    address: str
    subject: str | None = None
    """Of the verified certificate, as RFC 4514 writes it; empty where none was shown; None without TLS."""


class Denial(enum.Enum):
    """Why somebody is not let in who asked for one of our AE titles."""

    UNKNOWN = "no peer has this AE title"
    ELSEWHERE = "the peer of this AE title calls from another address"
    PLAIN = "the peer of this AE title has to call with TLS"
    OTHER_SUBJECT = "the peer of this AE title has another certificate subject"
    OTHER_USER = "the peer of this AE title says that it is another user, or none, or has another passcode"
    TOO_MANY = "the peer has as many associations as it may"
    FULL = "as many associations are open as may be"

    @property
    def rejection(self) -> Rejection:
        """What the caller is told, which is no more than it has to know."""
        return {Denial.OTHER_USER: NO_REASON, Denial.TOO_MANY: TOO_MANY_FROM_YOU, Denial.FULL: BUSY}.get(self, UNKNOWN_CALLING_AE)

    def cure(self, calling: AETitle) -> str:
        """What lets it in, as the end of a log line; empty where that is not one command."""
        return f". If it may: outpost peers approve {calling!r}" if self is Denial.UNKNOWN else ""

    @property
    def is_transient(self) -> bool:
        """The caller is whom it says it is, and may try again."""
        return self.rejection.result == BUSY.result


def judge(peer: Peer | None, knock: Knock) -> Denial | None:
    """Whether the caller is that peer; None when it is."""
    if peer is None:
        return Denial.UNKNOWN
    if peer.address and not _within(knock.address, peer.address):
        return Denial.ELSEWHERE
    if peer.tls_subject and knock.subject is None:
        return Denial.PLAIN
    if peer.tls_subject and knock.subject != peer.tls_subject:
        return Denial.OTHER_SUBJECT
    return None


class Seats:
    """How many associations there are, and how many each peer has. Safe to use from several threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: collections.Counter[AETitle] = collections.Counter()
        self._lock = threading.Lock()

    @property
    def full(self) -> bool:
        """Nobody would get one now, whoever asks."""
        with self._lock:
            return self._taken.total() >= self._most

    def take(self, peer: Peer) -> Denial | None:
        """None, which obliges to `leave`; or why the peer gets none."""
        with self._lock:
            if self._taken.total() >= self._most:
                return Denial.FULL
            if peer.max_associations and self._taken[peer.ae_title] >= peer.max_associations:
                return Denial.TOO_MANY
            self._taken[peer.ae_title] += 1
            return None

    def leave(self, peer: Peer) -> None:
        with self._lock:
            self._taken[peer.ae_title] -= 1
            if not self._taken[peer.ae_title]:
                del self._taken[peer.ae_title]


def _within(address: str, network: str) -> bool:
    found = ipaddress.ip_address(address)
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found) in ipaddress.ip_network(network, strict=False)
