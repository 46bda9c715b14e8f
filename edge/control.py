"""What may be asked of edge over its Unix socket, by the command line and edge-web, and the asking end.

One request a connection: a JSON line, with a file descriptor beside it for `Admit`; then JSON lines back, each an answer of this table,
until edge closes. Whoever can open the socket is known by SO_PEERCRED.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from edge import choices, errands
from edge.errands import Message as _Message
from edge.errors import AlreadyRunning, Corrupt, OutpostError, Permanent, Refused, StoreFailed, StoreFull, Transient

LINE_BYTES = 64 << 20
"""Longest answer line; requests are at most 64 KiB."""


class GetStatus(_Message, frozen=True, tag="get-status"):
    """Answered by one Status, then Done, as every request that succeeds."""


class ListStudies(_Message, frozen=True, tag="list-studies"):
    """Answered by a Study for each, newest first."""

    study: str | None = None
    most: int = 1000


class ListPeers(_Message, frozen=True, tag="list-peers"):
    """Answered by a PeerRow for each."""


class PutPeer(_Message, frozen=True, tag="put-peer"):
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


class RemovePeer(_Message, frozen=True, tag="remove-peer"):
    """Answered by Done."""

    ae_title: str


class ListCallers(_Message, frozen=True, tag="list-callers"):
    """Who was turned away because no peer allows it. Answered by a CallerRow for each, last seen first."""


class ApprovePeer(_Message, frozen=True, tag="approve-peer"):
    """Make a peer of a caller that was turned away: from the address where it was seen, with these rights. Answered by the PeerRow.

    `address` says which, where several called under the same AE title.
    """

    ae_title: str
    address: str | None = None
    rights: list[str] | None = None


class CorrectStudy(_Message, frozen=True, tag="correct-study"):
    """Say what is right of a study, on top of what was said before; None says nothing. Answered by the CorrectionRow as it is now."""

    study: str
    patient_name: str | None = None
    """Component groups joined by =."""
    patient_id: str | None = None
    issuer: str | None = None
    birth_date: str | None = None
    sex: str | None = None
    accession: str | None = None
    merge_into: str | None = None
    """The Patient ID of the patient of whom the study is; `issuer` says which, where several have it."""
    rejected: bool | None = None
    undo: bool = False
    """Everything that was said of the study is taken back."""


class ListCorrections(_Message, frozen=True, tag="list-corrections"):
    """Answered by a CorrectionRow for each, newest first."""


class Evict(_Message, frozen=True, tag="evict"):
    """Take the held packs of one study, or of all, out of the cache. Answered by an Evicted for each pack, then Done."""

    study: str | None = None
    dry_run: bool = False


class RecallStudy(_Message, frozen=True, tag="recall-study"):
    """Bring a study, or one series or instance of it, from the archive into the cache.

    Answered by a Recalled whenever more of it is here, and every few seconds meanwhile; by Done when all is, or by Failed.
    """

    study: str
    series: str | None = None
    instance: str | None = None


class Admit(_Message, frozen=True, tag="admit"):
    """Take in one dataset, from the descriptor that comes beside the request, from its position to its end. Answered by Admitted."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    calling_ae: str
    address: str


class Status(_Message, frozen=True, tag="status"):
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
    conflicts: int = 0
    """Studies with an instance among whose variants a person must choose."""
    shared_ids: int = 0
    """Patient IDs that more than one person has."""
    refusals: list[str] = msgspec.field(default_factory=list)
    """What was refused at the wall since start, newest last."""
    notices: list[str] = msgspec.field(default_factory=list)
    """What other application entities do not take: routes, storage commitment reports."""


class Study(_Message, frozen=True, tag="study"):
    """One study and how far it is on its way."""

    study: str
    patient: dict[str, Any]
    attributes: dict[str, Any]
    received_at: float
    series: int
    instances: int
    packs: int
    raw_bytes: int
    coded_bytes: int
    closed: int
    coded: int
    confirmed: int
    objects: int
    held: int
    held_at: float | None
    here: int
    away: int
    stopped: str | None
    availability: str
    state: str
    """received, local, shipping, held or evicted: what all of its packs have reached; or rejected by a person."""


class PeerRow(_Message, frozen=True, tag="peer"):
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


class CallerRow(_Message, frozen=True, tag="caller"):
    """Somebody who asked for an association under this AE title from this address, and was turned away."""

    ae_title: str
    address: str
    called: str
    """The AE title that it called last."""
    reason: str
    first_at: float
    last_at: float
    times: int


class CorrectionRow(_Message, frozen=True, tag="correction"):
    study: str
    attributes: dict[str, Any]
    corrected_at: float
    rejected: bool


class Evicted(_Message, frozen=True, tag="evicted"):
    pack: str
    study: str
    bytes: int


class Recalled(_Message, frozen=True, tag="recalled"):
    """So many of the instances that were asked for are in the cache."""

    here: int
    total: int


class Admitted(_Message, frozen=True, tag="admitted"):
    """`outcome` is the name of an Outcome of edge.dimse.ports in lower case."""

    outcome: str


class Done(_Message, frozen=True, tag="done"):
    pass


class Failed(_Message, frozen=True, tag="failed"):
    """`error` is the name of the nearest class in edge.errors, `sentence` the message with the cure."""

    error: str
    sentence: str


DecisionRequest = CorrectStudy | ListCorrections
PeerRequest = ListPeers | PutPeer | RemovePeer | ListCallers | ApprovePeer
Request = GetStatus | ListStudies | Evict | RecallStudy | Admit | PeerRequest | DecisionRequest | choices.Request | errands.Request
Answer = (
    Status | Study | PeerRow | CallerRow | Evicted | Recalled | Admitted | Done | Failed | CorrectionRow | choices.Answer | errands.Answer
)

encode = msgspec.json.Encoder().encode
decode_request: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
decode_answer: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


class NotRunning(Transient):
    """Outpost does not run on this state directory. Start it with `outpost run --state DIR`."""

    exit_code = 69


def failed(fault: OutpostError) -> Failed:
    """An error as an answer."""
    kind = next((kind.__name__ for kind in type(fault).__mro__ if kind.__name__ in _KINDS), OutpostError.__name__)
    return Failed(error=kind, sentence=str(fault))


def failure(answer: Failed) -> OutpostError:
    """The error that an answer tells of; one that this version does not know is an OutpostError."""
    return _KINDS.get(answer.error, OutpostError)(answer.sentence)


_KINDS: dict[str, type[OutpostError]] = {
    kind.__name__: kind for kind in (Transient, Permanent, Corrupt, Refused, StoreFull, StoreFailed, AlreadyRunning)
}


def ask(path: Path, request: Request, descriptor: int | None = None, timeout_seconds: float | None = None) -> Iterator[Answer]:
    """Send one request to the socket at `path` and yield its answers; Done ends it silently, Failed raises. Blocking.

    Raises NotRunning when nobody listens.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(timeout_seconds)
        try:
            line.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError) as fault:
            raise NotRunning from fault
        message = encode(request) + b"\n"
        if descriptor is None:
            line.sendall(message)
        else:
            socket.send_fds(line, [message], [descriptor])
        with line.makefile("rb") as answers:
            while data := answers.readline(LINE_BYTES):
                answer = decode_answer.decode(data)
                if isinstance(answer, Done):
                    return
                if isinstance(answer, Failed):
                    raise failure(answer)
                yield answer
    raise NotRunning("Outpost ended before it answered. Try again; `outpost run` starts it.")
