"""Who may talk to Outpost, and who was turned away."""

from __future__ import annotations

from edge.control.message import Message


class ListPeers(Message, frozen=True, tag="list-peers"):
    """Answered by a PeerRow for each."""


class PutPeer(Message, frozen=True, tag="put-peer"):
    """Add or change a peer; in force for its next association. What is None stays as it is, or is the default of a new peer.

    The fields are those of edge.model.Peer. Answered by the PeerRow as it is now.
    """

    ae_title: str
    address: str | None = None
    host: str | None = None
    port: int | None = None
    tls: bool | None = None
    tls_subject: str | None = None
    user_name: str | None = None
    passcode: str | None = None
    """In clear; it is kept as a hash."""
    rights: list[str] | None = None
    accept_syntaxes: list[str] | None = None
    max_pdu_bytes: int | None = None
    idle_seconds: float | None = None
    max_associations: int | None = None
    send_associations: int | None = None
    default_issuer: str | None = None
    query_charset: str | None = None
    commitment: str | None = None
    report_after_seconds: float | None = None
    commitment_falls_back: bool | None = None
    urgency: str | None = None
    send_skip_sop_classes: list[str] | None = None
    accept_quarantined: bool | None = None
    retrieve_limit_seconds: float | None = None


class RemovePeer(Message, frozen=True, tag="remove-peer"):
    """Answered by Done."""

    ae_title: str


class ListCallers(Message, frozen=True, tag="list-callers"):
    """Who was turned away because no peer allows it. Answered by a CallerRow for each, last seen first."""


class ApprovePeer(Message, frozen=True, tag="approve-peer"):
    """Make a peer of a caller that was turned away: from the address where it was seen, with these rights. Answered by the PeerRow.

    `address` says which, where several called under the same AE title.
    """

    ae_title: str
    address: str | None = None
    rights: list[str] | None = None


class PeerRow(Message, frozen=True, tag="peer"):
    """A peer with every field of edge.model.Peer, lists sorted."""

    ae_title: str
    address: str
    host: str
    port: int
    tls: bool
    tls_subject: str
    user_name: str
    passcode: bool
    """Whether one is asked for."""
    rights: list[str]
    accept_syntaxes: list[str]
    max_pdu_bytes: int
    idle_seconds: float
    max_associations: int
    send_associations: int
    default_issuer: str
    query_charset: str
    commitment: str
    report_after_seconds: float
    commitment_falls_back: bool
    urgency: str
    send_skip_sop_classes: list[str]
    accept_quarantined: bool
    retrieve_limit_seconds: float


class CallerRow(Message, frozen=True, tag="caller"):
    """Somebody who asked for an association under this AE title from this address, and was turned away."""

    ae_title: str
    address: str
    called: str
    """The AE title that it called last."""
    reason: str
    first_at: float
    last_at: float
    times: int


Request = ListPeers | PutPeer | RemovePeer | ListCallers | ApprovePeer
Answer = PeerRow | CallerRow
