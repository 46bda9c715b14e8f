"""Query (PS3.4 section C.4.1): C-FIND as SCP."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass

from edge.audit import Audit, Queried
from edge.dataset.attributes import INTEREST, SEQUENCES
from edge.dataset.charset import CharacterSet
from edge.dataset.moments import in_zone
from edge.dimse import command as commands
from edge.dimse import identifier as identifiers
from edge.dimse import status
from edge.dimse.acceptor import Caller
from edge.dimse.association import Association, Message
from edge.dimse.classes import QUERY_ROOTS, Root
from edge.dimse.faults import AssociationEnded
from edge.dimse.hierarchy import AVAILABILITY, LEVEL, RETRIEVE_AE, UNIQUE_KEYS, find_query
from edge.dimse.identifier import CHARACTER_SET, MAX_IDENTIFIER_BYTES, BadIdentifier, vr_of
from edge.dimse.ports import Index
from edge.errors import OutpostError
from edge.model import AETitle, Json, Query

_WITH_DATASET = 0x0001
_COUNTED = frozenset({LEVEL, RETRIEVE_AE, AVAILABILITY, "00080061", "00080062", "00083002"}) | frozenset(
    f"002012{number:02}" for number in (0, 2, 4, 6, 8, 9)
)
"""Attributes that are answered, but not held: Modalities and SOP Classes in Study, the transfer syntax, numbers of related instances."""


def respond(association: Association, message: Message, caller: Caller, index: Index, match_limit: int, audit: Audit) -> None:
    """Answer each match as Pending, then the final status. C-CANCEL is honoured between two matches. Nobody asks unrecorded."""
    _, root = QUERY_ROOTS[message.context.abstract_syntax]
    own = CharacterSet(tuple(caller.peer.query_charset.split("\\"))) if caller.peer.query_charset else None
    data = association.collect(MAX_IDENTIFIER_BYTES)
    try:
        if data is None:
            raise BadIdentifier(f"The identifier has more than {MAX_IDENTIFIER_BYTES} bytes.")
        wanted = identifiers.decode(data, message.context.transfer_syntax, own)
        query = find_query(wanted, root, match_limit + 1, message.context.extended)
    except BadIdentifier as fault:
        _finish(association, message, status.DATASET_MISMATCH, str(fault), fault.element)
        audit.record(_record(message, caller, "", [], 0, status.DATASET_MISMATCH, status.meaning(status.DATASET_MISMATCH)))
        return
    told = _Told()
    code, comment = status.CANCELLED, None
    try:
        audit.demand()
        code, comment = _answer_all(association, message, wanted, query, root, index, own, told)
    except AssociationEnded:
        raise
    except OutpostError as fault:
        code, comment = status.of_error(status.Service.FIND, fault), str(fault)
    finally:
        audit.record(_record(message, caller, query.level, sorted(query.matching), told.matches, code, comment or ""))
    _finish(association, message, code, comment)


@dataclass(slots=True)
class _Told:
    """How many matches the peer has been told."""

    matches: int = 0


def _record(message: Message, caller: Caller, level: str, keys: list[str], matches: int, code: int, reason: str) -> Queried:
    return Queried(
        calling=caller.calling_ae,
        called=caller.called_ae,
        address=caller.address,
        level=level,
        keys=keys,
        matches=matches,
        status=code,
        reason=reason,
        sop_class=message.context.abstract_syntax,
    )


def _answer_all(
    association: Association,
    message: Message,
    wanted: Json,
    query: Query,
    root: Root,
    index: Index,
    own: CharacterSet | None,
    told: _Told,
) -> tuple[int, str | None]:
    charset = own or identifiers.character_set(wanted)
    syntax = message.context.transfer_syntax
    code = status.PENDING if all(map(_is_known, wanted)) else status.PENDING_WITHOUT_SOME_KEYS
    pending = commands.answer(message.command, code, dataset_type=_WITH_DATASET)
    limit = (query.limit or 0) - 1
    with contextlib.closing(_iterate(index, query)) as matches:
        for count, match in enumerate(matches):
            if association.cancelled(message.command.number):
                return status.CANCELLED, None
            if count == limit:
                return status.OUT_OF_RESOURCES, f"More than {limit} matches: narrow the query"
            found = answer_for(match, wanted, query, root, association.called_ae)
            stored = identifiers.character_set(match)
            association.send(message.context, pending, identifiers.encode(found, syntax, charset, stored))
            told.matches += 1
    return status.SUCCESS, None


def _iterate(index: Index, query: Query) -> Generator[Json, None, None]:
    """As a generator, so that it can be closed whatever the index returns."""
    yield from index.find(query)


def answer_for(match: Json, wanted: Json, query: Query, root: Root, called_ae: AETitle) -> Json:
    """One match as it is answered: what was asked for and nothing else, but for what the model demands (PS3.4 section C.4.1.1.3.2)."""
    if query.manner.time_zone is not None:
        match = in_zone(match, query.manner.time_zone)
    found = {tag: _answered(tag, match.get(tag), element) for tag, element in wanted.items()}
    for level in root.levels[: root.levels.index(query.level) + 1]:
        key = UNIQUE_KEYS[level]
        found[key] = match.get(key, {"vr": vr_of(key)})
    found.pop(CHARACTER_SET, None)
    found[LEVEL] = {"vr": "CS", "Value": [query.level.value]}
    found[RETRIEVE_AE] = {"vr": "AE", "Value": [called_ae]}
    found[AVAILABILITY] = match.get(AVAILABILITY, {"vr": "CS"})
    return found


def _answered(tag: str, held: Json | None, asked: Json) -> Json:
    """An attribute as it is held; of the items of a sequence what was asked for, or everything where no element was named."""
    if not held:
        return {"vr": asked.get("vr") or vr_of(tag)}
    inner = (asked.get("Value") or [{}])[0] if asked.get("vr") == held.get("vr") == "SQ" else {}
    if not inner:
        return held
    items = [{tag: _answered(tag, item.get(tag), key) for tag, key in inner.items()} for item in held.get("Value", ())]
    return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}


def _is_known(tag: str) -> bool:
    """Whether the index holds or counts it; what it does not is answered empty (PS3.4 section C.4.1.1.4, status FF01)."""
    return tag in _COUNTED or (number := int(tag, 16)) in INTEREST or number in SEQUENCES


def _finish(association: Association, message: Message, code: int, comment: str | None, element: int | None = None) -> None:
    association.send(message.context, commands.answer(message.command, code, error_comment=comment, offending_element=element))
