"""The services as SCU, on an association that Requestor made: echo, store, find, move and get."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edge.dataset.charset import CharacterSet
from edge.dimse import command as commands
from edge.dimse import identifier as identifiers
from edge.dimse import status, storage
from edge.dimse.acceptor import Caller
from edge.dimse.association import Association, Message
from edge.dimse.classes import VERIFICATION, Root
from edge.dimse.command import C_ECHO_RQ, C_FIND_RQ, C_GET_RQ, C_MOVE_RQ, C_STORE_RQ, NO_DATASET, RESPONSE, Command
from edge.dimse.faults import NoContext
from edge.dimse.identifier import MAX_IDENTIFIER_BYTES
from edge.dimse.negotiation import Context
from edge.dimse.outgoing import Source
from edge.dimse.ports import Intake
from edge.errors import Refused
from edge.model import UID, AETitle, Json

_WITH_DATASET = 0x0001


class RequestFailed(Refused):
    """The peer answered a request with a failure. The message carries its status and comment."""

    def __init__(self, code: int, comment: str) -> None:
        super().__init__(f"The peer answered with status {code:04X}{': ' + comment if comment else ''}.")
        self.status = code


@dataclass(frozen=True, slots=True)
class Progress:
    """How a C-MOVE or C-GET stands. The last one has no `remaining` unless it was cancelled."""

    status: int
    remaining: int | None
    completed: int
    failed: int
    warning: int


def echo(association: Association) -> int:
    """C-ECHO; the status."""
    context = _context(association, VERIFICATION)
    request = Command(
        affected_sop_class=VERIFICATION, command_field=C_ECHO_RQ, message_id=association.new_message_id(), dataset_type=NO_DATASET
    )
    association.send(context, request)
    return _answer(association, request).command.status or 0


def store(association: Association, sop_class: UID, sop_instance: UID, transfer_syntax: UID, dataset: Source) -> int:
    """C-STORE of a dataset as it is; the status. Raises NoContext when class and syntax were not accepted together."""
    context = _context(association, sop_class, transfer_syntax)
    request = Command(
        affected_sop_class=sop_class,
        affected_sop_instance=sop_instance,
        command_field=C_STORE_RQ,
        message_id=association.new_message_id(),
        priority=0,
        dataset_type=_WITH_DATASET,
    )
    association.send_source(context, request, dataset)
    return _answer(association, request).command.status or 0


def find(association: Association, root: Root, identifier: Json) -> Iterator[Json]:
    """C-FIND; the matches one by one. Raises RequestFailed. Closing the iterator early cancels and takes what still comes."""
    context, request = _ask(association, root.find, C_FIND_RQ, identifier)
    finished = False
    try:
        while True:
            answer = _answer(association, request).command
            code = answer.status or 0
            if not status.is_pending(code):
                finished = True
                if code not in {status.SUCCESS, status.CANCELLED}:
                    raise RequestFailed(code, answer.error_comment or "")
                return
            data = association.collect(MAX_IDENTIFIER_BYTES)
            if data is None:
                association.protocol_error("an identifier without end")
            yield identifiers.decode(data, context.transfer_syntax)
    except GeneratorExit:
        if not finished:
            cancel(association, context, request)
            while status.is_pending(_answer(association, request).command.status or 0):
                association.drain()
        raise


def move(association: Association, root: Root, destination: AETitle, identifier: Json) -> Iterator[Progress]:
    """C-MOVE to `destination`; each response as it comes, the last one final whatever its status."""
    _, request = _ask(association, root.move, C_MOVE_RQ, identifier, destination)
    while True:
        answer = _answer(association, request)
        yield (progress := _progress(answer.command))
        association.drain()
        if not status.is_pending(progress.status):
            return


def get(association: Association, root: Root, identifier: Json, intake: Intake, caller: Caller) -> Iterator[Progress]:
    """C-GET; what is sent goes to `intake` as coming from `caller`. Each response as it comes, as `move`."""
    _, request = _ask(association, root.get, C_GET_RQ, identifier)
    while True:
        message = association.answer()
        if message.command.operation == C_STORE_RQ:
            storage.respond(association, message, caller, intake)
            continue
        _check(association, message, request)
        yield (progress := _progress(message.command))
        association.drain()
        if not status.is_pending(progress.status):
            return


def cancel(association: Association, context: Context, request: Command) -> None:
    """C-CANCEL for a pending request; its final response is still to be taken."""
    association.send(context, Command(command_field=commands.C_CANCEL_RQ, responded_message_id=request.message_id, dataset_type=NO_DATASET))


def _context(association: Association, abstract_syntax: UID, transfer_syntax: UID | None = None) -> Context:
    for context in association.contexts.values():
        if context.abstract_syntax == abstract_syntax and transfer_syntax in {None, context.transfer_syntax}:
            return context
    raise NoContext


def _ask(
    association: Association, sop_class: UID, operation: int, identifier: Json, destination: AETitle | None = None
) -> tuple[Context, Command]:
    context = _context(association, sop_class)
    request = Command(
        affected_sop_class=sop_class,
        command_field=operation,
        message_id=association.new_message_id(),
        move_destination=destination,
        priority=0,
        dataset_type=_WITH_DATASET,
    )
    charset = identifiers.character_set(identifier) if identifiers.CHARACTER_SET in identifier else CharacterSet()
    association.send(context, request, identifiers.encode(identifier, context.transfer_syntax, charset))
    return context, request


def _answer(association: Association, request: Command) -> Message:
    message = association.answer()
    _check(association, message, request)
    return message


def _check(association: Association, message: Message, request: Command) -> None:
    answer = message.command
    if answer.operation != request.operation | RESPONSE or answer.number != request.message_id:
        association.protocol_error("an answer to something else")


def _progress(answer: Command) -> Progress:
    return Progress(answer.status or 0, answer.remaining, answer.completed or 0, answer.failed or 0, answer.warning or 0)
