"""What the audit trail tells: who was refused, who asked, who got what, who changed the peer table; and the port to tell it by.

Of a patient an event holds UIDs, never a name, an ID, a date or the value of a query.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from edge.errors import Transient


class AuditFull(Transient):
    """The audit trail cannot be written, because the disk is full, so nobody may search or retrieve. Free space; it goes on by itself."""


class _Kind(msgspec.Struct, frozen=True, tag_field="kind", forbid_unknown_fields=True, kw_only=True):
    pass


class Refusal(_Kind, frozen=True, kw_only=True):
    """What a stranger can cause as often as it likes: the same reason for the same address is counted together."""

    address: str
    reason: str
    calling: list[str]
    """The calling AE titles, as far as they could be read."""
    called: str = ""


class AssociationRefused(Refusal, frozen=True, tag="association-refused"):
    """An association, or the connection for one, was refused. `subject` is that of the certificate, where there was one."""

    subject: str = ""


class AssociationAborted(Refusal, frozen=True, tag="association-aborted"):
    """An association, or the connection for one, was ended because of what the other side did. `detail` says what."""

    detail: str = ""


class ContextRefused(Refusal, frozen=True, tag="context-refused"):
    """An association was accepted without some of its presentation contexts, and why. `classes` are their abstract syntaxes."""

    classes: list[str] = []


class StoreRefused(Refusal, frozen=True, kw_only=True, tag="store-refused"):
    """Instances were answered with a failure status."""

    status: int
    instances: list[str]


class OperationRefused(Refusal, frozen=True, kw_only=True, tag="operation-refused"):
    """A request other than to store, search or retrieve was answered with a failure status. `operation` is its name in PS3.7."""

    operation: str
    status: int


class Application(_Kind, frozen=True, tag="application"):
    """Edge `started`, or `stopped` in order."""

    change: str


class Queried(_Kind, frozen=True, tag="query"):
    """A C-FIND, and how it was answered; where it was refused, why. `keys` are the tags that were matched; the values are not told."""

    calling: str
    called: str
    address: str
    level: str
    keys: list[str]
    matches: int
    status: int
    reason: str = ""
    sop_class: str = ""
    """Of the information model that was asked."""


class Retrieved(_Kind, frozen=True, tag="retrieve"):
    """A C-MOVE or C-GET: `begun` before the first instance leaves, then `ended` with its status, or `broken` with the association.

    One that was refused has only ended, and the reason is told.
    """

    state: str
    service: str
    calling: str
    called: str
    address: str
    destination: str
    level: str
    uids: list[str]
    """What was asked for by Study, Series and SOP Instance UID; the Patient ID of a patient is not told."""
    instances: int
    completed: int = 0
    failed: int = 0
    status: int | None = None
    reason: str = ""


class Received(_Kind, frozen=True, tag="received"):
    """Instances of a study were stored here: told when their pack is closed. `calling` are the AE titles that they came from."""

    study: str
    pack: str
    calling: list[str]
    instances: int


class Accessed(_Kind, frozen=True, tag="accessed"):
    """Something was read over DICOMweb. `service` is QIDO-RS or WADO-RS; a study that is read on is told of once in five minutes, a search
    each time, with the tags that were matched and without their values. `study` is empty for a search over all of them.
    """

    service: str
    address: str
    study: str
    keys: list[str] = []


class Sent(_Kind, frozen=True, tag="sent"):
    """Instances of a study were stored elsewhere because a route or a person wants it: `by` says which one."""

    by: str
    destination: str
    study: str
    completed: int
    failed: int


class PeerChanged(_Kind, frozen=True, tag="peer-changed"):
    """A person changed the peer table. `user` is the Unix user, `change` added, changed, approved or removed."""

    user: int
    peer: str
    change: str
    fields: list[str]


class RouteChanged(_Kind, frozen=True, tag="route-changed"):
    """A person changed where instances are sent on to. `change` is added, changed or removed."""

    user: int
    route: str
    change: str


class Decided(_Kind, frozen=True, tag="decided"):
    """A person decided about a study: corrected, rejected, taken back. `fields` are tags, without their values."""

    user: int
    study: str
    change: str
    fields: list[str]


class CatalogueRebuilt(_Kind, frozen=True, tag="catalogue-rebuilt"):
    """Edge made its catalogue again from packs and heads, because the one it had was missing, empty or damaged."""

    why: str
    packs: int
    instances: int
    unproven: int
    """Packs, or members of them, that do not prove themselves, and are not in the catalogue."""


class Rotted(_Kind, frozen=True, tag="rotted"):
    """Instances of a pack in the cache are not what was received any more. `held`: the archive has them."""

    pack: str
    study: str
    instances: int
    held: bool


class Repaired(_Kind, frozen=True, tag="repaired"):
    """Instances that had rotted in the cache came back from the archive, proven by their digests."""

    pack: str
    study: str
    instances: int


class NotRecorded(_Kind, frozen=True, tag="not-recorded"):
    """So many events could not be kept while the trail could not be written; how many is the number of times of the line."""


AnyRefusal = AssociationRefused | AssociationAborted | ContextRefused | StoreRefused | OperationRefused
Event = (
    AnyRefusal
    | Application
    | Queried
    | Retrieved
    | Accessed
    | Received
    | Sent
    | PeerChanged
    | RouteChanged
    | Decided
    | CatalogueRebuilt
    | Rotted
    | Repaired
    | NotRecorded
)


class Audit(Protocol):
    """Where what happened is told. Used by many threads at once; never waits for the disk."""

    def record(self, event: Event) -> None:
        """Keep an event. It is on the disk soon after; a crash may take the events of its last moment, and nothing before them."""
        ...

    def demand(self) -> None:
        """Before anybody gets to see something: raises AuditFull while events cannot be kept."""
        ...
