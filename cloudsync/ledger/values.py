"""What the ledger answers with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cloudsync.span import Span
from edge.model import UID, Digest, PackId, Urgency

RANKS = {Urgency.STAT: 0, Urgency.ROUTINE: 1, Urgency.BACKGROUND: 2}


@dataclass(frozen=True, slots=True)
class Sealed:
    """Sealed bytes, as recorded before the first of them was sent."""

    size: int
    digest: Digest
    """SHA-256."""
    md5: bytes
    """What archives compare; 16 bytes."""


@dataclass(frozen=True, slots=True)
class Part:
    """One unconfirmed object of a pack under way."""

    pack: PackId
    number: int
    """0 is the head."""
    attempt: int
    rank: int
    """Of its class: 0 is STAT."""
    plain_bytes: int
    plain_digest: Digest
    sealed: Sealed | None
    """None until its sealed bytes lie in their file."""
    stored_as: PackId
    """The id of the pack in the archive."""

    @property
    def urgent(self) -> bool:
        return self.rank == 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How many objects of a pack are confirmed."""

    confirmed: int
    total: int


@dataclass(frozen=True, slots=True)
class InstancePack:
    """A pack whose instances are under way, each by itself."""

    pack: PackId
    urgency: int
    """0 is STAT."""
    instances: int
    listing_bytes: int
    listing: Digest
    """SHA-256 of the listing, which is part 0."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance of such a pack."""

    pack: PackId
    number: int
    study: UID
    series: UID
    sop_instance: UID
    size: int
    """Bytes of its file."""
    digest: Digest
    """Of its dataset."""
    state: str


@dataclass(frozen=True, slots=True)
class Complete:
    """A pack whose objects are all confirmed, and whose sums are not."""

    pack: PackId
    urgent: bool
    sums: bytes | None
    """The text that was recorded; None before that."""
    stored_as: PackId
    """The id of the pack in the archive."""


@dataclass(frozen=True, slots=True)
class SiteState:
    """A copy of the site's decisions on its way to the archive."""

    number: int
    size: int
    digest: Digest
    sealed: Sealed | None


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack as edge asked for it, or as a verified catalog names it."""

    pack: PackId
    state: str
    instances: int
    raw_bytes: int
    sha256: Digest
    study: dict[str, Any]
    series: list[dict[str, Any]]
    objects: int
    sealed_bytes: int
    """0 until it is proven."""
    sums: bytes | None
    sums_digest: Digest | None
    proven_at: float
    reason: str
    stored_as: PackId
    """Its id in the archive: its own, unless it was shipped anew."""
    replaces: PackId | None
    """The id in the archive that it had before."""
    damage: str
    """What a verification found wrong with the archive's copy."""
    origin: str
    """The id of the site whose it is, where another site is followed; empty: our own."""
    news: bool
    """That site shipped it after it was followed here."""


@dataclass(frozen=True, slots=True)
class Known:
    """A pack, as far as whoever decides how long it is kept wants to know it."""

    pack: PackId
    stored_as: PackId
    """Its id in the archive."""
    state: str
    study: dict[str, Any]
    """In the DICOM JSON Model, as `series`: as it arrived."""
    series: list[dict[str, Any]]
    instances: int
    sealed_bytes: int
    held_at: float
    """Seconds since the epoch; 0 where it is not held."""


@dataclass(frozen=True, slots=True)
class Queued:
    """Catalog entries that no segment says yet."""

    entries: tuple[bytes, ...]
    """JSON, oldest first."""
    upto: int
    """The ledger's number of the last one."""
    oldest_at: float
    urgent: bool


@dataclass(frozen=True, slots=True)
class ChainTip:
    """Where the catalog chain stands after a segment."""

    sequence: int
    digest: Digest
    """SHA-256 of its signed content."""
    signer: bytes
    """The signing certificate in force after it, DER."""


@dataclass(slots=True)
class Ahead:
    """Ids of holdings of which a catalog that is read back has said something, and which it names further on."""

    replaced: set[str] = field(default_factory=set)
    """Another one stands for them."""
    retired: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Reading:
    """How far the catalog of another site is read."""

    tip: ChainTip
    shared: bytes | None
    """What the site shared with this box in it, sealed; None for nothing."""


@dataclass(frozen=True, slots=True)
class InFlight:
    """A recorded segment that is not confirmed."""

    sequence: int
    name: str
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment that the archive had confirmed."""

    sequence: int
    name: str
    digest: Digest
    """SHA-256 of its signed content."""
    signer: bytes
    """The signing certificate in force after it, DER."""
    size: int | None
    """Bytes; None where they are not kept."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A segment or a merge, as the ledger keeps it."""

    span: Span
    sealed: bytes | None
    """None where its bytes are not kept."""
    tip: Digest | None
    """Of a segment: SHA-256 of its signed content."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A holding, as it is to be found in the archive."""

    pack: PackId
    stored_as: PackId
    sums: bytes | None
    sums_digest: Digest
    damage: str
    """What was found wrong with it before."""


@dataclass(frozen=True, slots=True)
class Verification:
    """A comparison of the archive with the ledger, and how far it is."""

    number: int
    """0: there was none yet."""
    asked: int
    """The seq of the ask; 0 where nobody asked."""
    percent: float
    """So much of the objects is read."""
    start: float
    """Where the sample begins, from 0 to 1."""
    upto: str
    """The last step that was done."""
    began_at: float | None
    ended_at: float | None
    objects: int = 0
    read_objects: int = 0
    read_bytes: int = 0
    damaged: int = 0
    """Packs."""
    faults: tuple[str, ...] = ()
    """Of the catalog and of site state."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """A part that is here, or that the archive does not have."""

    pack: PackId
    number: int
    size: int
    digest: Digest | None
    reason: str | None
    """Why it cannot be brought; None when it is here."""


@dataclass(frozen=True, slots=True)
class AsksPosition:
    """How far the asks are committed."""

    position: int
    owed: int
    acknowledged: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """A person's pause, and what went over the link in the budget's month."""

    asked: int
    """The seq of the last ask to pause or to go on."""
    paused: bool
    paused_until: float | None
    """Seconds since the epoch; None: until somebody says so."""
    month: str
    """Its first day, as 2027-01-31; empty before anything was counted."""
    used_bytes: int
