"""What is fuzzed: each target takes any bytes, and raises only where the code under test broke its promise."""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import json
import os
import shutil
import socket
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import zstandard

from edge import stow, tarblock
from edge.clock import SystemClock
from edge.code.manifest import read_head
from edge.dataset.attributes import describe, identify
from edge.dataset.part10 import read_file_meta
from edge.dataset.patch import patch
from edge.dataset.source import BytesSource
from edge.dataset.walk import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, Malformed, walk
from edge.dimse import commitment
from edge.dimse.associate import read_answer, read_request, write_answer
from edge.dimse.association import Association
from edge.dimse.classes import PATIENT_ROOT, STUDY_ROOT
from edge.dimse.command import RESPONSE, BadCommand, answer, decode, encode, store_answer
from edge.dimse.faults import AssociationEnded, InvalidPdu
from edge.dimse.find import answer_for
from edge.dimse.hierarchy import AVAILABILITY, LEVEL, RETRIEVE_AE, UNIQUE_KEYS, find_query, retrieve_query
from edge.dimse.identifier import CHARACTER_SET, BadIdentifier, character_set
from edge.dimse.identifier import decode as decode_identifier
from edge.dimse.identifier import encode as encode_identifier
from edge.dimse.negotiation import Context, accept, agreed, refusal
from edge.dimse.outgoing import Stored
from edge.dimse.pdu import Deadlines, Wire
from edge.dimse.states import Event
from edge.dimse.transcoding import transcode
from edge.errors import Corrupt
from edge.model import UID, AETitle, Correction, Level, Peer
from edge.store.catalogue import Catalogue
from edge.web.faults import BadRequest
from edge.web.search import parse_query
from tests.store.rows import admission, put

SYNTAXES = (EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, DEFLATED_LE)
NOW = Deadlines(request_seconds=0.0, pdu_seconds=1.0, idle_seconds=0.0, close_seconds=0.0)
CLASSES = ("1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.2.1.1")
CONTEXTS = {number: Context(number, UID(sop_class), UID(EXPLICIT_LE)) for number, sop_class in zip((1, 3, 5), CLASSES, strict=True)}
PEER = Peer(AETitle("TEST"), rights=frozenset({"store", "find", "move", "get"}))
RIGHT = {"00080050": {"vr": "SH", "Value": ["A1"]}}
JOSE = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Jos\u00e9^Mar\u00eda", "Ideographic": "\u5c71\u7530"}]}}
CORRECTIONS = (Correction(UID("1.2"), RIGHT, 0.0), Correction(UID("1.2"), RIGHT | JOSE, 0.0))
HEAD_HEADER = struct.Struct("<H")


class Bytes(socket.socket):
    """A connection whose other side has said it all already, in pieces of a few bytes, and takes every answer."""

    def __init__(self, data: bytes) -> None:
        self._ready = os.eventfd(1)
        self._rest = memoryview(data)

    def setsockopt(self, *_: Any) -> None: ...
    def settimeout(self, *_: Any) -> None: ...
    def shutdown(self, *_: Any) -> None: ...

    def fileno(self) -> int:
        return self._ready

    def recv_into(self, room: memoryview) -> int:  # type: ignore[override]
        count = min(len(room), len(self._rest), 1 + len(self._rest) % 61)
        room[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def send(self, data: bytes, *_: Any) -> int:  # type: ignore[override]
        return len(data)

    def sendmsg(self, pieces: tuple[bytes, ...]) -> int:  # type: ignore[override]
        return sum(map(len, pieces))

    def close(self) -> None:
        if self._ready >= 0:
            os.close(self._ready)
            self._ready = -1


def pdus(data: bytes) -> None:
    """The PDU reader, presentation data values and command sets of an association: it ends, and in no other way than it may."""
    wire = Wire(Bytes(data), NOW, SystemClock())
    association = Association(wire, SystemClock())
    for event in (Event.TRANSPORT_INDICATED, Event.ASSOCIATE_RQ, Event.ACCEPT):
        association.machine.on(event)
    association.establish(CONTEXTS, (AETitle("TEST"), AETitle("OUTPOST")), 4096, 4096)
    try:
        with contextlib.suppress(AssociationEnded):
            while (message := association.next_message()) is not None:
                if message.command.operation & 1:
                    association.collect(1000)
                elif not message.command.operation & RESPONSE:
                    association.send(message.context, answer(message.command, 0))
    finally:
        association.close()


def first_pdu(data: bytes) -> None:
    """The PDU reader before there is an association."""
    association = Association(Wire(Bytes(data), NOW, SystemClock()), SystemClock())
    association.machine.on(Event.TRANSPORT_INDICATED)
    try:
        with contextlib.suppress(AssociationEnded):
            association.arrival(1.0)
    finally:
        association.close()


def requests(data: bytes) -> None:
    """A-ASSOCIATE-RQ and -AC: read or InvalidPdu; what is read can be answered, and the answer reads as it was written."""
    body = memoryview(data.ljust(68, b"\0"))
    with contextlib.suppress(InvalidPdu):
        request = read_request(body)
        if refusal(request, frozenset({AETitle("OUTPOST")})) is None:
            acceptance = accept(request, PEER)
            written = write_answer(acceptance.answer)
            read = read_answer(memoryview(written)[6:])
            assert {one.context_id: one.result for one in read.contexts} == {
                one.context_id: one.result for one in acceptance.answer.contexts
            }
            agreed(request, read)
    with contextlib.suppress(InvalidPdu):
        read_answer(body)


def commands(data: bytes) -> None:
    """Command sets: read or BadCommand; what is read can be written, reads the same, and can be answered."""
    try:
        command = decode(data)
    except BadCommand:
        return
    assert decode(encode(command)) == command
    if not command.operation & RESPONSE and command.message_id is not None:
        assert decode(encode(answer(command, 0xA700, error_comment="no \N{BULLET} room"))).status == 0xA700
        store_answer(1, command, 0)


def identifiers(data: bytes) -> None:
    """Identifiers of queries: read or BadIdentifier; what is read can be written, and asked or BadIdentifier."""
    for syntax in (EXPLICIT_LE, IMPLICIT_LE):
        with contextlib.suppress(BadIdentifier):
            identifier = decode_identifier(data, UID(syntax))
            encode_identifier(identifier, UID(syntax), character_set(identifier))
            for root in (PATIENT_ROOT, STUDY_ROOT):
                with contextlib.suppress(BadIdentifier):
                    find_query(identifier, root, 10)
                with contextlib.suppress(BadIdentifier):
                    retrieve_query(identifier, root)


def answers(data: bytes) -> None:
    """A match of a query as it is answered: what was asked for and the keys of its level, which can be written and read again.

    Two bytes say how long the identifier is; the dataset that is found follows it.
    """
    length = HEAD_HEADER.unpack_from(data.ljust(2, b"\0"))[0]
    asked, dataset = data[2 : 2 + length], data[2 + length :]
    held = describe(dataset, EXPLICIT_LE, len(dataset))
    for syntax, root, agreed_on in itertools.product((EXPLICIT_LE, IMPLICIT_LE), (PATIENT_ROOT, STUDY_ROOT), (b"", b"\1" * 6)):
        try:
            wanted = decode_identifier(asked, UID(syntax))
            query = find_query(wanted, root, 10, agreed_on)
        except BadIdentifier:
            continue
        match = held.patient | held.study | held.series | held.instance
        found = answer_for(match, wanted, query, root, AETitle("OUTPOST"))
        keys = {UNIQUE_KEYS[level] for level in root.levels[: root.levels.index(query.level) + 1]}
        assert found.keys() == (wanted.keys() - {CHARACTER_SET}) | keys | {LEVEL, RETRIEVE_AE, AVAILABILITY}
        written = encode_identifier(found, UID(syntax), character_set(wanted), character_set(match))
        assert decode_identifier(written, UID(syntax)).keys() - {CHARACTER_SET} == {tag for tag in found if not tag.endswith("0000")}


def searches(data: bytes) -> None:
    """The statements of a search, whatever is asked for: they run.

    An identifier in explicit VR, or, behind a question mark, the query of a URL.
    """
    if data[:1] == b"?":
        for level in (Level.STUDY, Level.SERIES, Level.IMAGE):
            with contextlib.suppress(BadRequest):
                catalogue().find(parse_query(level, (), parse_qsl(data[1:].decode(errors="replace"), keep_blank_values=True)), link_up=True)
        return
    with contextlib.suppress(BadIdentifier):
        identifier = decode_identifier(data, UID(EXPLICIT_LE))
        for root, agreed_on in itertools.product((PATIENT_ROOT, STUDY_ROOT), (b"", b"\1" * 6)):
            with contextlib.suppress(BadIdentifier):
                catalogue().find(find_query(identifier, root, 10, agreed_on), link_up=True)
            with contextlib.suppress(BadIdentifier):
                catalogue().locate(retrieve_query(identifier, root, agreed_on))


@functools.cache
def catalogue() -> Catalogue:
    """One with an instance in it."""
    place = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, place)
    made = Catalogue(place / "catalogue.db")
    put(made, admission(more={0x00100010: ("PN", "Doe^Jane"), 0x00080020: ("DA", "20240131"), 0x00080030: ("TM", "1200")}))
    return made


def commitments(data: bytes) -> None:
    """Requests and reports of storage commitment: read or BadIdentifier; what is read is written, and reads the same."""
    for syntax in (UID(EXPLICIT_LE), UID(IMPLICIT_LE)):
        with contextlib.suppress(BadIdentifier):
            request = commitment.read_request(data, syntax)
            assert commitment.read_request(commitment.write_request(*request, syntax), syntax) == request
        with contextlib.suppress(BadIdentifier):
            report = commitment.read_report(data, syntax)
            if report.committed and report.retrieve_ae:
                assert commitment.read_report(commitment.write_report(report, syntax), syntax) == report


def stow_answers(data: bytes) -> None:
    """What a STOW-RS service answers: read, whatever it is; what names no instance names none."""
    stow.failure_reason(data)
    assert not stow.names(data, UID("1.2.3")) or b"1.2.3" in data.replace(b"\0", b"")


def headers(data: bytes) -> None:
    """The header walk: identity or Malformed, a description always; the two agree; what is described is JSON without control characters."""
    for syntax in SYNTAXES:
        identity = None
        with contextlib.suppress(Malformed):
            identity = identify(data, syntax)
        for length in (len(data), None):
            description = describe(data, syntax, length)
            assert identity is None or description.identity in (identity, None)
            for level in (description.patient, description.study, description.series, description.instance):
                text = json.dumps(level, ensure_ascii=False)
                assert not any(ord(character) < 32 or ord(character) == 127 for character in text)


def files(data: bytes) -> None:
    """Part 10 files of others: read or Malformed; the dataset begins inside the file."""
    with contextlib.suppress(Malformed):
        assert 132 < read_file_meta(data).dataset_offset <= len(data)


def transcoding(data: bytes) -> None:
    """A stored dataset in the other uncompressed transfer syntax: written, or Corrupt."""
    descriptor = os.memfd_create("dataset")
    try:
        os.write(descriptor, data)
        for syntax in (EXPLICIT_LE, IMPLICIT_LE):
            with contextlib.suppress(Corrupt):
                spliced = transcode(Stored(descriptor, 0, len(data)), UID(syntax))
                spliced.read_into([memoryview(bytearray(spliced.length))], 0)
    finally:
        os.close(descriptor)


def corrections(data: bytes) -> None:
    """A correction patched into a stored dataset: Corrupt, or every piece of it is there and the study says what is right."""
    for syntax, correction in itertools.product(SYNTAXES, CORRECTIONS):
        source = BytesSource(data)
        with contextlib.suppress(Corrupt):
            pieces = patch(source, syntax, correction)
            whole = b"".join(piece if isinstance(piece, bytes) else data[piece.offset :][: piece.length] for piece in pieces)
            assert len(whole) == sum(map(len, pieces))
            if syntax != DEFLATED_LE and (tags := [element.tag for element in walk(whole, syntax)]) == sorted(tags):
                assert describe(whole, syntax, len(whole)).study["00080050"]["Value"] == ["A1"]


def heads(data: bytes) -> None:
    """The head of a pack as somebody who can seal may make it: read or Corrupt.

    Two bytes say how long heads.bin is; the manifest follows.
    """
    length = HEAD_HEADER.unpack_from(data.ljust(2, b"\0"))[0]
    pieces = []
    for name, content in (("manifest.json", data[2:]), ("heads.bin", bytes(length))):
        pieces += [tarblock.header(name, "", len(content), 0), content, bytes(tarblock.padding(len(content)))]
    with contextlib.suppress(Corrupt):
        read_head(zstandard.compress(b"".join([*pieces, tarblock.ZERO_TAIL]), 1))


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__.replace("_", "-"): target
    for target in (
        *(first_pdu, pdus, requests, commands, identifiers, answers, searches, commitments),
        *(headers, files, transcoding, corrections, heads, stow_answers),
    )
}
