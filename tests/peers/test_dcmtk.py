"""dcmtk's tools against the association engine, in both directions, on real instances."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.filebase import DicomBytesIO

from edge.dimse import scu
from edge.dimse.classes import IMPLICIT_LE, LITTLE_ENDIAN, VERIFICATION
from edge.dimse.negotiation import propose, storage_proposals
from edge.dimse.requestor import Requestor
from edge.model import AETitle, Peer
from tests.dimse.fakes import CT, FILES, HERE, JPEG_LOSSY, MR, MR_IMPLICIT, MR_JPEGLS, MR_RLE, PATIENT, RTDOSE, Box, box, instances
from tests.dimse.test_retrieve import same_study
from tests.dimse.test_scu import pairs, store
from tests.servers import free_port, listens, need, started, until

STORED = [CT, MR, MR_RLE, MR_JPEGLS, JPEG_LOSSY, "MR_small_jp2klossless.dcm", "JPEG2000.dcm", "SC_rgb_jpeg_gdcm.dcm", "test-SR.dcm"]


def run(program: str, served: Box, *arguments: str | Path, code: int = 0) -> str:
    """A tool of dcmtk as TEST, calling OUTPOST; what it prints."""
    command = [need(program, "dcmtk"), "-v", "-aet", "TEST", "-aec", "OUTPOST", *map(str, arguments[:-1])]
    files = [arguments[-1]] if arguments and isinstance(arguments[-1], Path) else []
    keys = [] if files else [str(argument) for argument in arguments[-1:]]
    finished = subprocess.run([*command, *keys, HERE, str(served.port), *map(str, files)], capture_output=True, timeout=60)
    said = (finished.stdout + finished.stderr).decode(errors="replace")
    assert finished.returncode == code, said
    return said


@contextlib.contextmanager
def storescp(served: Box, directory: Path, *options: str) -> Iterator[int]:
    """A destination DEST that writes what it gets, dataset and all, to the directory."""
    port = free_port()
    directory.mkdir()
    command = [need("storescp", "dcmtk"), "-aet", "DEST", "-od", str(directory), *options, str(port)]
    with started(command, directory.parent / "storescp.log"):
        until(lambda: listens(port), "storescp listens")
        served.peers.peers["DEST"] = Peer(AETitle("DEST"), host=HERE, port=port)
        yield port


def pixels(directory: Path) -> dict[str, bytes]:
    found = {}
    for path in directory.iterdir():
        dataset = pydicom.dcmread(path)
        found[str(dataset.SOPInstanceUID)] = dataset.PixelData
    return found


def test_echoscu_is_answered() -> None:
    with box() as served:
        assert "Received Echo Response (Success)" in run("echoscu", served, "-d")


def test_echoscu_under_another_title_is_rejected() -> None:
    with box() as served:
        said = run("echoscu", served, "-aet", "NOBODY", code=1)
        assert "Calling AE Title Not Recognized" in said
        said = run("echoscu", served, "-aec", "NOWHERE", code=1)
        assert "Called AE Title Not Recognized" in said


@pytest.mark.parametrize("name", STORED)
def test_dcmsend_sends_every_syntax_as_it_is(name: str) -> None:
    (one,) = instances(name)
    with box() as served:
        assert "with status SUCCESS  : 1" in run("dcmsend", served, "--decompress-never", one.path)
        ((arrival, data),) = served.intake.received
    assert arrival.transfer_syntax == one.located.transfer_syntax
    # dcmtk encodes anew what it sends (group lengths, lengths of sequences), so the values are compared.
    found = pydicom.filereader.read_dataset(DicomBytesIO(data), one.located.transfer_syntax == IMPLICIT_LE, True)
    sent = pydicom.dcmread(one.path)
    assert found.get("PixelData") == sent.get("PixelData")
    assert found.SOPInstanceUID == sent.SOPInstanceUID


@pytest.mark.parametrize("options", [[], ["--max-send-pdu", "4096"], ["--propose-implicit"], ["--repeat", "3"]], ids=" ".join)
def test_storescu_stores(options: list[str]) -> None:
    with box() as served:
        assert "Received Store Response (Success)" in run("storescu", served, *options, FILES / CT)
        assert len(served.intake.received) == (3 if "--repeat" in options else 1)


@pytest.mark.parametrize("model", ["-P", "-S"])
def test_findscu_finds_a_study(model: str) -> None:
    held = instances(CT, MR)
    patient = ["-k", f"0010,0020={held[0].attributes['00100020']['Value'][0]}"] if model == "-P" else []
    keys = ["-k", "0008,0052=STUDY", *patient, "-k", "0010,0010=", "-k"]
    with box(held) as served:
        said = run("findscu", served, model, *keys, f"0020,000D={held[0].located.study}")
    assert "CompressedSamples^CT1" in said
    assert "Received Final Find Response (Success)" in said
    assert "RetrieveAETitle" in said


def test_findscu_cancels() -> None:
    with box(instances(CT, MR, RTDOSE)) as served:
        said = run("findscu", served, "-S", "--cancel", "1", "-k", "0008,0052=STUDY", "-k", "0020,000D=")
    assert "Find Response: 1 (Pending)" in said


def test_movescu_moves_to_storescp_whatever_the_syntax(tmp_path: Path) -> None:
    held = same_study(CT, MR_RLE, MR_IMPLICIT, MR_JPEGLS)
    with box(held) as served, storescp(served, tmp_path / "there", "+xa"):
        keys = ["-S", "-aem", "DEST", "-k", "0008,0052=STUDY", "-k"]
        assert "Received Final Move Response (Success)" in run("movescu", served, *keys, "0020,000D=1.2.3.4")
    expected = {one.located.sop_instance: pydicom.dcmread(one.path).PixelData for one in held}
    assert pixels(tmp_path / "there") == expected


def test_movescu_moves_to_a_storescp_that_speaks_implicit_only(tmp_path: Path) -> None:
    held = same_study(CT)
    with box(held) as served, storescp(served, tmp_path / "there", "+xi"):
        keys = ["-S", "-aem", "DEST", "-k", "0008,0052=STUDY", "-k"]
        run("movescu", served, *keys, "0020,000D=1.2.3.4")
    (path,) = (tmp_path / "there").iterdir()
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2"
    assert pixels(tmp_path / "there") == {held[0].located.sop_instance: pydicom.dcmread(held[0].path).PixelData}


def test_movescu_to_an_unknown_destination_fails() -> None:
    with box(same_study(CT)) as served:
        keys = ["-S", "-aem", "NOWHERE", "-k", "0008,0052=STUDY", "-k"]
        said = run("movescu", served, *keys, "0020,000D=1.2.3.4", code=69)
    assert "MoveDestinationUnknown" in said


def test_getscu_gets_into_a_directory(tmp_path: Path) -> None:
    held = same_study(CT, MR)
    with box(held) as served:
        keys = ["-S", "-od", tmp_path, "-k", "0008,0052=STUDY", "-k"]
        said = run("getscu", served, *keys, "0020,000D=1.2.3.4")
    assert "Number of Completed Suboperations : 2" in said
    assert pixels(tmp_path) == {one.located.sop_instance: pydicom.dcmread(one.path).PixelData for one in held}


def test_our_scu_echoes_and_stores_at_storescp(tmp_path: Path) -> None:
    held = instances(CT, MR_RLE, JPEG_LOSSY)
    with box() as served, storescp(served, tmp_path / "there", "+xa", "--bit-preserving") as port:
        proposals = storage_proposals(pairs(held), min(pairs(held)))
        contexts = propose([*((one.abstract_syntax, one.transfer_syntaxes) for one in proposals), (VERIFICATION, LITTLE_ENDIAN)])
        peer = Peer(AETitle("DEST"), host=HERE, port=port)
        with Requestor(PATIENT).association(peer, AETitle("OUTPOST"), contexts) as association:
            assert scu.echo(association) == 0
            assert [store(association, one) for one in held] == [0, 0, 0]
    written = [path.read_bytes() for path in (tmp_path / "there").iterdir()]
    assert all(any(data.endswith(one.dataset) for data in written) for one in held)
