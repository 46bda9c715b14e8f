"""Every request and answer, as lines; errors as answers."""

from __future__ import annotations

import msgspec

from edge.control import (
    access,
    cache,
    capacity,
    conflicts,
    corrections,
    errands,
    instances,
    link,
    peers,
    quarantine,
    queue,
    routes,
    scrub,
    status,
    studies,
    verify,
)
from edge.control.message import Done, Failed
from edge.errors import AlreadyRunning, Corrupt, Exhausted, OutpostError, Permanent, Refused, StoreFailed, StoreFull, Transient, Unknown

LINE_BYTES = 64 << 20
"""Longest answer line; requests are at most 64 KiB."""

Request = (
    status.Request
    | studies.Request
    | cache.Request
    | scrub.Request
    | capacity.Request
    | instances.Request
    | peers.Request
    | corrections.Request
    | conflicts.Request
    | quarantine.Request
    | routes.Request
    | errands.Request
    | verify.Request
    | link.Request
    | queue.Request
    | access.Request
)
Answer = (
    Done
    | Failed
    | status.Answer
    | studies.Answer
    | cache.Answer
    | scrub.Answer
    | capacity.Answer
    | instances.Answer
    | peers.Answer
    | corrections.Answer
    | conflicts.Answer
    | quarantine.Answer
    | routes.Answer
    | errands.Answer
    | verify.Answer
    | link.Answer
    | queue.Answer
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
    kind.__name__: kind for kind in (Transient, Permanent, Corrupt, Refused, Unknown, StoreFull, Exhausted, StoreFailed, AlreadyRunning)
}
