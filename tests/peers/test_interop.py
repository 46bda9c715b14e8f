"""A whole edge and the tools that others use, with a real instance of every SOP class and transfer syntax of which there are files.

Each test proves a row of the table in docs/conformance.md; tests/house compares the two.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge.config import Layout
from edge.control import asking, lines
from edge.control.errands import Echoed, EchoPeer, Match, QueryPeer, SendStudy, Sent
from edge.control.peers import PutPeer
from edge.dataset.walk import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE
from edge.dimse import scu
from edge.dimse.negotiation import propose
from edge.dimse.outgoing import Stored
from edge.dimse.requestor import Requestor
from edge.model import UID, AETitle, Peer
from tests.certificates import Authority
from tests.code.packs import Instance
from tests.dimse.raw import verify
from tests.peers.real import Held, chosen, content, decoded, held, part10, received, write
from tests.servers import Endpoint, edge_alone, free_port, listens, need, orthanc, pynetdicom_scp, started, until

HERE = "127.0.0.1"
EVERY = list(chosen().values())
STUDIES = sorted({instance.identity.study for instance in EVERY})
LISTED = "\\".join(STUDIES)
DEFLATED = [instance for instance in EVERY if instance.transfer_syntax == DEFLATED_LE]
OTHERS = [instance for instance in EVERY if instance.transfer_syntax != DEFLATED_LE]
RETIRED = "1.2.840.10008.5.1.4.1.1.6"
"""Ultrasound Image Storage as it was before 1994, which pynetdicom does not take."""
UNCOMPRESSED = (EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE)
STORESCU_OPTIONS = {
    EXPLICIT_LE: "-xe",
    IMPLICIT_LE: "-xi",
    EXPLICIT_BE: "-xb",
    DEFLATED_LE: "-xd",
    "1.2.840.10008.1.2.4.50": "-xy",
    "1.2.840.10008.1.2.4.51": "-xx",
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.81": "-xu",
    "1.2.840.10008.1.2.4.90": "-xv",
    "1.2.840.10008.1.2.4.91": "-xw",
    "1.2.840.10008.1.2.5": "-xr",
}
ROWS: list[tuple[str, str, str]] = []
"""(peer, our role and service, what was seen)"""

Test = Callable[..., None]


def proves(peer: str, service: str, seen: str) -> Callable[[Test], Test]:
    ROWS.append((peer, service, seen))
    return lambda test: test


@dataclass(frozen=True, slots=True)
class Box:
    """Our edge on a state directory of its own; TEST may talk to it."""

    state: Path
    port: int

    def ask(self, request: lines.Request) -> list[lines.Answer]:
        return list(asking.ask(Layout(self.state).control, request))

    def introduce(self, ae_title: str, port: int) -> None:
        self.ask(PutPeer(ae_title=ae_title, host=HERE, port=port))

    def dcmtk(self, program: str, *arguments: str | Path) -> str:
        """A tool of dcmtk as TEST, calling OUTPOST; what it says. Files follow the address."""
        options = [str(argument) for argument in arguments if not isinstance(argument, Path)]
        files = [str(argument) for argument in arguments if isinstance(argument, Path)]
        return run([need(program, "dcmtk"), "-v", "-aet", "TEST", "-aec", "OUTPOST", *options, HERE, str(self.port), *files])

    def pynetdicom(self, program: str, *arguments: str | Path) -> str:
        """An application of pynetdicom, in the same way."""
        options = [str(argument) for argument in arguments if not isinstance(argument, Path)]
        files = [str(argument) for argument in arguments if isinstance(argument, Path)]
        command = [sys.executable, "-W", "ignore", "-m", "pynetdicom", program, HERE, str(self.port), *files]
        return run([*command, "-v", "-aet", "TEST", "-aec", "OUTPOST", *options])


def run(command: list[str], code: int = 0) -> str:
    finished = subprocess.run(command, capture_output=True, timeout=120)
    said = (finished.stdout + finished.stderr).decode(errors="replace")
    assert finished.returncode == code, said[-3000:]
    return said


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Box]:
    with edge_alone(tmp_path / "state", ("TEST",)) as edge:
        yield Box(tmp_path / "state", edge.port)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """Our edge, and in it everything, sent by our own SCU bit by bit."""
    place = tmp_path_factory.mktemp("full")
    with edge_alone(place / "state", ("TEST",)) as edge:
        fill(edge, write(EVERY, place / "files"))
        found = held(place / "state")
        assert {uid: one.dataset for uid, one in found.items()} == {one.identity.sop_instance: one.dataset for one in EVERY}
        yield Box(place / "state", edge.port)


def fill(edge: Endpoint, files: list[Path]) -> None:
    contexts = propose([(UID(sop_class), (UID(syntax),)) for sop_class, syntax in chosen()])
    peer = Peer(AETitle("OUTPOST"), host=HERE, port=edge.port)
    with Requestor().association(peer, AETitle("TEST"), contexts) as association:
        for instance, path in zip(EVERY, files, strict=True):
            with path.open("rb") as file:
                length = len(instance.dataset)
                source = Stored(file.fileno(), path.stat().st_size - length, length)
                identity = instance.identity
                assert scu.store(association, identity.sop_class, identity.sop_instance, UID(instance.transfer_syntax), source) == 0


def assert_same(found: dict[str, Held], expected: list[Instance], *, syntax_may_change: bool = False) -> None:
    """Each arrived, of the same content, in its own transfer syntax unless it may change between the uncompressed ones."""
    assert set(found) == {instance.identity.sop_instance for instance in expected}
    for instance in expected:
        other = found[instance.identity.sop_instance]
        assert other.sop_class == instance.identity.sop_class
        assert content(other.dataset, other.transfer_syntax) == content(instance.dataset, instance.transfer_syntax), instance.label
        if other.transfer_syntax != instance.transfer_syntax:
            assert syntax_may_change, instance.label
            assert {other.transfer_syntax, instance.transfer_syntax} <= {*UNCOMPRESSED}, instance.label


def assert_native(found: dict[str, Held], expected: list[Instance], syntaxes: set[str]) -> None:
    """Each arrived in one of the syntaxes, with the patient and the pixels that dcmtk makes of the same instance."""
    assert set(found) == {instance.identity.sop_instance for instance in expected}
    for instance in expected:
        other = found[instance.identity.sop_instance]
        assert other.transfer_syntax in syntaxes, instance.label
        plain = decoded(instance)
        if plain is not None:
            assert content(other.dataset, other.transfer_syntax) == content(plain, EXPLICIT_LE), instance.label


ALL = f"{len(EVERY)} kinds, as they are"
LITTLE = f"{len(EVERY)} kinds, in Implicit or Explicit VR Little Endian"


@proves("dcmtk echoscu", "Verification SCP", "answered")
@proves("dcmtk termscu", "none", "its private request to end is not obeyed; others are served")
def test_dcmtk_verifies_and_cannot_end_us(full: Box) -> None:
    assert "Received Echo Response (Success)" in full.dcmtk("echoscu")
    subprocess.run([need("termscu", "dcmtk"), "-aet", "TEST", "-aec", "OUTPOST", HERE, str(full.port)], capture_output=True, timeout=60)
    verify(full.port)


@proves("dcmtk dcmsend", "Storage SCP", f"{len(EVERY)} kinds; it brings uncompressed ones into Explicit VR Little Endian itself")
def test_dcmsend_stores_everything(empty: Box, tmp_path: Path) -> None:
    write(EVERY, tmp_path / "files")
    said = empty.dcmtk("dcmsend", "--decompress-never", "+sd", tmp_path / "files")
    assert f"with status SUCCESS  : {len(EVERY)}" in said
    assert_same(held(empty.state), EVERY, syntax_may_change=True)


@proves("dcmtk storescu", "Storage SCP", ALL)
def test_storescu_stores_everything_in_its_transfer_syntax(empty: Box, tmp_path: Path) -> None:
    for syntax in sorted({one.transfer_syntax for one in EVERY}):
        files = write([one for one in EVERY if one.transfer_syntax == syntax], tmp_path / syntax)
        empty.dcmtk("storescu", "-R", STORESCU_OPTIONS[syntax], *files)
    assert_same(held(empty.state), EVERY)


@proves("dcmtk storescu, over TLS", "Storage SCP", ALL)
@proves("dcmtk findscu, over TLS", "Query SCP, Study Root", "every study found")
def test_dcmtk_stores_everything_and_finds_it_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "certificates")
    files = authority.files("outpost", as_rsa=True)
    certificate, key = authority.issue("test", as_rsa=True)
    port = free_port()
    settings = f'tls_port = {port}\ncertificate_file = "{files.certificate_file}"\nkey_file = "{files.key_file}"\n'
    settings += f'client_ca_file = "{files.client_ca_file}"\n'
    secured = ["+tls", str(key), str(certificate), "+cf", str(authority.certificate)]
    with edge_alone(tmp_path / "state", ("TEST",), dicom=settings):
        box = Box(tmp_path / "state", port)
        for syntax in sorted({one.transfer_syntax for one in EVERY}):
            sent = write([one for one in EVERY if one.transfer_syntax == syntax], tmp_path / syntax)
            box.dcmtk("storescu", *secured, "-R", STORESCU_OPTIONS[syntax], *sent)
        assert_same(held(box.state), EVERY)
        said = box.dcmtk("findscu", *secured, "-S", *keys("STUDY", "0020,000D="))
        assert all(study in said for study in STUDIES)


@proves("pynetdicom storescu", "Storage SCP", ALL)
def test_pynetdicom_stores_everything(empty: Box, tmp_path: Path) -> None:
    write(EVERY, tmp_path / "files")
    empty.pynetdicom("storescu", "-cx", "-r", tmp_path / "files")
    assert_same(held(empty.state), EVERY)


@proves("pynetdicom echoscu", "Verification SCP", "answered")
def test_pynetdicom_verifies(full: Box) -> None:
    assert "Received Echo Response (Status: 0x0000" in full.pynetdicom("echoscu")


@proves("dcmtk findscu", "Query SCP, Patient Root and Study Root", "every patient, study, series and instance found")
def test_findscu_finds_everything(full: Box) -> None:
    patients = [line for line in full.dcmtk("findscu", "-P", *keys("PATIENT", "0010,0020=")).splitlines() if "PatientID" in line]
    assert len(patients) >= len({line.partition("[")[2].partition("]")[0] for line in patients}) > 10
    said = full.dcmtk("findscu", "-S", *keys("STUDY", "0020,000D="))
    assert all(study in said for study in STUDIES)
    for study in STUDIES:
        of_study = [one.identity for one in EVERY if one.identity.study == study]
        said = full.dcmtk("findscu", "-S", *keys("SERIES", f"0020,000D={study}", "0020,000E="))
        assert all(one.series in said for one in of_study)
        said = full.dcmtk("findscu", "-S", *keys("IMAGE", f"0020,000D={study}", f"0020,000E={of_study[0].series}", "0008,0018="))
        assert all(one.sop_instance in said for one in of_study if one.series == of_study[0].series)


def keys(level: str, *more: str) -> list[str]:
    return [word for key in (f"0008,0052={level}", *more) for word in ("-k", key)]


@proves("dcmtk movescu, to storescp", "Retrieve SCP (MOVE), Storage SCU", f"{len(EVERY)} kinds, bit by bit")
def test_movescu_has_everything_moved(full: Box, tmp_path: Path) -> None:
    """storescp takes deflated datasets only when it takes no compressed ones."""
    for option, wanted in (("+xa", OTHERS), ("+xd", DEFLATED)):
        place = tmp_path / option
        place.mkdir()
        with storescp(place, option) as port:
            full.introduce("DEST", port)
            studies = "\\".join(sorted({one.identity.study for one in wanted}))
            said = full.dcmtk("movescu", "-S", "-aem", "DEST", *keys("STUDY", f"0020,000D={studies}"))
        assert "Received Final Move Response (Success)" in said
        assert_identical(received(place / "there"), wanted)


@proves("dcmtk movescu, to storescp +xi", "Retrieve SCP (MOVE), Storage SCU", f"{len(EVERY)} kinds, in Implicit VR Little Endian")
@proves(
    "dcmtk movescu, to storescp +xe",
    "Retrieve SCP (MOVE), Storage SCU",
    f"{len(EVERY)} kinds, compressed ones in Explicit VR Little Endian",
)
def test_a_destination_that_takes_no_compression_gets_everything_all_the_same(full: Box, tmp_path: Path) -> None:
    """With +xi storescp takes Implicit VR Little Endian alone; with +xe the other uncompressed ones too."""
    for option, best, syntaxes in (("+xi", IMPLICIT_LE, {IMPLICIT_LE}), ("+xe", EXPLICIT_LE, {*UNCOMPRESSED})):
        place = tmp_path / option
        place.mkdir()
        with storescp(place, option) as port:
            full.introduce("DEST", port)
            said = full.dcmtk("movescu", "-S", "-aem", "DEST", *keys("STUDY", f"0020,000D={LISTED}"))
        assert "Received Final Move Response (Success)" in said
        there = received(place / "there")
        assert_native(there, EVERY, syntaxes)
        for instance in EVERY:
            assert instance.transfer_syntax in syntaxes or there[instance.identity.sop_instance].transfer_syntax == best


@proves("dcmtk getscu", "Retrieve SCP (GET)", LITTLE)
def test_getscu_gets_what_it_can_take(full: Box, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    said = full.dcmtk("getscu", "-S", "+B", "-od", str(tmp_path / "there"), *keys("STUDY", f"0020,000D={LISTED}"))
    assert "Number of Failed Suboperations    : 0" in said, said[-2000:]
    assert_native(received(tmp_path / "there"), EVERY, {EXPLICIT_LE, IMPLICIT_LE})


@proves("pynetdicom findscu", "Query SCP, Study Root", "every study found")
def test_pynetdicom_finds_every_study(full: Box) -> None:
    said = full.pynetdicom("findscu", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=")
    assert all(study in said for study in STUDIES)


@proves("pynetdicom getscu", "Retrieve SCP (GET)", LITTLE)
def test_pynetdicom_gets_what_it_can_take(full: Box, tmp_path: Path) -> None:
    asked = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={LISTED}"]
    full.pynetdicom("getscu", "-S", "-od", str(tmp_path / "there"), *asked)
    assert_native(received(tmp_path / "there"), EVERY, {EXPLICIT_LE, IMPLICIT_LE})


@proves(
    "pynetdicom movescu, to storescp",
    "Retrieve SCP (MOVE), Storage SCU",
    f"{len(EVERY) - 1} kinds, as they are; it takes no retired SOP class",
)
def test_pynetdicom_has_moved_everything_but_what_is_retired(full: Box, tmp_path: Path) -> None:
    with pynetdicom_scp(tmp_path / "scp") as there:
        full.introduce("STORESCP", there.port)
        asked = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={LISTED}"]
        full.pynetdicom("movescu", "-S", "-aem", "STORESCP", *asked)
        found = received(tmp_path / "scp/received")
    assert_same(found, [one for one in EVERY if one.identity.sop_class != RETIRED])


@proves("Orthanc 1.10.1", "Verification SCP and SCU", "answered")
@proves("Orthanc 1.10.1", "Storage SCP", f"{len(EVERY)} kinds, as they are")
@proves("Orthanc 1.10.1", "Storage SCU", f"{len(EVERY)} kinds, as they are")
@proves("Orthanc 1.10.1", "Query SCP and SCU, Study Root", "every study found")
@proves("Orthanc 1.10.1", "Retrieve SCP (MOVE)", f"{len(EVERY)} kinds")
def test_orthanc_stores_queries_and_retrieves_in_both_directions(empty: Box, full: Box, tmp_path: Path) -> None:
    ports = {"outpost": ["OUTPOST", HERE, full.port], "empty": ["OUTPOST", HERE, empty.port]}
    with orthanc(tmp_path / "orthanc", DicomModalities=ports) as there:
        for box in (full, empty):
            box.introduce("ORTHANC", there.port)
        (echoed,) = full.ask(EchoPeer(ae_title="ORTHANC"))
        assert isinstance(echoed, Echoed)
        rest(there, "/modalities/outpost/echo", {})
        for study in STUDIES:
            *_, sent = full.ask(SendStudy(study=study, ae_title="ORTHANC"))
            assert isinstance(sent, Sent)
            assert (sent.failed, sent.completed) == (0, sent.total), (study, sent)
        assert_same(orthanc_holds(there), EVERY)
        found = full.ask(QueryPeer(ae_title="ORTHANC", level="study", keys={"StudyInstanceUID": ""}))
        assert {match.attributes["0020000D"]["Value"][0] for match in found if isinstance(match, Match)} == set(STUDIES)
        stored = rest(there, "/modalities/empty/store", {"Resources": rest(there, "/studies"), "Synchronous": True})
        assert stored["FailedInstancesCount"] == 0
        assert_same(held(empty.state), EVERY, syntax_may_change=True)
        for study in rest(there, "/studies"):
            rest(there, f"/studies/{study}", method="DELETE")
        asked = rest(there, "/modalities/outpost/query", {"Level": "Study", "Query": {"StudyInstanceUID": ""}})
        assert len(rest(there, f"/queries/{asked['ID']}/answers")) == len(STUDIES)
        rest(there, f"/queries/{asked['ID']}/retrieve", {"TargetAet": "ORTHANC", "Synchronous": True})
        assert_same(orthanc_holds(there), EVERY)


@proves("Orthanc 1.10.1, of uncompressed instances alone", "Storage SCU", f"{len(EVERY)} kinds, in Explicit VR Little Endian")
def test_a_study_is_sent_to_an_orthanc_that_takes_no_compression(full: Box, tmp_path: Path) -> None:
    with orthanc(tmp_path / "orthanc", AcceptedTransferSyntaxes=[EXPLICIT_LE]) as there:
        full.introduce("ORTHANC", there.port)
        for study in STUDIES:
            *_, sent = full.ask(SendStudy(study=study, ae_title="ORTHANC"))
            assert isinstance(sent, Sent)
            assert (sent.failed, sent.completed) == (0, sent.total), (study, sent)
        assert_native(orthanc_holds(there), EVERY, {EXPLICIT_LE})


def rest(there: Endpoint, path: str, body: object = None, method: str | None = None) -> Any:
    """Orthanc's REST interface."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{HERE}:{there.http_port}{path}", data, method=method)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def orthanc_holds(there: Endpoint) -> dict[str, Held]:
    found = {}
    for instance in rest(there, "/instances"):
        with urllib.request.urlopen(f"http://{HERE}:{there.http_port}/instances/{instance}/file", timeout=60) as answer:
            uid, one = part10(answer.read())
        found[uid] = one
    return found


@contextmanager
def storescp(place: Path, option: str) -> Iterator[int]:
    """dcmtk's storage SCP, which writes what it gets, bit by bit; the option says what it takes."""
    port = free_port()
    (place / "there").mkdir()
    command = [need("storescp", "dcmtk"), "-aet", "DEST", "-od", str(place / "there"), option, "+B", str(port)]
    with started(command, place / "storescp.log") as process:
        until(lambda: listens(port) or process.poll() is not None, "storescp listens")
        assert process.poll() is None, (place / "storescp.log").read_text()
        yield port


def assert_identical(found: dict[str, Held], expected: list[Instance]) -> None:
    assert set(found) == {instance.identity.sop_instance for instance in expected}
    for instance in expected:
        other = found[instance.identity.sop_instance]
        assert (other.sop_class, other.transfer_syntax) == (instance.identity.sop_class, instance.transfer_syntax), instance.label
        assert other.dataset == instance.dataset, instance.label
