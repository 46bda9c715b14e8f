"""Query (PS3.4 section C.4.1): C-FIND as SCP."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from edge.dimse import command as commands
from edge.dimse import identifier as identifiers
from edge.dimse import status
from edge.dimse.association import Association, Message
from edge.dimse.classes import QUERY_ROOTS, Root
from edge.dimse.faults import AssociationEnded
from edge.dimse.hierarchy import AVAILABILITY, LEVEL, RETRIEVE_AE, UNIQUE_KEYS, find_query
from edge.dimse.identifier import CHARACTER_SET, MAX_IDENTIFIER_BYTES, BadIdentifier, vr_of
from edge.dimse.ports import Index
from edge.errors import OutpostError
from edge.model import AETitle, Json, Query

_WITH_DATASET = 0x0001


def respond(association: Association, message: Message, index: Index, match_limit: int) -> None:
    """Answer each match as Pending, then the final status. C-CANCEL is honoured between two matches."""
    _, root = QUERY_ROOTS[message.context.abstract_syntax]
    data = association.collect(MAX_IDENTIFIER_BYTES)
    try:
        if data is None:
            raise BadIdentifier(f"The identifier has more than {MAX_IDENTIFIER_BYTES} bytes.")
        wanted = identifiers.decode(data, message.context.transfer_syntax)
        query = find_query(wanted, root, match_limit + 1)
    except BadIdentifier as fault:
        _finish(association, message, status.DATASET_MISMATCH, str(fault))
        return
    try:
        code, comment = _answer_all(association, message, wanted, query, root, index)
    except AssociationEnded:
        raise
    except OutpostError as fault:
        code, comment = status.of_error(status.Service.FIND, fault), str(fault)
    _finish(association, message, code, comment)


def _answer_all(association: Association, message: Message, wanted: Json, query: Query, root: Root, index: Index) -> tuple[int, str | None]:
    charset = identifiers.character_set(wanted)
    syntax = message.context.transfer_syntax
    pending = commands.answer(message.command, status.PENDING, dataset_type=_WITH_DATASET)
    limit = (query.limit or 0) - 1
    with contextlib.closing(_iterate(index, query)) as matches:
        for count, match in enumerate(matches):
            if association.cancelled(message.command.number):
                return status.CANCELLED, None
            if count == limit:
                return status.OUT_OF_RESOURCES, f"More than {limit} matches: narrow the query"
            found = answer_for(match, wanted, query, root, association.called_ae)
            association.send(message.context, pending, identifiers.encode(found, syntax, charset))
    return status.SUCCESS, None


def _iterate(index: Index, query: Query) -> Generator[Json, None, None]:
    """As a generator, so that it can be closed whatever the index returns."""
    yield from index.find(query)


def answer_for(match: Json, wanted: Json, query: Query, root: Root, called_ae: AETitle) -> Json:
    """One match as it is answered: what was asked for and nothing else, but for what the model demands (PS3.4 section C.4.1.1.3.2)."""
    found = {tag: match.get(tag) or {"vr": element.get("vr") or vr_of(tag)} for tag, element in wanted.items()}
    for level in root.levels[: root.levels.index(query.level) + 1]:
        key = UNIQUE_KEYS[level]
        found[key] = match.get(key, {"vr": vr_of(key)})
    found.pop(CHARACTER_SET, None)
    found[LEVEL] = {"vr": "CS", "Value": [query.level.value]}
    found[RETRIEVE_AE] = {"vr": "AE", "Value": [called_ae]}
    found[AVAILABILITY] = match.get(AVAILABILITY, {"vr": "CS"})
    return found


def _finish(association: Association, message: Message, code: int, comment: str | None) -> None:
    association.send(message.context, commands.answer(message.command, code, error_comment=comment))
