"""What the DICOM services need from the rest of the edge: somewhere to put instances, something to ask, somebody to know."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edge.model import UID, AETitle, Json, Located, Peer, Query


@dataclass(frozen=True, slots=True)
class Arrival:
    """One C-STORE request, as the command set and the association describe it. The UIDs are well-formed, nothing more is known."""

    sop_class: UID
    sop_instance: UID
    transfer_syntax: UID
    calling_ae: AETitle
    called_ae: AETitle
    address: str
    peer: Peer


class Outcome(enum.Enum):
    """What became of an instance that was received whole; status.py says how each is answered."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    VARIANT = "variant"
    CONTRADICTORY = "contradictory"
    UNIDENTIFIED = "unidentified"


class Reception(Protocol):
    """The receiving end of one instance. Used by one thread, ended by exactly one of `commit` and `abort`.

    `write` and `commit` raise StoreFull or StoreFailed; `abort` is called after that too.
    """

    def write(self, fragment: memoryview) -> None:
        """Take the next bytes of the dataset. The memory is reused when this returns."""
        ...

    def commit(self) -> Outcome:
        """The dataset is complete. What was stored is durable when this returns."""
        ...

    def abort(self) -> None:
        """Forget what was written. Idempotent."""
        ...


class Intake(Protocol):
    """Where instances go. Used by many threads at once."""

    def begin(self, arrival: Arrival) -> Reception:
        """Raises StoreFull (the association is kept) or StoreFailed."""
        ...


class Index(Protocol):
    """What is there. Used by many threads at once."""

    def find(self, query: Query) -> Iterator[Json]:
        """Everything held of each match at its level and above, Instance Availability (0008,0056) included; newest study first.

        Raises Refused or Transient with a sentence when it cannot answer; an iterator that is closed early holds nothing.
        """
        ...


@dataclass(frozen=True, slots=True)
class Ready:
    """An instance that can be sent: its dataset lies at `offset` of `descriptor`, read with pread, until the next one is asked for."""

    located: Located
    descriptor: int
    offset: int
    length: int
    unread: Callable[[], None] = field(default=lambda: None, compare=False, repr=False)
    """To be called, in any thread, when its bytes are not there or cannot be read: they are looked at next."""


@dataclass(frozen=True, slots=True)
class Lost:
    """An instance that cannot be had, and why, in a sentence without patient data."""

    located: Located
    reason: str


class Making(Protocol):
    """An instance that is being made native. Used by one thread; ended by exactly one of `take` and `drop`."""

    def wait(self, seconds: float) -> bool:
        """Whether it is over, one way or the other; waits for that up to `seconds`."""
        ...

    def take(self) -> Ready:
        """The same instance in Explicit VR Little Endian, when it is over; its descriptor is the caller's to close.

        Raises what kept it from being made.
        """
        ...

    def drop(self) -> None:
        """It is not wanted any more: what is under way ends, what was made goes."""
        ...


class Natives(Protocol):
    """Who makes instances native for destinations that refuse their transfer syntax (classes.MADE_NATIVE). Used by many threads at once."""

    def begin(self, ready: Ready) -> Making:
        """Begin with it, or have it wait for its turn. Raises StoreFull, and Exhausted."""
        ...


class Retrieval(Protocol):
    """The instances of one retrieve request, in the order in which they are sent. Used by one thread at a time."""

    @property
    def located(self) -> Sequence[Located]:
        """Every instance that the request matched, whether `next` has returned it or not."""
        ...

    @property
    def total(self) -> int:
        """How many they are."""
        ...

    @property
    def missing(self) -> int:
        """How many there are besides that cannot be had, and not even be named, because only the archive knows them."""
        ...

    @property
    def remaining(self) -> int:
        """How many `next` has not returned yet; it is over at 0."""
        ...

    @property
    def syntaxes(self) -> frozenset[tuple[UID, UID]]:
        """Every (SOP class, transfer syntax) among them."""
        ...

    def next(self, timeout_seconds: float) -> Ready | Lost | None:
        """The next instance, or None when none is ready within the time (a recall is under way): ask again."""
        ...

    def native(self, ready: Ready) -> Making:
        """What `Natives.begin` makes of an instance that `next` returned, in whatever thread sends it."""
        ...

    def close(self) -> None:
        """Descriptors become invalid; what nobody else waits for need not be recalled any more. Idempotent."""
        ...


class Retrieve(Protocol):
    """Where instances come from. Used by many threads at once."""

    def begin(
        self, query: Query, skipped: frozenset[UID] = frozenset(), meanwhile: Callable[[int], None] = lambda known: None
    ) -> Retrieval:
        """What matches, but for the SOP classes that are skipped. While the archive has yet to say what there is, `meanwhile` is called
        at least every second with how many instances that may be; what it raises ends the request.

        Raises Refused or Transient with a sentence when it cannot be (the archive is offline, for example).
        """
        ...


@dataclass(frozen=True, slots=True)
class Reference:
    """An instance as storage commitment names it."""

    sop_class: UID
    sop_instance: UID


@dataclass(frozen=True, slots=True)
class CommitmentRequest:
    """What a peer wants committed (PS3.4 section J.3.2), at least one instance, under which titles it asked."""

    transaction: UID
    references: tuple[Reference, ...]
    calling_ae: AETitle
    called_ae: AETitle


@dataclass(frozen=True, slots=True)
class CommitmentReport:
    """What became of a request (PS3.4 section J.3.3). What failed comes with a Failure Reason (0008,1197) of PS3.3 section C.14.1.1."""

    transaction: UID
    committed: tuple[Reference, ...]
    failed: tuple[tuple[Reference, int], ...]
    retrieve_ae: AETitle | None
    """Where what is committed can be retrieved."""


class Attendance(Protocol):
    """An association on which reports may be given while it is open. Used by its thread."""

    @property
    def descriptor(self) -> int:
        """Readable when there is a report to give."""
        ...

    def take(self) -> CommitmentReport | None:
        """The next report to give, if any; to be followed by `settle`."""
        ...

    def settle(self, report: CommitmentReport, status: int) -> None:
        """What the peer answered to it."""
        ...

    def close(self) -> None:
        """The association has ended: what was not settled is given otherwise."""
        ...


class Commitments(Protocol):
    """Who takes responsibility for instances, and hears that others did. Used by many threads at once."""

    def attend(self, calling_ae: AETitle) -> Attendance:
        """An association with this peer is open, which takes reports."""
        ...

    def request(self, request: CommitmentRequest, attendance: Attendance) -> None:
        """The request is durable when this returns; it is reported later, on the association if it is still open. Raises StoreFull or
        StoreFailed.
        """
        ...

    def heard(self, calling_ae: AETitle, report: CommitmentReport) -> bool:
        """What an archive answers to a request of ours; durable when this returns. False when we did not ask it that."""
        ...


class Peers(Protocol):
    """The peer table. Deny by default. Used by many threads at once; a change counts from the next association on."""

    def peer(self, ae_title: AETitle) -> Peer | None:
        """The peer of this AE title, or None; whether the caller is that peer is judged by admission.py."""
        ...

    def turned_away(self, calling_ae: AETitle, called_ae: str, address: str, reason: str) -> None:
        """Somebody called whom no peer allows; a person may want to know."""
        ...

    def destination(self, ae_title: AETitle) -> Peer | None:
        """The peer that may be called back under this title (it has a host), or None."""
        ...
