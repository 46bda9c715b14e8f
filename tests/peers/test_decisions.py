"""What people decided about a study, as every way out shows it: findscu, movescu, getscu, QIDO-RS, WADO-RS; over restarts, and over the
loss of the catalogue."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file

from edge.config import Layout
from edge.control import asking, lines
from edge.control.conflicts import Choose, Chosen, ListConflicts
from edge.control.corrections import CorrectStudy
from edge.control.peers import PutPeer
from edge.control.status import GetStatus
from edge.dataset.part10 import read_file_meta
from edge.errors import Refused
from edge.store.pack import scan
from tests.servers import ROOT, Endpoint, edge_alone, free_port, need, started, until

NAMES = {"CT_small.dcm": "xe", "MR_small_implicit.dcm": "xi", "JPEG2000.dcm": "xw"}
"""Real instances, and dcmtk's word for the transfer syntax of each."""
RIGHT = {"patient_name": "Müller^Jörg", "patient_id": "R-77", "issuer": "VALLEY", "birth_date": "19610203", "accession": "A-1"}
KEYWORDS = ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "AccessionNumber")


@dataclass(frozen=True, slots=True)
class Site:
    """An edge with its web services, and the directory where everybody puts what they got."""

    layout: Layout
    edge: Endpoint
    web_port: int
    place: Path

    def ask(self, request: lines.Request) -> list[Any]:
        return list(asking.ask(self.layout.control, request, timeout_seconds=20))

    def dcmtk(self, program: str, *options: str, files: tuple[str, ...] = ()) -> str:
        command = [
            need(program, "dcmtk"),
            "-v",
            "-aet",
            "TEST",
            "-aec",
            self.edge.ae_title,
            *options,
            "127.0.0.1",
            str(self.edge.port),
            *files,
        ]
        finished = subprocess.run(command, capture_output=True, timeout=60)
        said = (finished.stdout + finished.stderr).decode(errors="replace")
        assert finished.returncode == 0, said
        return said

    def send(self, name: str) -> None:
        """One of NAMES, in the transfer syntax that it has."""
        self.dcmtk("storescu", f"-{NAMES[name]}", files=(str(sample(name)),))

    def web(self, path: str, accept: str = "*/*") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.web_port, timeout=20)
        headers = {"Authorization": f"Bearer {self.layout.web_token.read_text().strip()}", "Accept": accept}
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        found = response.status, response.read()
        connection.close()
        return found


@contextmanager
def site(state: Path, place: Path) -> Iterator[Site]:
    place.mkdir(exist_ok=True)
    with edge_alone(state, ("TEST",), "[web]\nport = 0\n") as edge:
        layout = Layout(state)
        port = layout.edge / "web.port"
        port.unlink(missing_ok=True)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with started([sys.executable, "-m", "edge.web", "--state", str(state)], state / "web.log", env=environment):
            until(port.exists, "edge-web listens")
            yield Site(layout, edge, int(port.read_text()), place)


def sample(name: str) -> Path:
    found = get_testdata_file(name)
    assert found is not None
    return Path(str(found))


def stored_datasets(layout: Layout) -> set[bytes]:
    """What lies in open and closed packs; each proves itself."""
    found = set()
    for path in [*layout.open_packs.glob("*.tar"), *layout.cache.glob("??/*.tar")]:
        with path.open("rb") as file:
            for one in scan(file.fileno()):
                found.add(os.pread(file.fileno(), one.member.dataset_length, one.member.dataset_offset))
    return found


def seen_by_all(served: Site, study: str, sop_instance: str, syntax: str = "xe") -> dict[str, pydicom.Dataset]:
    """The same instance by every way out; `syntax` is dcmtk's word for the transfer syntax that it takes best."""
    ways: dict[str, pydicom.Dataset] = {}
    keys = [word for key in KEYWORDS for word in ("-k", key)]
    for way, program, options in (("move", "movescu", ["-aem", "TEST"]), ("get", "getscu", ["+B"])):
        target = served.place / f"{way}{len(list(served.place.iterdir()))}"
        target.mkdir()
        if way == "move":
            port = free_port()
            served.ask(PutPeer(ae_title="TEST", host="127.0.0.1", port=port))
            options.extend(["+P", str(port)])
        served.dcmtk(
            program, *options, f"+{syntax}", "-od", str(target), "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"
        )
        (path,) = target.iterdir()
        ways[way] = pydicom.dcmread(path)
    target = served.place / f"find{len(list(served.place.iterdir()))}"
    target.mkdir()
    query = ["-X", "-od", str(target), "-S", "-k", "QueryRetrieveLevel=STUDY", *keys, "-k", f"StudyInstanceUID={study}"]
    served.dcmtk("findscu", *query)
    (path,) = target.iterdir()
    ways["find"] = pydicom.dcmread(path, force=True)
    status, body = served.web(f"/studies?StudyInstanceUID={study}&includefield=all")
    assert status == 200
    ways["QIDO"] = pydicom.Dataset.from_json(json.loads(body)[0])
    status, body = served.web(f"/studies/{study}/metadata")
    assert status == 200
    ways["metadata"] = pydicom.Dataset.from_json(json.loads(body)[0], bulk_data_uri_handler=lambda uri: None)
    series = str(ways["metadata"].SeriesInstanceUID)
    status, body = served.web(f"/studies/{study}/series/{series}/instances/{sop_instance}", "application/dicom; transfer-syntax=*")
    assert status == 200
    ways["WADO"] = pydicom.dcmread(BytesIO(body))
    assert read_file_meta(body).dataset_offset < len(body)
    return ways


def identity(dataset: pydicom.Dataset) -> dict[str, str]:
    return {keyword: str(dataset.get(keyword, "")) for keyword in KEYWORDS}


def test_every_way_out_says_what_is_right_and_what_is_stored_stays(tmp_path: Path) -> None:
    right = dict(zip(KEYWORDS, RIGHT.values(), strict=True))
    with site(tmp_path / "state", tmp_path / "got") as served:
        for name, syntax in NAMES.items():
            served.send(name)
            original = pydicom.dcmread(sample(name))
            study, sop_instance = str(original.StudyInstanceUID), str(original.SOPInstanceUID)
            before = stored_datasets(served.layout)
            served.ask(CorrectStudy(study=study, **RIGHT))
            ways = seen_by_all(served, study, sop_instance, syntax)
            assert {way: identity(dataset) for way, dataset in ways.items()} == dict.fromkeys(ways, right), name
            for way in ways.keys() - {"find", "QIDO"}:
                (item,) = ways[way].OriginalAttributesSequence
                (was,) = item.ModifiedAttributesSequence
                assert (str(was.PatientName), was.PatientID) == (str(original.PatientName), original.PatientID), (name, way)
                assert ways[way].SOPInstanceUID == sop_instance
            for way in ways.keys() - {"find", "QIDO", "metadata"}:
                if way != "get":  # getscu takes Explicit VR Little Endian: the others are brought into that, then corrected
                    assert ways[way].file_meta.TransferSyntaxUID == original.file_meta.TransferSyntaxUID, (name, way)
                if way == "get" and original["PixelData"].is_undefined_length:
                    assert len(ways[way].PixelData) == original.Rows * original.Columns * 2
                else:
                    assert ways[way].PixelData == original.PixelData, (name, way)
            assert stored_datasets(served.layout) == before
            served.ask(CorrectStudy(study=study, undo=True))
            after = seen_by_all(served, study, sop_instance, syntax)
            assert {way: identity(dataset) for way, dataset in after.items()} == dict.fromkeys(after, identity(original)), name
            assert "OriginalAttributesSequence" not in after["WADO"]


def test_a_correction_outlives_a_restart_and_the_catalogue(tmp_path: Path) -> None:
    path = sample("CT_small.dcm")
    original = pydicom.dcmread(path)
    study, sop_instance = str(original.StudyInstanceUID), str(original.SOPInstanceUID)
    right = dict(zip(KEYWORDS, RIGHT.values(), strict=True))
    state = tmp_path / "state"
    with site(state, tmp_path / "got") as served:
        served.send("CT_small.dcm")
        served.ask(CorrectStudy(study=study, **RIGHT))
        kept = stored_datasets(served.layout)
        packs = {pack.name: pack.read_bytes() for pack in served.layout.open_packs.glob("*.tar")}
    layout = Layout(state)
    with site(state, tmp_path / "got") as served:
        assert identity(seen_by_all(served, study, sop_instance)["WADO"]) == right
    # As after a power cut: the pack is open still, and the catalogue has gone.
    for place in (layout.catalogue, *layout.cache.glob("??/*.tar")):
        place.unlink()
    for name, data in packs.items():
        (layout.open_packs / name).write_bytes(data)
    with site(state, tmp_path / "got") as served:
        ways = seen_by_all(served, study, sop_instance)
        assert {way: identity(dataset) for way, dataset in ways.items()} == dict.fromkeys(ways, right)
        assert stored_datasets(served.layout) == kept


def test_a_rejected_study_is_found_as_unavailable_and_goes_nowhere(tmp_path: Path) -> None:
    path = sample("CT_small.dcm")
    study = str(pydicom.dcmread(path).StudyInstanceUID)
    with site(tmp_path / "state", tmp_path / "got") as served:
        served.send("CT_small.dcm")
        served.ask(CorrectStudy(study=study, rejected=True))
        (answer,) = json.loads(served.web("/studies")[1])
        assert answer["00080056"]["Value"] == ["UNAVAILABLE"]
        assert served.web(f"/studies/{study}")[0] == 404
        target = tmp_path / "nothing"
        target.mkdir()
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]
        assert "person decided" in served.dcmtk("getscu", "-d", "+B", "-od", str(target), "-S", *keys)
        assert list(target.iterdir()) == []
        served.ask(CorrectStudy(study=study, rejected=False))
        assert served.web(f"/studies/{study}", "*/*")[0] == 200
        with pytest.raises(Refused, match="no study"):
            served.ask(CorrectStudy(study="1.2.3", rejected=True))


def test_two_versions_of_an_instance_turn_the_lamp_red_until_somebody_chooses(tmp_path: Path) -> None:
    original = pydicom.dcmread(sample("CT_small.dcm"))
    study, sop_instance = str(original.StudyInstanceUID), str(original.SOPInstanceUID)
    changed = tmp_path / "changed.dcm"
    original.PixelData = b"\0\1" + original.PixelData[2:]
    original.save_as(changed)
    with site(tmp_path / "state", tmp_path / "got") as served:
        served.send("CT_small.dcm")
        served.dcmtk("storescu", "-xe", files=(str(changed),))
        until(lambda: served.ask(GetStatus())[0].conflicts == 1, "the variant is classed")
        (found,) = served.ask(GetStatus())
        assert (found.lamp, found.instances) == ("red", 1)
        (conflict,) = served.ask(ListConflicts())
        assert conflict.reasons == ["its pixels differ"]
        assert pixels(served, study, sop_instance) != original.PixelData
        assert served.ask(Choose(study=study, keep="newest")) == [Chosen(instances=1)]
        until(lambda: pixels(served, study, sop_instance) == original.PixelData, "the newest is visible")
        assert served.ask(GetStatus())[0].lamp == "amber"


def pixels(served: Site, study: str, sop_instance: str) -> bytes:
    series = json.loads(served.web(f"/studies/{study}/series")[1])[0]["0020000E"]["Value"][0]
    status, body = served.web(f"/studies/{study}/series/{series}/instances/{sop_instance}", "application/dicom")
    assert status == 200
    data: bytes = pydicom.dcmread(BytesIO(body)).PixelData
    return data
