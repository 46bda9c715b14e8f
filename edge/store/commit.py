"""The commit protocol: how an instance becomes durable and described. Everything that stores an instance goes this one way.

| step | what is done | what a power cut leaves behind it |
|---|---|---|
| reserve | a pack of the study is lent, its name flushed where it is new; room for header block and file meta | no member |
| append | the dataset goes behind that room while SHA-256 runs | a torn tail |
| fill headers | header block and file meta, with the digest, go into the room | a member if all of it is on disk: its digest says so |
| flush | one fdatasync of the pack | the member, whole |
| row | the catalogue commits without a flush of its own | the member, whole; the next start catalogues it again |
| answer | success leaves | the same |

A flush that failed is never tried again: StoreFailed ends the process (docs/architecture.md, "When the disk fails").
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from edge.dataset.attributes import Description, describe
from edge.dataset.look import look
from edge.dataset.source import PackSource
from edge.model import UID, Identity, Urgency
from edge.store.catalogue import Catalogue
from edge.store.instances import Admission
from edge.store.pack import Member
from edge.store.packs import OpenPacks
from edge.store.room import Room

LOOK_BYTES = 64 << 20
"""How much of an instance is written between two looks at the reserve."""


class Committed(enum.Enum):
    """What became of an instance that is durable."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    """This digest of it was here before; nothing is left of it."""
    VARIANT = "variant"
    """Another digest of it was here before; both are kept."""


@dataclass(frozen=True, slots=True)
class Arriving:
    """An instance that has identified itself; `description` as far as its head goes."""

    identity: Identity
    description: Description
    transfer_syntax: UID
    source_ae: str
    received_at: float
    urgency: Urgency


class Commit:
    """One instance between reserve and row. Used by one thread; `end` gives the pack back, whatever happened.

    Every method raises StoreFull, and the instance can be sent again when there is room, or StoreFailed.
    """

    def __init__(self, packs: OpenPacks, catalogue: Catalogue, room: Room, arriving: Arriving) -> None:
        """Reserve."""
        self._packs = packs
        self._catalogue = catalogue
        self._room = room
        self._arriving = arriving
        self._unseen = 0
        self._committed = False
        self._known = catalogue.digests(arriving.identity)
        """The variants that were catalogued when it began to arrive."""
        self._pack = packs.lend(arriving.identity.study, arriving.urgency)
        self._writer = self._pack.append(arriving.identity, arriving.transfer_syntax, arriving.source_ae, int(arriving.received_at))

    def write(self, fragment: memoryview | bytes) -> None:
        """Append."""
        self._unseen += len(fragment)
        if self._unseen >= LOOK_BYTES:
            self._room.demand()
            self._unseen = 0
        self._writer.write(fragment)

    def commit(self) -> Committed:
        """Fill headers, flush, row. Durable and described when it returns."""
        identity, digest = self._arriving.identity, self._writer.digest
        if digest in self._known:
            return Committed.DUPLICATE
        name = f"{identity.sop_instance}~{digest[:16]}.dcm" if self._known else f"{identity.sop_instance}.dcm"
        member = self._writer.commit(name)
        self._committed = True
        try:
            recorded = self._record(member)
        except BaseException:
            self._pack.take_back(member)
            raise
        if not recorded:  # another association has just stored the same instance
            self._pack.take_back(member)
            return Committed.DUPLICATE
        return Committed.VARIANT if self._known else Committed.STORED

    def end(self) -> None:
        """Cut the pack back to its last member, unless this one was committed, and give it back. Once."""
        try:
            if not self._committed:
                self._writer.cut()
        finally:
            self._packs.give_back(self._pack)

    def _record(self, member: Member) -> bool:
        arriving, pack = self._arriving, self._pack
        if arriving.description.complete:
            description = arriving.description.of_length(member.dataset_length)
        else:
            head, _ = look(PackSource(pack.descriptor, member.dataset_offset, member.dataset_length), arriving.transfer_syntax)
            description = describe(head, arriving.transfer_syntax, member.dataset_length)
        admission = Admission(
            arriving.identity, description, arriving.transfer_syntax, pack.id, member, arriving.received_at, arriving.source_ae
        )
        if pack.members == 1:
            return self._catalogue.open_pack(pack.id, pack.urgency, admission)
        return self._catalogue.admit(admission)
