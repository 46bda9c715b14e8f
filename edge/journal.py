"""The wall's journals: what edge wants of cloudsync (asks), and what cloudsync says happened (facts).

A journal is a directory of append-only JSON-line segments named `<first seq, 12 digits>.jsonl`. Its one writer flushes each line before
it tells anyone; the reader commits what it read, with its position, in one transaction of its own database, applies lines idempotently
by seq, and acknowledges by an `Ack` in its own journal; the writer then removes the segments that are acknowledged as a whole.
This table of kinds is the whole contract between the two sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec


class Line(msgspec.Struct, frozen=True, tag_field="kind", forbid_unknown_fields=True, kw_only=True):
    """What every line carries. `seq` starts at 1 and has no gaps; the writer sets it."""

    seq: int = 0


class Ack(Line, frozen=True, tag="ack"):
    """Everything up to `upto` in the other journal is committed by its reader."""

    upto: int


class PartFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One plaintext object of a coded pack in `outbox/<pack>/<number, 6 digits>`; number 0 is the head."""

    number: int
    bytes: int
    digest: str


class Coded(Line, frozen=True, tag="coded"):
    """Ask: a pack is coded and lies in the outbox; seal and ship it."""

    pack: str
    urgency: str
    instances: int
    raw_bytes: int
    sha256: str
    """Of the closed pack file in the cache."""
    study: dict[str, Any]
    """Study attributes in the DICOM JSON Model, patient attributes among them."""
    series: list[dict[str, Any]]
    parts: list[PartFile]
    received_at: float = 0.0
    """When its first instance arrived, in seconds since the epoch; 0 where that was not said: as long ago."""
    form: str = "parts"
    """`parts`, or `instances` for an archive that reads DICOM: one part then, number 0, the listing of edge.listing."""


class SiteState(Line, frozen=True, tag="site-state"):
    """Ask: a consistent copy of site.db, zstd-compressed, lies in `outbox/site/<digest>`; seal it into the catalog."""

    bytes: int
    digest: str


class Recall(Line, frozen=True, tag="recall"):
    """Ask: bring these parts of a held pack to the inbox. Repeating it is harmless."""

    pack: str
    parts: list[int]


class Taken(Line, frozen=True, tag="taken"):
    """Ask: the inbox files of this pack are no longer needed."""

    pack: str


class Restate(Line, frozen=True, tag="restate"):
    """Ask: tell all holdings again from the ledger."""


class Verify(Line, frozen=True, tag="verify"):
    """Ask: compare the archive with the ledger now, from the start, and read `percent` of its objects. One that is under way gives way."""

    percent: float


class Pause(Line, frozen=True, tag="pause"):
    """Ask: ship nothing until then (seconds since the epoch), or until a `resume`. Recalls go on."""

    until: float | None


class Resume(Line, frozen=True, tag="resume"):
    """Ask: ship again."""


class Progress(Line, frozen=True, tag="progress"):
    """Fact: `confirmed` of `total` objects of a pack are proven to be in the archive."""

    pack: str
    confirmed: int
    total: int


class Held(Line, frozen=True, tag="held"):
    """Fact: head, parts, sums and the catalog segment that names the pack are confirmed. The pack may be evicted."""

    pack: str
    held_at: float
    instances: int
    raw_bytes: int
    sealed_bytes: int
    sha256: str
    study: dict[str, Any]
    series: list[dict[str, Any]]
    origin: str = ""
    """The id of the site whose pack it is, where cloudsync follows another site; empty: our own."""
    news: bool = False
    """That site shipped it after it was followed here: routes send it on. What it had before is answered for, and no more."""


class Here(Line, frozen=True, tag="here"):
    """Fact: a part was fetched, opened and compared, and lies in `inbox/<pack>/<number, 6 digits>`."""

    pack: str
    number: int
    bytes: int
    digest: str


class RecallFailed(Line, frozen=True, tag="recall-failed"):
    """Fact: these parts cannot be brought now. `final` when the archive has no such bytes; else the link is down and it is tried again."""

    pack: str
    parts: list[int]
    reason: str
    final: bool


class Stopped(Line, frozen=True, tag="stopped"):
    """Fact: this pack is not shipped any further until a person acts (its outbox files were refused, or the archive refuses it)."""

    pack: str
    reason: str


class Link(Line, frozen=True, tag="link"):
    """Fact: how the link is. `state` is one of up, down, throttled, credential, quota, disk, clock, conflict."""

    state: str
    since: float
    goodput_bytes_per_second: float
    sentence: str
    """What is wrong with the link, in plain words, for people; with the cure where there is one. No secret, no PHI."""
    answered_at: float = 0.0
    """When the archive answered last; 0 when it did not since cloudsync started."""
    said_at: float = 0.0
    """When cloudsync said so: each minute, and whenever it changes."""
    sequence: int = 0
    """Of the last catalog segment that the archive has; the end of the catalog that a rebuild is to find."""


class SiteStateHere(Line, frozen=True, tag="site-state-here"):
    """Fact: the newest site state of the archive lies in `inbox/site/<digest>`; an empty box starts from it."""

    bytes: int
    digest: str


class AsksUnread(Line, frozen=True, tag="asks-unread"):
    """Fact: cloudsync has set asks aside that it cannot read. Said when it does, and behind each `link` as long as they are kept."""

    sentence: str
    """Which, why, and what to do, for people. No secret, no PHI."""


class Damaged(Line, frozen=True, tag="damaged"):
    """Fact: the archive's copy of a held pack is not whole. Where the cache has the pack it is coded and asked for once more; `site` stands
    for the newest copy of site state. Comes behind the `held` of the pack.
    """

    pack: str
    reason: str


class Verification(Line, frozen=True, tag="verification"):
    """Fact: how far the comparison of the archive with the ledger is, or how the last one ended."""

    asked: int
    """The seq of the ask; 0 where it began by itself."""
    percent: float
    """So much of the objects is read."""
    began_at: float
    ended_at: float | None
    done: float
    """From 0 to 1."""
    objects: int
    """That were looked for by name and size."""
    read_objects: int
    read_bytes: int
    damaged: int
    """Packs of which something is missing or not what it was."""
    faults: list[str]
    """What is wrong with the catalog or with site state: sentences with the cure, no PHI."""


class CatalogRead(Line, frozen=True, tag="catalog-read"):
    """Fact: of a rebuilt box. `left` of the `total` segments of the catalog have yet to be read; before that nothing is acknowledged."""

    left: int
    total: int


class Retired(Line, frozen=True, tag="retired"):
    """Fact: the archive's catalog says that a pack is retired: nothing of it is to be known any more, and its cached file goes too."""

    pack: str


class Follows(Line, frozen=True, tag="follows"):
    """Fact: how far the catalog of another site is followed. Said when that changes, and again and again while there is a fault."""

    site: str
    """Its id."""
    sequence: int
    """Of the last segment that was read; 0 before the first."""
    fault: str
    """Why it goes no further: a sentence with the cure, no PHI; empty where all is well."""


class Allowance(Line, frozen=True, tag="allowance"):
    """Fact: what may go over the link, and what went. Said each minute, whenever `hold` changes, and after each `pause` and `resume`."""

    asked: int
    """The seq of the last `pause` or `resume`; 0 before the first."""
    hold: str
    """Why not everything goes: empty, paused (nothing but recalls does), reserve (only STAT and recalls do), spent (nothing does)."""
    paused_until: float | None
    """Seconds since the epoch; None where it is not paused, or until a `resume`."""
    cap_bytes_per_second: float
    """As the clock has it now; 0 for none."""
    budget_bytes: int
    """Of the month; 0 for none."""
    used_bytes: int
    """Of the month, both ways together, with what TCP and IP add."""
    month_began_at: float
    month_ends_at: float
    round_trip_seconds: float
    """That the archive took for its last small answer; 0 before the first."""


Ask = Ack | Coded | SiteState | Recall | Taken | Restate | Verify | Pause | Resume
_OfPacks = Progress | Held | Here | RecallFailed | Stopped | Damaged | Retired
Fact = Ack | _OfPacks | Link | Allowance | SiteStateHere | AsksUnread | Verification | Follows | CatalogRead
Entry = Ask | Fact


@dataclass(frozen=True, slots=True)
class Unread:
    """A line at its place in the journal that says nothing this version knows."""

    seq: int
    line: bytes
    reason: str


encode = msgspec.json.Encoder().encode
_DECODER: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


def decode(seq: int, line: bytes) -> Entry | Unread:
    """The line of this number."""
    try:
        return _DECODER.decode(line)
    except (ValueError, RecursionError) as fault:
        return Unread(seq, line, f"it does not parse: {fault}")
