"""A-ASSOCIATE-RQ and -AC (PS3.8 sections 9.3.2 and 9.3.3, PS3.7 annex D) as values, strictly read and bounded.

Items of unrecognized types are skipped, as PS3.8 section 9.3.1 demands. Broken ones raise InvalidPdu and nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from edge.dimse.faults import InvalidPdu
from edge.dimse.pdu import HEADER, Kind
from edge.model import UID, parse_uid

APPLICATION_CONTEXT = UID("1.2.840.10008.3.1.1.1")
IMPLEMENTATION_CLASS = UID("2.25.48203797163667375566703873333383673914")
IMPLEMENTATION_VERSION = "OUTPOST"

_FIXED = struct.Struct(">HH16s16s32x")
_ITEM = struct.Struct(">BxH")
_SHORT = struct.Struct(">H")
_LONG = struct.Struct(">L")


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """A presentation context as the requestor proposes it."""

    context_id: int
    abstract_syntax: UID
    transfer_syntaxes: tuple[UID, ...]


@dataclass(frozen=True, slots=True)
class AnsweredContext:
    """The acceptor's answer (PS3.8 table 9-18). Result 0 accepts; only then the transfer syntax means something."""

    context_id: int
    result: int
    transfer_syntax: UID


@dataclass(frozen=True, slots=True)
class Roles:
    """What the requestor may be for one SOP class (PS3.7 section D.3.3.4). Without it: SCU only."""

    scu: bool = True
    scp: bool = False


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """PS3.7 section D.3.3.7; the fields are what the requestor says, nothing is checked yet."""

    kind: int
    response_wanted: bool
    primary: bytes
    secondary: bytes


@dataclass(frozen=True, slots=True)
class UserInformation:
    """The user information item of a request or an answer."""

    max_data_bytes: int = 0
    """The largest P-DATA that the sender of this takes; 0 = any."""
    roles: Mapping[UID, Roles] = field(default_factory=dict)
    operations: tuple[int, int] | None = None
    """Asynchronous operations window: invoked, performed; None = not negotiated, which means one of each."""
    extended: Mapping[UID, bytes] = field(default_factory=dict)
    """SOP class extended negotiation: application information by SOP class."""
    service_classes: Mapping[UID, UID] = field(default_factory=dict)
    """SOP class common extended negotiation: SOP class -> service class."""
    identity: UserIdentity | None = None
    identity_accepted: bool = False
    """The positive response to a user identity that was checked; it carries nothing for names and passcodes."""
    implementation_class: str = IMPLEMENTATION_CLASS
    implementation_version: str = IMPLEMENTATION_VERSION


@dataclass(frozen=True, slots=True)
class AssociateRequest:
    """A-ASSOCIATE-RQ. The titles are as they arrived, without padding, and may be no AE titles at all."""

    called_ae: str
    calling_ae: str
    contexts: tuple[ProposedContext, ...]
    user: UserInformation
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1


@dataclass(frozen=True, slots=True)
class AssociateAnswer:
    """A-ASSOCIATE-AC. The titles repeat the request's."""

    called_ae: str
    calling_ae: str
    contexts: tuple[AnsweredContext, ...]
    user: UserInformation


def read_request(body: memoryview) -> AssociateRequest:
    """Read the body of an A-ASSOCIATE-RQ."""
    version, called, calling, items = _open(body)
    application = next((_text(data) for kind, data in items if kind == 0x10), "")
    contexts = tuple(_proposed(data) for kind, data in items if kind == 0x20)
    identifiers = {context.context_id for context in contexts}
    if len(identifiers) != len(contexts):
        raise _broken("a presentation context ID is used twice")
    return AssociateRequest(called, calling, contexts, _user(items), application, version)


def read_answer(body: memoryview) -> AssociateAnswer:
    """Read the body of an A-ASSOCIATE-AC."""
    _, called, calling, items = _open(body)
    return AssociateAnswer(called, calling, tuple(_answered(data) for kind, data in items if kind == 0x21), _user(items))


def write_request(request: AssociateRequest) -> bytes:
    """The whole A-ASSOCIATE-RQ PDU."""
    contexts = b"".join(
        _item(
            0x20,
            bytes((context.context_id, 0, 0, 0))
            + _item(0x30, context.abstract_syntax.encode())
            + b"".join(_item(0x40, syntax.encode()) for syntax in context.transfer_syntaxes),
        )
        for context in request.contexts
    )
    return _close(Kind.ASSOCIATE_RQ, request.called_ae, request.calling_ae, contexts + _write_user(request.user))


def write_answer(answer: AssociateAnswer) -> bytes:
    """The whole A-ASSOCIATE-AC PDU."""
    contexts = b"".join(
        _item(0x21, bytes((context.context_id, 0, context.result, 0)) + _item(0x40, context.transfer_syntax.encode()))
        for context in answer.contexts
    )
    return _close(Kind.ASSOCIATE_AC, answer.called_ae, answer.calling_ae, contexts + _write_user(answer.user))


def _broken(what: str) -> InvalidPdu:
    return InvalidPdu(InvalidPdu.INVALID_PARAMETER, what)


def _open(body: memoryview) -> tuple[int, str, str, list[tuple[int, bytes]]]:
    version, _, called, calling = _FIXED.unpack_from(body)
    return version, _title(called), _title(calling), list(_items(bytes(body[_FIXED.size :])))


def _close(kind: Kind, called: str, calling: str, contexts_and_user: bytes) -> bytes:
    fixed = _FIXED.pack(1, 0, called.encode("latin-1").ljust(16), calling.encode("latin-1").ljust(16))
    body = fixed + _item(0x10, APPLICATION_CONTEXT.encode()) + contexts_and_user
    return HEADER.pack(kind, len(body)) + body


def _title(data: bytes) -> str:
    return data.decode("latin-1").strip(" \0")


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each item; each length is checked against the bytes that are there."""
    position = 0
    while position < len(data):
        if len(data) - position < _ITEM.size:
            raise _broken("an item ends inside its header")
        kind, length = _ITEM.unpack_from(data, position)
        position += _ITEM.size
        if length > len(data) - position:
            raise _broken(f"item {kind:02X} claims {length} bytes, {len(data) - position} are there")
        yield kind, data[position : position + length]
        position += length


def _item(kind: int, data: bytes) -> bytes:
    return _ITEM.pack(kind, len(data)) + data


def _text(data: bytes) -> str:
    return data.decode("latin-1").rstrip("\0 ")


def _uid(data: bytes) -> UID:
    uid = parse_uid(data.decode("latin-1"))
    if uid is None:
        raise _broken("a UID is none")
    return uid


def _proposed(data: bytes) -> ProposedContext:
    if len(data) < 4 or data[0] % 2 == 0:
        raise _broken("a presentation context without an odd ID")
    subitems = list(_items(data[4:]))
    abstract = [_uid(value) for kind, value in subitems if kind == 0x30]
    syntaxes = tuple(_uid(value) for kind, value in subitems if kind == 0x40)
    if len(abstract) != 1 or not syntaxes:
        raise _broken("a presentation context needs one abstract syntax and a transfer syntax")
    return ProposedContext(data[0], abstract[0], syntaxes)


def _answered(data: bytes) -> AnsweredContext:
    if len(data) < 4:
        raise _broken("a presentation context ends early")
    # What a rejected context carries as its transfer syntax is not significant, and may be missing (PS3.8 section 9.3.3.2).
    syntax = next((value for kind, value in _items(data[4:]) if kind == 0x40), b"")
    return AnsweredContext(data[0], data[2], _uid(syntax) if data[2] == 0 else UID(_text(syntax)))


def _user(items: list[tuple[int, bytes]]) -> UserInformation:
    """The sub-items by type; where one that counts once comes twice, the last one counts."""
    max_data_bytes, operations, identity, identity_accepted = 0, None, None, False
    implementation = {0x52: "", 0x55: ""}
    roles, extended, service_classes = {}, {}, {}
    for kind, data in (subitem for number, value in items if number == 0x50 for subitem in _items(value)):
        try:
            if kind == 0x51:
                (max_data_bytes,) = _LONG.unpack(data)
            elif kind in implementation:
                implementation[kind] = _text(data)
            elif kind == 0x53:
                operations = (int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big"))
            elif kind == 0x54:
                uid, rest = _counted(data)
                roles[_uid(uid)] = Roles(bool(rest[0]), bool(rest[1]))
            elif kind == 0x56:
                uid, rest = _counted(data)
                extended[_uid(uid)] = rest
            elif kind == 0x57:
                uid, rest = _counted(data)
                service_classes[_uid(uid)] = _uid(_counted(rest)[0])
            elif kind == 0x58:
                primary, rest = _counted(data[2:])
                identity = UserIdentity(data[0], bool(data[1]), primary, _counted(rest)[0])
            elif kind == 0x59:
                identity_accepted = True
        except (struct.error, IndexError):
            raise _broken(f"user information item {kind:02X} ends early") from None
    return UserInformation(
        max_data_bytes,
        roles,
        operations,
        extended,
        service_classes,
        identity,
        identity_accepted,
        implementation[0x52],
        implementation[0x55],
    )


def _counted(data: bytes) -> tuple[bytes, bytes]:
    """A field with a two-byte length before it, and what follows it."""
    (length,) = _SHORT.unpack_from(data)
    if len(data) < 2 + length:
        raise IndexError
    return data[2 : 2 + length], data[2 + length :]


def _count(data: bytes) -> bytes:
    return _SHORT.pack(len(data)) + data


def _write_user(user: UserInformation) -> bytes:
    pieces = [_item(0x51, _LONG.pack(user.max_data_bytes)), _item(0x52, user.implementation_class.encode())]
    if user.operations is not None:
        pieces.append(_item(0x53, _SHORT.pack(user.operations[0]) + _SHORT.pack(user.operations[1])))
    pieces += [_item(0x54, _count(uid.encode()) + bytes((role.scu, role.scp))) for uid, role in user.roles.items()]
    pieces.append(_item(0x55, user.implementation_version.encode()))
    pieces += [_item(0x56, _count(uid.encode()) + information) for uid, information in user.extended.items()]
    pieces += [_item(0x57, _count(uid.encode()) + _count(service.encode()) + _count(b"")) for uid, service in user.service_classes.items()]
    if user.identity_accepted:
        pieces.append(_item(0x59, _count(b"")))
    if user.identity is not None:
        identity = user.identity
        fields = _count(identity.primary) + _count(identity.secondary)
        pieces.append(_item(0x58, bytes((identity.kind, identity.response_wanted)) + fields))
    return _item(0x50, b"".join(pieces))
