"""SOP classes and transfer syntaxes: what each one is for. The tables are those of pydicom and pynetdicom."""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass

from pydicom.uid import UID_dictionary
from pynetdicom.service_class import NonPatientObjectStorageServiceClass
from pynetdicom.sop_class import uid_to_service_class

from edge.model import UID, Level

VERIFICATION = UID("1.2.840.10008.1.1")
STORAGE_SERVICE = UID("1.2.840.10008.4.2")
STORAGE_COMMITMENT = UID("1.2.840.10008.1.20.1")
"""Storage Commitment Push Model SOP Class (PS3.4 section J.3)."""
IMPLICIT_LE = UID("1.2.840.10008.1.2")
EXPLICIT_LE = UID("1.2.840.10008.1.2.1")
DEFLATED_LE = UID("1.2.840.10008.1.2.1.99")
EXPLICIT_BE = UID("1.2.840.10008.1.2.2")
MADE_NATIVE = frozenset(
    UID(f"1.2.840.10008.1.2.{rest}")
    for rest in ("1.99", "2", "5", *(f"4.{jpeg}" for jpeg in (50, 51, 57, 70, 80, 81, 90, 91, 201, 202, 203)))
)
"""What a destination gets in Little Endian where it refuses it as it is: deflated, big endian, RLE, JPEG, JPEG-LS, JPEG 2000, HTJ2K."""
LITTLE_ENDIAN = (EXPLICIT_LE, IMPLICIT_LE)
"""The two that every SOP class can be had in, the better one first."""


@dataclass(frozen=True, slots=True)
class Root:
    """A query/retrieve information model (PS3.4 section C.6): its levels from the top, and its three SOP classes."""

    levels: tuple[Level, ...]
    find: UID
    move: UID
    get: UID


PATIENT_ROOT = Root(
    (Level.PATIENT, Level.STUDY, Level.SERIES, Level.IMAGE),
    UID("1.2.840.10008.5.1.4.1.2.1.1"),
    UID("1.2.840.10008.5.1.4.1.2.1.2"),
    UID("1.2.840.10008.5.1.4.1.2.1.3"),
)
STUDY_ROOT = Root(
    (Level.STUDY, Level.SERIES, Level.IMAGE),
    UID("1.2.840.10008.5.1.4.1.2.2.1"),
    UID("1.2.840.10008.5.1.4.1.2.2.2"),
    UID("1.2.840.10008.5.1.4.1.2.2.3"),
)
_ROOTS = (PATIENT_ROOT, STUDY_ROOT)


class Purpose(enum.Enum):
    """What a presentation context serves."""

    VERIFICATION = "verification"
    STORAGE = "store"
    FIND = "find"
    MOVE = "move"
    GET = "get"
    COMMIT = "commit"


QUERY_ROOTS: dict[UID, tuple[Purpose, Root]] = {
    **{root.find: (Purpose.FIND, root) for root in _ROOTS},
    **{root.move: (Purpose.MOVE, root) for root in _ROOTS},
    **{root.get: (Purpose.GET, root) for root in _ROOTS},
}

_NO_INSTANCES = {"1.2.840.10008.1.3.10", "1.2.840.10008.1.20.2"}
"""Named storage, but no composite instance is sent with them: DICOMDIR and the retired pull model of storage commitment."""


@functools.lru_cache(maxsize=1024)
def purpose(abstract_syntax: UID) -> Purpose | None:
    """What the abstract syntax is for, or None where we offer nothing for it. What nobody knows is taken for a private storage class."""
    if abstract_syntax == VERIFICATION:
        return Purpose.VERIFICATION
    if abstract_syntax == STORAGE_COMMITMENT:
        return Purpose.COMMIT
    if abstract_syntax in QUERY_ROOTS:
        return QUERY_ROOTS[abstract_syntax][0]
    entry = UID_dictionary.get(abstract_syntax)
    if entry is None:
        return Purpose.STORAGE
    if entry[1] != "SOP Class" or "Storage" not in entry[0] or abstract_syntax in _NO_INSTANCES:
        return None
    # Protocols, palettes, implant templates: they belong to no study.
    return None if issubclass(uid_to_service_class(abstract_syntax), NonPatientObjectStorageServiceClass) else Purpose.STORAGE


@functools.cache
def every_storage_class() -> tuple[UID, ...]:
    """The storage classes of PS3.6 that are not retired, those with the shortest UIDs, which are the oldest and commonest, first."""
    known = (UID(uid) for uid, entry in UID_dictionary.items() if entry[3] != "Retired")
    return tuple(sorted((uid for uid in known if purpose(uid) is Purpose.STORAGE), key=lambda uid: (len(uid), uid)))


_LOSSLESS = {
    DEFLATED_LE,
    "1.2.840.10008.1.2.1.98",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.58",
    "1.2.840.10008.1.2.4.65",
    "1.2.840.10008.1.2.4.66",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.92",
    "1.2.840.10008.1.2.4.110",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.8.1",
}


def preferred(offered: tuple[UID, ...]) -> UID:
    """Of the transfer syntaxes of one context the one that loses least: explicit, implicit, lossless, private, and only then lossy."""
    return min(offered, key=_loss)


def _loss(syntax: UID) -> int:
    if syntax in LITTLE_ENDIAN:
        return LITTLE_ENDIAN.index(syntax)
    if syntax in _LOSSLESS:
        return 2
    return 4 if syntax in UID_dictionary else 3
