"""The values that everything else speaks of. Parsed at the border, frozen inside."""

from __future__ import annotations

import base64
import enum
import hashlib
import os
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NewType

UID = NewType("UID", str)
Digest = NewType("Digest", str)
"""SHA-256 in 64 lower-case hexadecimal digits. Of an instance: of its dataset bytes exactly as received, without file meta."""
PackId = NewType("PackId", str)
"""128 random bits in 26 characters of lower-case base32. No UID ever touches a path of ours."""
AETitle = NewType("AETitle", str)

Json = dict[str, Any]
"""A dataset in the DICOM JSON Model (PS3.18 Annex F), keyed by eight upper-case hexadecimal digits."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_PACK_ID = re.compile(r"[a-z2-7]{26}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_AE = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")


def parse_uid(text: str) -> UID | None:
    """A UID of PS3.5 section 9.1, or None. Trailing NUL and space are stripped; leading zeros in a component are tolerated."""
    text = text.rstrip("\0 ")
    return UID(text) if len(text) <= 64 and _is_uid(text) else None


@lru_cache(1 << 12)
def _is_uid(text: str) -> bool:
    """Those of a study and its series come again with every instance."""
    return _UID.fullmatch(text) is not None


def parse_ae_title(text: str) -> AETitle | None:
    """An AE title (PS3.5, VR AE): 1 to 16 characters without backslash and controls, not only spaces; else None."""
    text = text.strip(" \0")
    return AETitle(text) if _AE.fullmatch(text) else None


def parse_pack_id(text: str) -> PackId | None:
    return PackId(text) if _PACK_ID.fullmatch(text) else None


def parse_digest(text: str) -> Digest | None:
    return Digest(text) if _DIGEST.fullmatch(text) else None


def new_pack_id() -> PackId:
    return PackId(base64.b32encode(os.urandom(16)).decode().rstrip("=").lower())


def successor(pack: PackId) -> PackId:
    """The id under which a pack is archived once more, where the archive's copy under this one is damaged: always the same one."""
    digest = hashlib.sha256(b"outpost replaces " + pack.encode()).digest()
    return PackId(base64.b32encode(digest[:16]).decode().rstrip("=").lower())


class Level(enum.StrEnum):
    """Query/Retrieve Level (0008,0052)."""

    PATIENT = "PATIENT"
    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"


class Availability(enum.StrEnum):
    """Instance Availability (0008,0056), PS3.3 C.4.23.1.1."""

    ONLINE = "ONLINE"
    NEARLINE = "NEARLINE"
    OFFLINE = "OFFLINE"
    UNAVAILABLE = "UNAVAILABLE"


def availability(here: bool, link_up: bool) -> Availability:
    """Instance Availability (PS3.3 C.4.23.1.1) of something that is held whenever it is not here: the schema refuses anything else."""
    if here:
        return Availability.ONLINE
    return Availability.NEARLINE if link_up else Availability.OFFLINE


class Urgency(enum.StrEnum):
    """The shipping class of a study: a STAT study pre-empts at the next part."""

    STAT = "stat"
    ROUTINE = "routine"
    BACKGROUND = "background"


FRESH_SECONDS = 86_400.0
"""A study that was received so lately does not wait behind what an outage left."""
BACKLOG_SHARE = 0.3
"""Of the bytes of a class, while fresh ones and older ones wait: the backlog ends, however much arrives."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What identifies a composite instance (PS3.3): its SOP class and the three UIDs."""

    sop_class: UID
    sop_instance: UID
    series: UID
    study: UID


class Commitment(enum.StrEnum):
    """What has to be true of an instance before its storage is reported as committed to a peer (PS3.4 annex J)."""

    LOCAL = "local"
    """It is durable on this one disk."""
    TWO_COPIES = "two_copies"
    ARCHIVED = "archived"


@dataclass(frozen=True, slots=True)
class Peer:
    """An application entity that may talk to us, as a person entered it. Deny by default: no row, no association."""

    ae_title: AETitle
    address: str = ""
    """IP address or CIDR from which it calls; empty = any."""
    host: str = ""
    """Where we call it back (C-MOVE, storage commitment); empty = never."""
    port: int = 104
    tls: bool = False
    """We call it with TLS, and never without."""
    tls_subject: str = ""
    """The subject that its certificate must have, as RFC 4514 writes it; then it may call with TLS alone. Empty = any, or none."""
    user_name: str = ""
    """The user that it must say it is (user identity negotiation); empty = any, or none."""
    passcode: str = ""
    """Hash of the passcode of that user; empty = none is asked for."""
    rights: frozenset[str] = frozenset({"store", "find", "move", "get"})
    accept_syntaxes: frozenset[UID] = frozenset()
    """The transfer syntaxes in which it may store; empty = every one."""
    max_pdu_bytes: int = 131_072
    idle_seconds: float = 60.0
    max_associations: int = 0
    """How many it may have open at the same time; 0 = as many as the site allows from one address."""
    send_associations: int = 1
    """How many associations are opened to it at the same time for what is sent to it; many devices take no second one."""
    default_issuer: str = ""
    """Issuer of Patient ID (0010,0021) of what it sends without one; empty = none."""
    query_charset: str = ""
    """Specific Character Set (0008,0005) of its queries that name none, and of the answers; empty = that of each query."""
    commitment: Commitment = Commitment.LOCAL
    report_after_seconds: float = 3600.0
    """How long a commitment waits for the archive before it is reported as it stands."""
    commitment_falls_back: bool = False
    """What is only on this disk by then is reported as committed; else as failed with 0213 (resource limitation), to be asked for again."""
    urgency: Urgency = Urgency.ROUTINE
    """Of what it sends to the routine AE title."""
    send_skip_sop_classes: frozenset[UID] = frozenset()
    """SOP classes that are left out of what it retrieves, or has moved to it."""
    accept_quarantined: bool = False
    """Answer success for an instance that went to quarantine: some modalities re-send a refused one for ever."""
    retrieve_limit_seconds: float = 0.0
    """It gets the final response of a retrieve after so long, whatever is still missing; 0 = when all is sent."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How keys are matched, as far as the asker may choose it (PS3.4 section C.5.1.1)."""

    relational: bool = False
    """Keys of levels below that of the query restrict it too: what has such a thing below it matches."""
    combined: bool = False
    """A range of dates and a range of times of the same event are one range."""
    fuzzy: bool = False
    """The words of a person name match in any order, also by their sound; what matches literally matches too."""
    empty: bool = False
    """Two quotation marks stand for a value that is absent or empty."""
    time_zone: int | None = None
    """Offset from UTC, in seconds, in which the query means its dates and times; None = that of each study."""


@dataclass(frozen=True, slots=True)
class Query:
    """One C-FIND identifier or QIDO-RS request, for the catalogue.

    `matching` maps a tag (eight upper-case hexadecimal digits), or the tag of a sequence, a dot and a tag of its items, to the matching
    text of PS3.4 C.2.2.2: single value, list (backslash), wildcards * and ?, date and time ranges. Empty text is universal matching and
    may be left out.
    """

    level: Level
    matching: dict[str, str]
    limit: int | None = None
    offset: int = 0
    manner: Manner = Manner()
    also: frozenset[str] = frozenset()
    """Tags of what is to be answered of each match although it is costly to count; the rest is answered anyway."""


@dataclass(frozen=True, slots=True)
class Correction:
    """What a person said is right of a study: answered, and patched into what is sent. What is stored stays as it arrived."""

    study: UID
    attributes: Json = field(hash=False)
    """Patient and study attributes that replace those of the instances; may be empty."""
    corrected_at: float
    """Seconds since the epoch."""
    rejected: bool = False
    """The study is not to be used: it is UNAVAILABLE and is not sent."""


@dataclass(frozen=True, slots=True)
class Located:
    """Where one visible instance lies: pack, and the byte range of its dataset in the cached pack file."""

    sop_class: UID
    sop_instance: UID
    series: UID
    study: UID
    transfer_syntax: UID
    pack: PackId
    dataset_offset: int
    dataset_length: int
    digest: Digest
    present: bool
    """The bytes are in the cache."""
    correction: Correction | None = None
    """What the instance is patched with as it is sent."""
