"""Where fuzzing begins: for each target real bytes of the kind that it reads, from pydicom's files and from the vectors of bad input."""

from __future__ import annotations

import json
import math
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pydicom

from edge.code.coder import code
from edge.code.manifest import read_head
from edge.dataset.charset import CharacterSet
from edge.dataset.walk import EXPLICIT_LE, IMPLICIT_LE
from edge.dimse.associate import AssociateRequest, ProposedContext, Roles, UserIdentity, UserInformation, write_request
from edge.dimse.command import C_FIND_RQ, C_MOVE_RQ, NO_DATASET, Command, encode
from edge.dimse.commitment import write_report
from edge.dimse.commitment import write_request as write_commitment
from edge.dimse.identifier import encode as encode_identifier
from edge.dimse.ports import CommitmentReport, Reference
from edge.model import UID, AETitle, Json
from tests.code.packs import close_pack, phantom
from tests.dimse.raw import ECHO, request, store_command
from tests.vectors.dataset.make import HERE as DATASETS
from tests.vectors.dimse.make import HERE as CONNECTIONS

_LARGEST = 4096
_FIND, _PRIVATE, _CT = UID("1.2.840.10008.5.1.4.1.2.2.1"), UID("1.2.3.4"), UID("1.2.840.10008.5.1.4.1.1.2")
_CONTEXTS = tuple(ProposedContext(1 + 2 * at, uid, (UID(EXPLICIT_LE), UID(IMPLICIT_LE))) for at, uid in enumerate((_FIND, _PRIVATE, _CT)))
_EVERYTHING = UserInformation(
    max_data_bytes=16384,
    roles={_CT: Roles(scu=True, scp=True)},
    operations=(1, 0),
    extended={_FIND: b"\1\1\1\1"},
    identity=UserIdentity(2, response_wanted=True, primary=b"user", secondary=b"secret"),
)
_FILES = Path(pydicom.__file__).parent / "data/test_files"


def seeds(target: str) -> Iterator[bytes]:
    yield b""
    match target:
        case "first-pdu":
            yield from (data[:600] for data in _connections())
        case "pdus":
            yield from (data[len(request()) :][:_LARGEST] for data in _connections() if data.startswith(request()))
        case "requests":
            yield from (data[6:_LARGEST] for data in _connections() if data[:1] == b"\1")
            yield write_request(AssociateRequest("OUTPOST", "TEST", _CONTEXTS, _EVERYTHING))[6:]
        case "commands":
            yield from (encode(ECHO), store_command("1.2.3"))
            yield encode(Command(command_field=C_MOVE_RQ, message_id=7, move_destination="DEST", priority=0, dataset_type=1))
            yield encode(Command(command_field=C_FIND_RQ, message_id=7, dataset_type=NO_DATASET))
            yield encode(Command(command_field=0x8021, responded_message_id=7, dataset_type=1, status=0xFF00, remaining=1, completed=2))
        case "identifiers":
            yield from _identifiers()
        case "answers":
            datasets = [path.read_bytes()[:_LARGEST] for path in sorted(DATASETS.glob("stored.*.explicit.dataset"))]
            for identifier in (*_identifiers(), *_odd_identifiers()):
                yield from (struct.pack("<H", len(identifier)) + identifier + dataset for dataset in datasets[:4])
        case "searches":
            yield from (*_identifiers(), *_odd_identifiers())
            yield b"?PatientName=D*^J?&StudyDate=20240101-&limit=3&fuzzymatching=true&includefield=all"
            yield b"?0020000D=1.2.3,1.2.4&ModalitiesInStudy=CT&RequestAttributesSequence.ScheduledProcedureStepID=%22%22"
            yield b"?AccessionNumber=" + b"\\".join([b"A"] * 2000)
            yield b"?AccessionNumber=" + b"\\".join([b"A*"] * 500) + b"&StudyDate=" + b"\\".join([b"2024-"] * 500)
        case "commitments":
            references = (Reference(_CT, UID("1.2.3")), Reference(_CT, UID("1.2.4")))
            report = CommitmentReport(UID("1.2"), references[:1], ((references[1], 0x0112),), AETitle("ARCHIVE"))
            for syntax in (UID(EXPLICIT_LE), UID(IMPLICIT_LE)):
                yield write_commitment(UID("1.2"), references, syntax)
                yield write_report(report, syntax)
            # The sequence of references is a list of UIDs.
            yield encode_identifier({tag: {"vr": "UI", "Value": ["1.2"]} for tag in ("00081195", "00081199")}, UID(EXPLICIT_LE))
            # A reason that is larger than any.
            item = {"00081150": {"vr": "UI", "Value": ["1.2"]}, "00081155": {"vr": "UI", "Value": ["1.2.3"]}}
            large = {"00081198": {"vr": "SQ", "Value": [item | {"00081197": {"vr": "UL", "Value": [1 << 31]}}]}}
            yield encode_identifier(large | {"00081195": {"vr": "UI", "Value": ["1.2"]}}, UID(EXPLICIT_LE))
        case "stow-answers":
            stored = {"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2.3"]}}]}}
            failed = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0x0110]}}]}}
            yield json.dumps(stored | failed).encode()
            yield json.dumps({"00081198": {"vr": "SQ", "Value": [{"00081197": {"Value": [math.inf]}}]}}).encode()
            yield json.dumps({"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": "1.2.3"}}]}}).encode()
            yield b"[" * 100_000
        case "headers" | "transcoding" | "corrections":
            yield from (path.read_bytes() for path in sorted(DATASETS.glob("*.dataset")))
            yield from (data[_offset(data) :][:_LARGEST] for data in _files())
        case "files":
            yield from (data[:1024] for data in _files())
        case "heads":
            yield from _heads()
        case _:
            raise LookupError(target)


def _connections() -> Iterator[bytes]:
    yield from (path.read_bytes() for path in sorted(CONNECTIONS.glob("*.pdus")))


def _files() -> Iterator[bytes]:
    for path in sorted(_FILES.glob("*.dcm")):
        data = path.read_bytes()
        if data[128:132] == b"DICM":
            yield data


def _offset(data: bytes) -> int:
    """Of the dataset, where the file meta begins with its length as it should."""
    return 144 + struct.unpack_from("<L", data, 140)[0]


def _identifiers() -> Iterator[bytes]:
    item = {"00080050": {"vr": "SH", "Value": ["A"]}}
    identifier = {
        "00080005": {"vr": "CS", "Value": ["", "ISO 2022 IR 87"]},
        "00080020": {"vr": "DA", "Value": ["20240101-20240131"]},
        "00080052": {"vr": "CS", "Value": ["STUDY"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Yamada^*", "Ideographic": "山田^太郎"}]},
        "0020000D": {"vr": "UI", "Value": ["1.2.3", "1.2.4"]},
        "00280010": {"vr": "US", "Value": [512]},
        "00400275": {"vr": "SQ", "Value": [item, {"00400275": {"vr": "SQ", "Value": [item]}}]},
    }
    for syntax in (EXPLICIT_LE, IMPLICIT_LE):
        yield encode_identifier(identifier, UID(syntax), CharacterSet(("", "ISO 2022 IR 87")))
        yield encode_identifier({"00080052": {"vr": "CS", "Value": ["IMAGE"]}}, UID(syntax), CharacterSet())


def _odd_identifiers() -> Iterator[bytes]:
    """Attributes under value representations that are not theirs, and more values than can be looked for at once."""
    study: Json = {"00080052": {"vr": "CS", "Value": ["STUDY"]}}
    item = {"00080050": {"vr": "SH", "Value": ["A"]}}
    for tag in ("00080020", "00080050", "00080061", "00100010", "0020000D", "00081030"):
        yield encode_identifier(study | {tag: {"vr": "SQ", "Value": [item]}}, UID(EXPLICIT_LE))
        yield encode_identifier(study | {tag: {"vr": "US", "Value": [7]}}, UID(EXPLICIT_LE))
    yield encode_identifier(study | {"00081032": {"vr": "LO", "Value": ["A"]}}, UID(EXPLICIT_LE))
    for tag in ("00080050", "00100010", "00080020"):
        yield encode_identifier(study | {tag: {"vr": "LO", "Value": ["1"] * 1500}}, UID(EXPLICIT_LE))


def _heads() -> Iterator[bytes]:
    with tempfile.TemporaryDirectory() as scratch:
        job = close_pack(Path(scratch), phantom(2, size=16), 32 << 10)
        code(job)
        data = (Path(job.target_dir) / "000000").read_bytes()
    head = read_head(data)
    yield struct.pack("<H", len(head.heads)) + msgspec.json.encode(head.manifest)
