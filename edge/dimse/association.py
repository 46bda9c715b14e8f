"""An association: the state table in action, and the DIMSE messages that it carries. Shared by acceptor and requestor."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn, Protocol

from edge.clock import Clock
from edge.dimse import command as commands
from edge.dimse.command import BadCommand, Command
from edge.dimse.faults import InvalidPdu, PeerAborted, PeerGone, PeerSilent, ProtocolBroken, SourceFailed, Stopping
from edge.dimse.negotiation import Context
from edge.dimse.outgoing import Outgoing, Source
from edge.dimse.pdu import COMMAND, LAST, PDV, RELEASE_RP, RELEASE_RQ, Kind, Wait, Wire, abort_pdu
from edge.dimse.states import Action, Event, Machine, State
from edge.model import AETitle

_EVENTS = {
    Kind.ASSOCIATE_RQ: Event.ASSOCIATE_RQ,
    Kind.ASSOCIATE_AC: Event.ASSOCIATE_AC,
    Kind.ASSOCIATE_RJ: Event.ASSOCIATE_RJ,
    Kind.P_DATA: Event.P_DATA,
    Kind.RELEASE_RQ: Event.RELEASE_RQ,
    Kind.RELEASE_RP: Event.RELEASE_RP,
    Kind.ABORT: Event.ABORT,
}
_NOTHING = memoryview(b"")


@dataclass(frozen=True, slots=True)
class Message:
    """A command that arrived; its dataset, if it has one, is still to be taken with `dataset`, `collect` or `drain`."""

    context: Context
    command: Command


class Bell(Protocol):
    """What interrupts the wait between messages because there is something to say to the peer."""

    @property
    def descriptor(self) -> int:
        """Readable when it rings."""
        ...

    def answer(self) -> bool:
        """Say it. False when it did not ring. Raises AssociationEnded."""
        ...


class Association:
    """Used by one thread. Whatever goes wrong with the peer raises AssociationEnded, and the association is over then.

    `wakers` are descriptors that interrupt the wait between messages: then it is aborted with Stopping.
    """

    def __init__(self, wire: Wire, clock: Clock, wakers: tuple[int, ...] = ()) -> None:
        self.machine = Machine()
        self.contexts: Mapping[int, Context] = {}
        self.calling_ae = self.called_ae = AETitle("")
        self.window = 1
        """Operations that we may have outstanding."""
        self.deadlines = wire.deadlines
        self.idle_seconds = wire.deadlines.idle_seconds
        self._wire = wire
        self._clock = clock
        self._wakers = wakers
        self._outgoing = Outgoing(wire, 0)
        self._body = _NOTHING
        self._at = 0
        self._value_context = 0
        self._last_message_id = 0
        self._dataset_of: Context | None = None

    # -- before and after the messages

    def establish(self, contexts: Mapping[int, Context], titles: tuple[AETitle, AETitle], ours: int, theirs: int) -> None:
        """What was agreed: contexts, (calling, called) AE title, and the largest P-DATA that we and they take."""
        self.contexts = contexts
        self.calling_ae, self.called_ae = titles
        self._wire.open(ours)
        self._outgoing = Outgoing(self._wire, theirs)

    def secure(self, context: ssl.SSLContext, within_seconds: float, host: str | None = None) -> str:
        """TLS before anything else, as Wire.secure."""
        return self._wire.secure(context, within_seconds, host)

    def arrival(self, within_seconds: float | None = None) -> tuple[Action, memoryview]:
        """Take the next PDU through the state table. What ends the association ends it here; the rest is for the caller."""
        try:
            kind, body = self._wire.receive(within_seconds)
        except InvalidPdu as fault:
            self.break_off(fault)
        except PeerGone:
            self._gone()
            raise
        except PeerSilent:
            self._silent()
            raise
        action = self.machine.on(_EVENTS[kind])
        if action in {Action.AA_1, Action.AA_8}:
            self._abort(action, InvalidPdu.UNEXPECTED)
            raise ProtocolBroken(f"The peer broke the DICOM protocol: an unexpected {kind.name} PDU.")
        if action in {Action.AA_2, Action.AA_3}:
            self._wire.close()
            raise PeerAborted(body[2], body[3])
        return action, body

    def break_off(self, fault: InvalidPdu) -> NoReturn:
        """What arrived is no acceptable PDU: abort as the state table says."""
        self._abort(self.machine.on(Event.INVALID), fault.reason)
        raise ProtocolBroken(f"The peer broke the DICOM protocol: {fault}.") from fault

    def say(self, event: Event, pdu: bytes) -> None:
        """Send a PDU of association control that the local user asked for."""
        self.machine.on(event)
        self._guarded(self._wire.send, pdu)

    def release(self) -> None:
        """End in order, whoever asks first. What the peer still sends meanwhile is dropped."""
        self.say(Event.RELEASE_REQUEST, RELEASE_RQ)
        until = self._clock.monotonic() + self.deadlines.request_seconds
        while True:
            action, _ = self.arrival(self._rest(until))
            if action is Action.AR_3:
                self._wire.close()
                return
            if action is Action.AR_8 and self.machine.state is State.COLLISION_REQUESTOR:
                self.say(Event.RELEASE_ANSWER, RELEASE_RP)
            if action is Action.AR_10:
                self.machine.on(Event.RELEASE_ANSWER)
                self.hang_up(RELEASE_RP)
                return

    def abort(self) -> None:
        """End now, as the service user. Idempotent."""
        if self.machine.state not in {State.IDLE, State.AWAIT_CLOSE}:
            self._abort(self.machine.on(Event.ABORT_REQUEST), 0)

    def hang_up(self, last: bytes) -> None:
        """After the last PDU: let the peer close first, so that it can read it."""
        self._wire.part(last)
        try:
            self._wire.discard()
        except PeerGone:
            self.machine.on(Event.TRANSPORT_CLOSED)
        except PeerSilent:
            self.machine.on(Event.TIMER)
        self._wire.close()

    def interrupt(self) -> None:
        """From another thread: whatever waits here ends with AssociationEnded. Idempotent."""
        self._wire.interrupt()

    def close(self) -> None:
        """Whatever happened: abort what is still open and give everything back. Idempotent."""
        self.abort()
        self._body = _NOTHING
        self._wire.close()

    # -- messages

    def next_message(self, bell: Bell | None = None) -> Message | None:
        """The next command, however long the peer may idle; None when it released the association, which is over then."""
        wakers = self._wakers if bell is None else (*self._wakers, bell.descriptor)
        while self._at >= len(self._body):
            match self._wire.wait(self.idle_seconds, *wakers):
                case Wait.WOKEN:
                    if bell is not None and bell.answer():
                        continue
                    self.abort()
                    raise Stopping
                case Wait.NOTHING:
                    self._silent()
                    raise PeerSilent("The peer left the association idle for longer than it may.")
                case Wait.BYTES:
                    break
        return self._read_command()

    def hears(self, seconds: float) -> bool:
        """Whether the peer says something within the time."""
        return self._at < len(self._body) or self._wire.wait(seconds) is Wait.BYTES

    def answer(self, seconds: float | None = None) -> Message:
        """The next command of a peer that owes one, within `seconds`: none are left where they are not more than 0."""
        limit = self.deadlines.answer_seconds if seconds is None else seconds
        if limit <= 0 or (self._at >= len(self._body) and self._wire.wait(limit) is not Wait.BYTES):
            self._silent()
            raise PeerSilent("The peer did not answer in time.")
        message = self._read_command()
        if message is None:
            raise PeerGone("The peer released the association instead of answering.")
        return message

    def cancelled(self, message_id: int, seconds: float = 0.0, *wakers: int) -> bool:
        """Whether a C-CANCEL for the pending operation is here; waits for one up to `seconds` or until a waker is ready.

        One operation at a time was negotiated, so nothing else may arrive.
        """
        until = self._clock.monotonic() + seconds
        while self._at < len(self._body) or self._wire.wait(seconds, *wakers) is Wait.BYTES:
            message = self._read_command()
            if message is None:
                raise PeerGone("The peer released the association while its request was pending.")
            if message.command.operation != commands.C_CANCEL_RQ:
                self.protocol_error("a message while an operation is pending")
            if message.command.number == message_id:
                return True
            # One for another operation came too late for that. Whoever sends many of them does not keep us here.
            seconds = until - self._clock.monotonic()
            if seconds <= 0:
                break
        return False

    def dataset(self) -> Iterator[memoryview]:
        """The fragments of the dataset that follows the last command; each is valid until the next is asked for."""
        context, self._dataset_of = self._dataset_of, None
        if context is None:
            return
        last = False
        began, received = self._clock.monotonic(), 0
        deadlines = self.deadlines
        while not last:
            if self._at >= len(self._body):
                if self._clock.monotonic() - began > deadlines.pdu_seconds + received / deadlines.bytes_per_second:
                    self._silent()
                    raise PeerSilent("The peer sends more slowly than it may. Look at the network between.")
                self._refill()
            flags, fragment = self._next_value(context.context_id)
            if flags & COMMAND:
                self.protocol_error("a command inside a dataset")
            last = bool(flags & LAST)
            self._dataset_of = None if last else context
            received += len(fragment)
            if fragment:
                yield fragment

    def collect(self, limit_bytes: int) -> bytes | None:
        """The dataset that follows, in memory; None when it is larger (it is drained then)."""
        data = bytearray()
        size = 0
        for fragment in self.dataset():
            size += len(fragment)
            if size <= limit_bytes:
                data += fragment
        return bytes(data) if size <= limit_bytes else None

    def drain(self) -> None:
        """Read the rest of the dataset that follows, if any, and forget it."""
        for _ in self.dataset():
            pass

    def send(self, context: Context, command: Command, dataset: bytes | None = None) -> None:
        """Send one message; what the command says about its dataset must be true."""
        self.machine.on(Event.SEND_DATA)
        self._guarded(self._outgoing.send, context.context_id, commands.encode(command), dataset)

    def send_source(self, context: Context, command: Command, source: Source) -> None:
        """Send one message whose dataset comes from a source. Where the source fails at its start, its error rises and the association goes
        on; later, half a message is out, and the association is aborted with SourceFailed.
        """
        self.machine.on(Event.SEND_DATA)
        try:
            self._guarded(self._outgoing.send_source, context.context_id, commands.encode(command), source)
        except SourceFailed:
            self.abort()
            raise

    def send_pdu(self, pdu: bytes) -> None:
        """Send a P-DATA PDU that is made already."""
        self.say(Event.SEND_DATA, pdu)

    def new_message_id(self) -> int:
        """A Message ID for a request of ours, 1 to 65535."""
        self._last_message_id = self._last_message_id % 0xFFFF + 1
        return self._last_message_id

    def protocol_error(self, what: str) -> NoReturn:
        """The peer's PDUs are sound, their meaning is not: abort."""
        self.abort()
        raise ProtocolBroken(f"The peer broke the DICOM protocol: {what}.")

    # -- inside

    def _read_command(self) -> Message | None:
        """The command set of the next message, from as many fragments as it takes."""
        self.drain()
        whole = b""
        context_id = None
        until = None
        while True:
            if self._at >= len(self._body):
                if not self._refill(between_messages=context_id is None):
                    return None
                if until is None:
                    until = self._clock.monotonic() + self.deadlines.pdu_seconds
                self._rest(until)
            flags, fragment = self._next_value(context_id)
            if context_id is None:
                context_id = self._value_context
            if not flags & COMMAND:
                self.protocol_error("a dataset without a command")
            whole += fragment
            if len(whole) > commands.MAX_COMMAND_BYTES:
                self.protocol_error("a command set without end")
            if flags & LAST:
                break
        try:
            command = commands.decode(whole)
        except BadCommand as fault:
            self.protocol_error(str(fault).rstrip("."))
        context = self.contexts[context_id]
        self._dataset_of = context if command.has_dataset else None
        return Message(context, command)

    def _next_value(self, expected: int | None) -> tuple[int, memoryview]:
        """Message control header and bytes of the next presentation data value of the current PDU."""
        body, at = self._body, self._at
        if len(body) - at < PDV.size:
            self._invalid("a presentation data value ends inside its header")
        length, context_id, flags = PDV.unpack_from(body, at)
        end = at + 4 + length
        if length < 2 or end > len(body):
            self._invalid(f"a presentation data value of {length} bytes")
        if context_id not in self.contexts:
            self._invalid(f"presentation context {context_id} was not accepted")
        if expected not in {None, context_id}:
            self._invalid("a message changes its presentation context")
        self._value_context = context_id
        self._at = end
        return flags, body[at + PDV.size : end]

    def _refill(self, *, between_messages: bool = False) -> bool:
        """Have the next P-DATA PDU; False when the peer released the association instead, as it may between messages."""
        action, body = self.arrival()
        if action is Action.DT_2:
            self._body, self._at = body, 0
            return True
        if not between_messages:
            self.protocol_error("a release inside a message")
        self.machine.on(Event.RELEASE_ANSWER)
        self.hang_up(RELEASE_RP)
        return False

    def _invalid(self, what: str) -> NoReturn:
        self.break_off(InvalidPdu(InvalidPdu.INVALID_PARAMETER, what))

    def _guarded(self, send: Callable[..., None], *what: object) -> None:
        try:
            send(*what)
        except PeerGone:
            self._gone()
            raise
        except PeerSilent:
            self._silent()
            raise

    def _rest(self, until: float) -> float:
        """Seconds until then. Raises PeerSilent when none are left, whatever has arrived meanwhile."""
        rest = until - self._clock.monotonic()
        if rest <= 0:
            self._silent()
            raise PeerSilent
        return rest

    def _gone(self) -> None:
        self.machine.on(Event.TRANSPORT_CLOSED)
        self._wire.close()

    def _silent(self) -> None:
        """A deadline passed: abort and close, never reuse."""
        if self.machine.state is State.AWAIT_REQUEST:
            self.machine.on(Event.TIMER)
            self._wire.close()
        else:
            self.abort()

    def _abort(self, action: Action, reason: int) -> None:
        source = 2 if action is Action.AA_8 else 0
        self.hang_up(abort_pdu(source, reason if source else 0))
