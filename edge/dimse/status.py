"""One table: what happened -> DIMSE status (PS3.7 annex C, PS3.4 tables B.2-1, C.4-1, C.4-2, C.4-3)."""

from __future__ import annotations

import enum

from edge.dimse.ports import Outcome
from edge.errors import Corrupt, OutpostError, Permanent, Refused, StoreFailed, StoreFull, Transient
from edge.model import Peer

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
NO_SUCH_INSTANCE = 0x0112
NO_SUCH_EVENT = 0x0113
INVALID_ARGUMENT = 0x0115
INVALID_SOP_INSTANCE = 0x0117
NO_SUCH_CLASS = 0x0118
CLASS_CONFLICT = 0x0119
"""Storage commitment: the instance is not of the SOP class that was said (PS3.3 section C.14.1.1)."""
SOP_CLASS_NOT_SUPPORTED = 0x0122
NO_SUCH_ACTION = 0x0123
NOT_AUTHORIZED = 0x0124
DUPLICATE_TRANSACTION = 0x0131
"""Storage commitment: the transaction UID was used before."""
UNRECOGNIZED_OPERATION = 0x0211
RESOURCE_LIMITATION = 0x0213
OUT_OF_RESOURCES = 0xA700
"""Storage: no room. Query: more matches than the cap; those that were told before it stand. (0xB001, a limit that a further request
goes past, is for queries that a record key continues, which Patient Root and Study Root do not have.)
"""
CANNOT_PERFORM_SUBOPERATIONS = 0xA702
DESTINATION_UNKNOWN = 0xA801
DATASET_MISMATCH = 0xA900
"""Storage: the dataset is not of the SOP class. Query and retrieve: the identifier is not of the SOP class."""
SUBOPERATIONS_INCOMPLETE = 0xB000
CANNOT_UNDERSTAND = 0xC000
CANNOT_PROCESS = 0xC001
CANCELLED = 0xFE00
PENDING = 0xFF00
PENDING_WITHOUT_SOME_KEYS = 0xFF01
"""A match, but one or more optional keys are not supported (PS3.4 table C.4-1)."""


class Service(enum.Enum):
    """What was asked for; the same error has different codes in different services."""

    STORE = "store"
    FIND = "find"
    RETRIEVE = "retrieve"
    COMMIT = "commit"


_STORE_MEANINGS = {
    PROCESSING_FAILURE: "it could not be stored",
    INVALID_SOP_INSTANCE: "its SOP Instance UID is no UID",
    SOP_CLASS_NOT_SUPPORTED: "its SOP class is not that of the presentation context",
    NOT_AUTHORIZED: "it is not allowed",
    OUT_OF_RESOURCES: "there is no room for it",
    DATASET_MISMATCH: "it contradicts itself",
    CANNOT_UNDERSTAND: "it could not be identified",
}

_MEANINGS = {
    PROCESSING_FAILURE: "it could not be done",
    NO_SUCH_INSTANCE: "it names another SOP instance than that of storage commitment",
    NO_SUCH_EVENT: "it tells of another event than those of storage commitment",
    INVALID_ARGUMENT: "it cannot be read, or answers what was not asked for here",
    NO_SUCH_CLASS: "it names another SOP class than that of storage commitment",
    NO_SUCH_ACTION: "it asks for another action than that of storage commitment",
    NOT_AUTHORIZED: "it is not allowed",
    UNRECOGNIZED_OPERATION: "its presentation context is for other operations",
    RESOURCE_LIMITATION: "there is no room for it",
    DATASET_MISMATCH: "its identifier breaks the information model",
}

_OUTCOMES = {
    Outcome.STORED: SUCCESS,
    Outcome.DUPLICATE: SUCCESS,
    Outcome.VARIANT: SUCCESS,
    Outcome.CONTRADICTORY: DATASET_MISMATCH,
    Outcome.UNIDENTIFIED: CANNOT_UNDERSTAND,
}

_ERRORS: dict[tuple[Service, type[OutpostError]], int] = {
    (Service.STORE, StoreFull): OUT_OF_RESOURCES,
    (Service.STORE, StoreFailed): PROCESSING_FAILURE,
    (Service.STORE, Transient): OUT_OF_RESOURCES,
    (Service.STORE, Refused): NOT_AUTHORIZED,
    (Service.STORE, OutpostError): PROCESSING_FAILURE,
    (Service.FIND, Transient): OUT_OF_RESOURCES,
    (Service.FIND, Refused): NOT_AUTHORIZED,
    (Service.FIND, Corrupt): PROCESSING_FAILURE,
    (Service.FIND, Permanent): CANNOT_PROCESS,
    (Service.FIND, OutpostError): PROCESSING_FAILURE,
    (Service.RETRIEVE, Transient): CANNOT_PERFORM_SUBOPERATIONS,
    (Service.RETRIEVE, Refused): CANNOT_PERFORM_SUBOPERATIONS,
    (Service.RETRIEVE, OutpostError): CANNOT_PERFORM_SUBOPERATIONS,
    (Service.COMMIT, Transient): RESOURCE_LIMITATION,
    (Service.COMMIT, Refused): INVALID_ARGUMENT,
    (Service.COMMIT, OutpostError): PROCESSING_FAILURE,
}


def of_outcome(outcome: Outcome, peer: Peer) -> int:
    """The C-STORE status; what went to quarantine is a success for peers that would send it for ever."""
    if peer.accept_quarantined and outcome in {Outcome.CONTRADICTORY, Outcome.UNIDENTIFIED}:
        return SUCCESS
    return _OUTCOMES[outcome]


def of_error(service: Service, error: OutpostError) -> int:
    """The status of the nearest error type in the table."""
    for kind in type(error).__mro__:
        if (service, kind) in _ERRORS:
            return _ERRORS[service, kind]
    raise LookupError(f"{service} has no row for OutpostError")


def meaning_in_storage(code: int) -> str:
    """A failure status of a C-STORE in words, for people and the audit trail."""
    return _STORE_MEANINGS.get(code, f"status {code:04X}")


def meaning(code: int) -> str:
    """A failure status of any other request in words."""
    return _MEANINGS.get(code, f"status {code:04X}")


def is_pending(status: int) -> bool:
    """More responses follow (PS3.7 annex C.4)."""
    return status in {PENDING, PENDING_WITHOUT_SOME_KEYS}


def is_warning(status: int) -> bool:
    """Done, with something to know (PS3.7 annex C.2)."""
    return status in {0x0001, 0x0107, 0x0116} or status & 0xF000 == 0xB000
