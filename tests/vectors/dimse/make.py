"""Makes the vectors of this folder anew: `python -m tests.vectors.dimse.make`, from the top of the repository.

A vector's name is `<answer>.<what it does>.pdus`: all that a peer sends over one connection, to the called AE title OUTPOST. Where the
first PDU is a whole A-ASSOCIATE-RQ, the rest is sent after its answer. The answer is `aborted-<source>-<reason>` (PS3.8 table 9-26),
`rejected-<result>-<source>-<reason>` (table 9-21), or the status of the first response, `0117` for example; then the association goes on.
Those that are larger than LARGEST_FILE are not files: `cases` makes them too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.dimse.associate import APPLICATION_CONTEXT
from edge.dimse.command import C_STORE_RQ, MAX_COMMAND_BYTES, NO_DATASET, RESPONSE, Command, encode
from tests.dataset.datasets import dataset
from tests.dimse.raw import CT_CLASS, ECHO, RELEASE, VERIFICATION, dataset_pdus, pdata, request, store_command, value

HERE = Path(__file__).parent
LARGEST_FILE = 8 << 10
REQUEST = request()
INSTANCE = "2.25.7"
DATA = dataset(study="2.25.7.1", series="2.25.7.2", instance=INSTANCE)
STORE = pdata(value(3, 3, store_command(INSTANCE)))
ECHO_PDU = pdata(value(1, 3, encode(ECHO)))


@dataclass(frozen=True, slots=True)
class Case:
    answer: str
    what: str
    sent: bytes

    @property
    def name(self) -> str:
        return f"{self.answer}.{self.what}.pdus"


def case_of(path: Path) -> Case:
    answer, what, _ = path.name.split(".")
    return Case(answer, what, path.read_bytes())


def header(kind: int, length: int) -> bytes:
    return struct.pack(">BxL", kind, length)


def patched(position: int, replacement: bytes) -> bytes:
    return REQUEST[:position] + replacement + REQUEST[position + len(replacement) :]


def with_items(items: bytes) -> bytes:
    """A request with other items than its own."""
    body = REQUEST[6:74] + items
    return header(1, len(body)) + body


def item(kind: int, data: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(data)) + data


def stored(context: int = 3, instance: str = INSTANCE, sop_class: str = CT_CLASS, data: bytes = DATA) -> bytes:
    return pdata(value(context, 3, store_command(instance, sop_class))) + dataset_pdus(context, data)


def short_element(tag: int, data: bytes, length: int | None = None) -> bytes:
    return struct.pack("<HHL", 0, tag, len(data) if length is None else length) + data


def command(*elements: bytes) -> bytes:
    return REQUEST + pdata(value(1, 3, b"".join(elements)))


def one_byte_at_a_time() -> bytes:
    both = ((1, store_command(INSTANCE)), (0, DATA))
    return REQUEST + b"".join(
        pdata(value(3, kind | 2 * (at == len(data) - 1), data[at : at + 1])) for kind, data in both for at in range(len(data))
    )


FIELD, ID = short_element(0x0100, struct.pack("<H", 0x0030)), short_element(0x0110, b"\1\0")
TYPE = short_element(0x0800, struct.pack("<H", NO_DATASET))
APPLICATION = item(0x10, APPLICATION_CONTEXT.encode())
CONTEXT = item(0x20, b"\1\0\0\0" + item(0x30, VERIFICATION.encode()) + item(0x40, b"1.2.840.10008.1.2"))
USER = item(0x50, item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3"))

_TABLE: dict[str, bytes] = {
    # Before there is an association.
    "aborted-0-0.data-before-a-request": ECHO_PDU,
    "aborted-0-0.data-of-4-gib-before-a-request": header(4, 0xFFFFFFFF),
    "aborted-0-0.request-of-4-gib": header(1, 0xFFFFFFFF) + REQUEST[6:],
    "aborted-0-0.request-of-10-bytes": header(1, 10) + bytes(10),
    "aborted-0-0.http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "aborted-0-0.tls-on-the-plain-port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "aborted-0-0.release-before-a-request": RELEASE,
    "aborted-0-0.answer-before-a-request": header(2, 68) + bytes(68),
    "aborted-0-0.unknown-pdu-before-a-request": header(9, 4) + bytes(4),
    # Requests that are no requests.
    "aborted-2-6.item-ends-in-its-header": with_items(b"\x10\0"),
    "aborted-2-6.item-claims-64-kib": with_items(b"\x10\0\xff\xff"),
    "aborted-2-6.context-of-three-bytes": with_items(APPLICATION + item(0x20, bytes(3)) + USER),
    "aborted-2-6.context-with-an-even-id": with_items(APPLICATION + CONTEXT.replace(b"\1\0\0\0", b"\2\0\0\0", 1) + USER),
    "aborted-2-6.context-twice": with_items(APPLICATION + CONTEXT + CONTEXT + USER),
    "aborted-2-6.context-without-a-transfer-syntax": with_items(
        APPLICATION + item(0x20, b"\1\0\0\0" + item(0x30, VERIFICATION.encode())) + USER
    ),
    "aborted-2-6.context-with-two-abstract-syntaxes": with_items(
        APPLICATION + item(0x20, b"\1\0\0\0" + 2 * item(0x30, VERIFICATION.encode()) + item(0x40, b"1.2")) + USER
    ),
    "aborted-2-6.abstract-syntax-is-a-path": with_items(
        APPLICATION + item(0x20, b"\1\0\0\0" + item(0x30, b"../../etc/passwd") + item(0x40, b"1.2")) + USER
    ),
    "aborted-2-6.maximum-length-of-two-bytes": with_items(APPLICATION + CONTEXT + item(0x50, item(0x51, b"\0\0"))),
    "aborted-2-6.role-without-its-roles": with_items(APPLICATION + CONTEXT + item(0x50, item(0x54, b"\0\3" + b"1.2"))),
    "aborted-2-6.identity-ends-early": with_items(APPLICATION + CONTEXT + item(0x50, item(0x58, b"\2\1\xff\xff"))),
    "rejected-1-1-2.no-application-context": with_items(CONTEXT + USER),
    "rejected-1-1-2.other-application-context": patched(REQUEST.index(APPLICATION_CONTEXT.encode()), b"9"),
    "rejected-1-2-2.protocol-version-2": patched(6, b"\0\2"),
    "rejected-1-1-1.takes-pdus-of-7-bytes": request(max_data_bytes=7),
    "rejected-1-1-3.calling-ae-unknown": request(calling="NOBODY"),
    "rejected-1-1-3.calling-ae-empty": request(calling=""),
    "rejected-1-1-3.calling-ae-with-a-backslash": request(calling="A\\B"),
    "rejected-1-1-3.calling-ae-with-escapes": request(calling="\x1b[2J\r\n"),
    "rejected-1-1-7.called-ae-unknown": request(called="OTHER"),
    "rejected-1-1-7.called-ae-empty": request(called=""),
    "0000.unknown-items-are-skipped": with_items(APPLICATION + item(0x77, b"x" * 999) + CONTEXT + USER + item(0x78, b"")) + ECHO_PDU,
    # PDUs and presentation data values inside an association.
    "aborted-2-6.pdu-of-4-gib": REQUEST + header(4, 0xFFFFFFFF),
    "aborted-2-6.pdu-longer-than-agreed": REQUEST + header(4, 131_073),
    "aborted-2-6.pdu-without-a-value": REQUEST + pdata(),
    "aborted-2-6.value-ends-in-its-header": REQUEST + pdata(struct.pack(">L", 0)),
    "aborted-2-6.value-of-length-0": REQUEST + pdata(struct.pack(">LBB", 0, 1, 3)),
    "aborted-2-6.value-of-length-1": REQUEST + pdata(struct.pack(">LBB", 1, 1, 3)),
    "aborted-2-6.value-of-4-gib": REQUEST + pdata(struct.pack(">LBB", 0xFFFFFFFF, 1, 3)),
    "aborted-2-6.context-unknown": REQUEST + pdata(value(99, 3, encode(ECHO))),
    "aborted-2-6.context-zero": REQUEST + pdata(value(0, 3, encode(ECHO))),
    "aborted-2-6.command-over-two-contexts": REQUEST + pdata(value(1, 1, encode(ECHO)[:20]), value(3, 3, encode(ECHO)[20:])),
    "aborted-2-6.other-context-inside-a-dataset": REQUEST + STORE + pdata(value(1, 3, encode(ECHO))),
    "aborted-2-6.dataset-over-two-contexts": REQUEST + STORE + pdata(value(3, 0, DATA[:50]), value(1, 2, DATA[50:])),
    "aborted-0-0.command-inside-a-dataset": REQUEST + STORE + pdata(value(3, 3, store_command(INSTANCE))),
    "aborted-0-0.dataset-without-a-command": REQUEST + pdata(value(1, 2, b"data")),
    "aborted-0-0.release-inside-a-message": REQUEST + STORE + RELEASE,
    "aborted-0-0.response-nobody-waits-for": REQUEST
    + pdata(value(1, 3, encode(Command(command_field=0x0030 | RESPONSE, responded_message_id=1, dataset_type=NO_DATASET, status=0)))),
    "aborted-2-2.second-request": REQUEST + REQUEST,
    "aborted-2-2.answer-to-no-request": REQUEST + header(2, 68) + bytes(68),
    "aborted-2-2.rejection-of-no-request": REQUEST + header(3, 4) + bytes(4),
    "aborted-2-2.release-nobody-asked-for": REQUEST + header(6, 4) + bytes(4),
    "aborted-2-6.release-of-5-bytes": REQUEST + header(5, 5) + bytes(5),
    "aborted-2-1.unknown-pdu": REQUEST + header(9, 4) + bytes(4),
    "aborted-2-1.pdu-of-type-0": REQUEST + header(0, 0),
    "0000.empty-values-between": REQUEST
    + pdata(value(3, 1, b""), value(3, 3, store_command(INSTANCE)), value(3, 0, b""))
    + pdata(value(3, 0, b"")) * 50
    + pdata(value(3, 0, DATA))
    + pdata(value(3, 2, b"")),
    "0000.fragments-of-one-byte": one_byte_at_a_time(),
    # Command sets.
    "aborted-0-0.command-set-without-end": REQUEST + pdata(value(1, 1, bytes(16378))) * (MAX_COMMAND_BYTES // 16378 + 1),
    "aborted-0-0.command-set-is-noise": command(b"nonsense"),
    "aborted-0-0.command-set-empty": command(),
    "aborted-0-0.command-set-ends-in-an-element": command(FIELD, ID, TYPE[:-1]),
    "aborted-0-0.command-set-claims-4-gib": command(short_element(0x0002, b"", 0xFFFFFFFF), FIELD, ID, TYPE),
    "aborted-0-0.command-set-in-wrong-order": command(ID, FIELD, TYPE),
    "aborted-0-0.command-set-with-an-element-twice": command(FIELD, FIELD, ID, TYPE),
    "aborted-0-0.command-set-with-another-group": command(struct.pack("<HHL", 8, 8, 0), FIELD, ID, TYPE),
    "aborted-0-0.command-field-of-4-bytes": command(short_element(0x0100, b"\x30\0\0\0"), ID, TYPE),
    "aborted-0-0.command-set-without-a-field": command(ID, TYPE),
    "aborted-0-0.command-set-without-an-id": command(FIELD, TYPE),
    "aborted-0-0.command-set-without-a-dataset-type": command(FIELD, ID),
    "0211.operation-unknown": command(short_element(0x0100, b"\x77\x07"), ID, TYPE),
    "0211.echo-on-a-storage-context": REQUEST + pdata(value(3, 3, encode(ECHO))),
    "0211.store-on-the-verification-context": REQUEST + stored(context=1),
    # Command sets that disagree with their datasets or contexts.
    "0122.class-of-another-context": REQUEST + stored(sop_class="1.2.840.10008.5.1.4.1.1.4"),
    "0122.class-empty": REQUEST + stored(sop_class=""),
    "0117.instance-uid-climbs": REQUEST + stored(instance="../../../etc/passwd"),
    "0117.instance-uid-is-a-path": REQUEST + stored(instance="/dev/null"),
    "0117.instance-uid-of-65-characters": REQUEST + stored(instance="1." + "2" * 63),
    "0117.instance-uid-holds-a-newline": REQUEST + stored(instance="1.2\n.3"),
    "0117.instance-uid-holds-a-nul": REQUEST + stored(instance="1.2\0.3"),
    "0117.instance-uid-empty": REQUEST + stored(instance=""),
    "A900.instance-of-another-uid": REQUEST + stored(instance="2.25.8"),
    "C000.store-without-a-dataset": REQUEST
    + pdata(
        value(
            3,
            3,
            encode(
                Command(
                    affected_sop_class=CT_CLASS,
                    affected_sop_instance=INSTANCE,
                    command_field=C_STORE_RQ,
                    message_id=2,
                    priority=0,
                    dataset_type=NO_DATASET,
                )
            ),
        )
    ),
    "C000.store-of-nothing": REQUEST + stored(data=b""),
    "0000.group-length-lies": REQUEST + pdata(value(1, 3, short_element(0, b"\xff\xff\xff\x7f") + encode(ECHO)[12:])),
}


def cases() -> Iterator[Case]:
    for name, sent in _TABLE.items():
        answer, what = name.split(".")
        yield Case(answer, what, sent)


def large() -> tuple[Case, ...]:
    """Those that are no files."""
    return tuple(case for case in cases() if len(case.sent) > LARGEST_FILE)


def main() -> None:
    for path in HERE.glob("*.pdus"):
        path.unlink()
    for case in cases():
        if len(case.sent) <= LARGEST_FILE:
            (HERE / case.name).write_bytes(case.sent)


if __name__ == "__main__":
    main()
