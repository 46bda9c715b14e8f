"""What C-MOVE and C-GET have in common: the count of their C-STORE sub-operations and how it is told (PS3.4 sections C.4.2 and C.4.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from edge.audit import Audit, Retrieved
from edge.clock import Clock
from edge.dataset.charset import CharacterSet
from edge.dimse import identifier, status
from edge.dimse.acceptor import Caller
from edge.dimse.association import Association, Message
from edge.dimse.classes import LITTLE_ENDIAN, QUERY_ROOTS
from edge.dimse.command import C_STORE_RQ, NO_DATASET, Command, answer
from edge.dimse.hierarchy import UID_KEYS, retrieve_query
from edge.dimse.identifier import MAX_IDENTIFIER_BYTES, BadIdentifier
from edge.dimse.negotiation import Context
from edge.dimse.outgoing import Source, Stored
from edge.dimse.patching import patched
from edge.dimse.ports import Ready, Retrieval, Retrieve
from edge.dimse.transcoding import transcode
from edge.errors import OutpostError, Transient
from edge.model import UID, AETitle, Query

PENDING_SECONDS = 1.0
"""Pending responses leave at least this often; the design allows two seconds."""
LATE = "Not all is here yet, and this peer waits no longer: ask again"
_UNNAMED = "Some instances only the archive can name: ask again"
_FAILED_INSTANCES = "00080058"
_MOST = 0xFFFF
_MOST_UIDS = 1000
"""Of what was asked for, in one line of the audit trail."""
_WITH_DATASET = 0x0001
_LONGEST_VALUE = 0xFFFE


class Tally:
    """How many sub-operations stand where, by SOP Instance UID. `completed` includes no warnings."""

    def __init__(self, instances: Iterable[str], missing: int = 0) -> None:
        """`missing` instances have failed from the beginning, and cannot be named."""
        self.completed = self.warning = 0
        self.failed = self.missing = missing
        self.failed_instances: list[str] = []
        self._open = Counter(instances)
        self.total = self.remaining + missing

    @property
    def remaining(self) -> int:
        return self._open.total()

    def copy(self) -> Tally:
        """As it is now."""
        other = Tally(())
        other.completed, other.warning, other.failed, other.missing = self.completed, self.warning, self.failed, self.missing
        other.total, other.failed_instances, other._open = self.total, list(self.failed_instances), self._open.copy()
        return other

    def count(self, sop_instance: str, code: int) -> None:
        """One sub-operation ended with this C-STORE status. Nothing, when it was counted with the rest before."""
        if not self._open[sop_instance]:
            return
        self._open[sop_instance] -= 1
        if code == status.SUCCESS:
            self.completed += 1
        elif status.is_warning(code):
            self.warning += 1
        else:
            self.failed += 1
            self.failed_instances.append(sop_instance)

    def fail_rest(self) -> None:
        """Nothing more will be sent."""
        self.failed += self.remaining
        self.failed_instances += self._open.elements()
        self._open.clear()

    def outcome(self) -> int:
        """The final status when it was not cancelled."""
        if self.failed and not self.completed and not self.warning:
            return status.CANNOT_PERFORM_SUBOPERATIONS
        return status.SUBOPERATIONS_INCOMPLETE if self.failed or self.warning else status.SUCCESS


class Account:
    """What the audit trail is told of one C-MOVE or C-GET. As a context manager it tells of one that broke off, too."""

    def __init__(self, audit: Audit, caller: Caller, service: str, destination: str) -> None:
        self._audit = audit
        self._told = Retrieved(
            state="begun",
            service=service,
            calling=caller.calling_ae,
            called=caller.called_ae,
            address=caller.address,
            destination=destination,
            level="",
            uids=[],
            instances=0,
        )
        self._over = False

    def __enter__(self) -> Account:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._over:
            self._audit.record(msgspec.structs.replace(self._told, state="broken"))

    def begun(self, query: Query, instances: int) -> None:
        """Before the first instance leaves. Raises AuditFull."""
        self._audit.demand()
        uids = [uid for tag in UID_KEYS for uid in query.matching.get(tag, "").split("\\") if uid]
        self._told = msgspec.structs.replace(self._told, level=query.level, uids=uids[:_MOST_UIDS], instances=instances)
        self._audit.record(self._told)

    def ended(self, code: int, tally: Tally | None = None, reason: str = "") -> None:
        """The final response, how many instances left, and why not all did."""
        self._over = True
        completed, failed = (tally.completed + tally.warning, tally.failed) if tally else (0, 0)
        self._audit.record(
            msgspec.structs.replace(self._told, state="ended", completed=completed, failed=failed, status=code, reason=reason)
        )


class _Cancelled(Exception):
    """A C-CANCEL came before the first sub-operation."""


def begin(
    association: Association,
    message: Message,
    retrieve: Retrieve,
    skipped: frozenset[UID],
    account: Account,
    clock: Clock,
    until: float,
) -> Retrieval | None:
    """Read the identifier and start the retrieval; None when that was refused, or cancelled, and answered. While the archive has yet to say
    what there is, until the clock reaches `until`, the peer gets Pending responses and may cancel.
    """
    _, root = QUERY_ROOTS[message.context.abstract_syntax]
    data = association.collect(MAX_IDENTIFIER_BYTES)
    try:
        if data is None:
            raise BadIdentifier(f"The identifier has more than {MAX_IDENTIFIER_BYTES} bytes.")
        query = retrieve_query(identifier.decode(data, message.context.transfer_syntax), root, message.context.extended)
    except BadIdentifier as fault:
        refuse(association, message, status.DATASET_MISMATCH, str(fault), account, fault.element)
        return None
    told = clock.monotonic()

    def meanwhile(known: int) -> None:
        nonlocal told
        if association.cancelled(message.command.number):
            raise _Cancelled
        if clock.monotonic() >= until:
            raise Transient(LATE)
        if clock.monotonic() - told >= PENDING_SECONDS:
            told = clock.monotonic()
            association.send(message.context, answer(message.command, status.PENDING, remaining=min(known, _MOST), **_counts(Tally(()))))

    try:
        retrieval = retrieve.begin(query, skipped, meanwhile)
        try:
            account.begun(query, retrieval.total)
        except OutpostError:
            retrieval.close()
            raise
    except _Cancelled:
        tell_final(association, message, Tally(()), status.CANCELLED, account)
        return None
    except OutpostError as fault:
        refuse(association, message, status.of_error(status.Service.RETRIEVE, fault), str(fault), account)
        return None
    return retrieval


def refuse(association: Association, message: Message, code: int, comment: str, account: Account, element: int | None = None) -> None:
    """A final response before any sub-operation; `element` is what of the identifier is wrong."""
    account.ended(code, reason=comment)
    association.send(message.context, answer(message.command, code, error_comment=comment, offending_element=element))


def tell_pending(association: Association, message: Message, tally: Tally) -> None:
    """A Pending response with the counts as they are."""
    association.send(message.context, answer(message.command, status.PENDING, remaining=min(tally.remaining, _MOST), **_counts(tally)))


def tell_final(association: Association, message: Message, tally: Tally, code: int, account: Account, comment: str | None = None) -> None:
    """The final response, with the UIDs of what failed where some did (PS3.4 section C.4.2.1.4.2)."""
    account.ended(code, tally, comment or "")
    remaining = min(tally.remaining, _MOST) if code == status.CANCELLED else None
    failed = None
    if tally.failed_instances and code != status.SUCCESS:
        listed = {_FAILED_INSTANCES: {"vr": "UI", "Value": _that_fit(tally.failed_instances)}}
        failed = identifier.encode(listed, message.context.transfer_syntax, CharacterSet())
    kind = NO_DATASET if failed is None else _WITH_DATASET
    comment = comment or (_UNNAMED if tally.missing else None)
    response = answer(message.command, code, dataset_type=kind, remaining=remaining, error_comment=comment, **_counts(tally))
    association.send(message.context, response, failed)


def _that_fit(uids: list[str]) -> list[str]:
    """As many as a value of VR UI can hold in explicit VR; the counts say how many there are."""
    rest, ends = _LONGEST_VALUE, 0
    for uid in uids:
        rest -= len(uid) + 1
        if rest < 0:
            break
        ends += 1
    return uids[:ends]


def store_request(message_id: int, ready: Ready, priority: int | None, originator: tuple[AETitle, int] | None) -> Command:
    """The C-STORE-RQ of a sub-operation; `originator` is who asked for a C-MOVE, and its Message ID."""
    return Command(
        affected_sop_class=ready.located.sop_class,
        affected_sop_instance=ready.located.sop_instance,
        command_field=C_STORE_RQ,
        message_id=message_id,
        priority=priority if priority in {0, 1, 2} else 0,
        dataset_type=_WITH_DATASET,
        move_originator_ae=originator[0] if originator else None,
        move_originator_message_id=originator[1] if originator else None,
    )


def is_sent_from_store(ready: Ready, context: Context) -> bool:
    """Whether `source_for` makes of the stored bytes what the context wants; else they have to be made native before."""
    return context.transfer_syntax == ready.located.transfer_syntax or ready.located.transfer_syntax in LITTLE_ENDIAN


def source_for(ready: Ready, context: Context) -> Source:
    """The dataset as the context wants it, corrected where a person did. Raises Corrupt."""
    located = ready.located
    stored = Stored(ready.descriptor, ready.offset, ready.length, ready.unread)
    as_is = context.transfer_syntax == located.transfer_syntax
    dataset = stored if as_is else transcode(stored, located.transfer_syntax)
    return patched(dataset, context.transfer_syntax, located.correction) if located.correction else dataset


def _counts(tally: Tally) -> dict[str, int | str | None]:
    return {
        "completed": min(tally.completed, _MOST),
        "failed": min(tally.failed, _MOST),
        "warning": min(tally.warning, _MOST),
    }
