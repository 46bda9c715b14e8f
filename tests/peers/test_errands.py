"""The commands that speak to other archives, from the command line through edge to Orthanc and dcmtk, and back."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

from edge.config import Layout
from edge.control import asking
from edge.control.peers import PutPeer
from tests.dimse.fakes import CT, FILES, HERE, MR_RLE
from tests.servers import ROOT, Endpoint, edge_alone, free_port, listens, need, orthanc, pynetdicom_scp, started, until

EVERYTHING = ["commit", "find", "get", "move", "store"]


@dataclass(frozen=True)
class Site:
    """Our edge, with Orthanc as its peer ORTHANC and Orthanc knowing it as OUTPOST."""

    state: Path
    edge: Endpoint
    orthanc: Endpoint

    def outpost(self, *words: str, code: int = 0) -> list[dict]:
        """An outpost command; its answers."""
        command = [sys.executable, str(ROOT / "outpost.py"), *words, "--state", str(self.state), "--json"]
        finished = subprocess.run(command, capture_output=True, timeout=60, text=True)
        assert finished.returncode == code, finished.stdout + finished.stderr
        return [json.loads(line) for line in finished.stdout.splitlines()]

    def rest(self, path: str, body: bytes | None = None, method: str | None = None) -> object:
        """Orthanc's REST interface."""
        request = urllib.request.Request(f"http://{HERE}:{self.orthanc.http_port}{path}", body, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def send(self, name: str) -> str:
        """Have dcmtk send an instance to us; its study."""
        command = [need("dcmsend", "dcmtk"), "-aet", "BENCH", "-aec", "OUTPOST", "--decompress-never", HERE, str(self.edge.port)]
        subprocess.run([*command, str(FILES / name)], check=True, capture_output=True, timeout=60)
        return str(pydicom.dcmread(FILES / name, stop_before_pixels=True).StudyInstanceUID)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    place = tmp_path_factory.mktemp("errands")
    with edge_alone(place / "state") as edge:
        modalities = {"outpost": ["OUTPOST", HERE, edge.port]}
        with orthanc(place / "orthanc", DicomModalities=modalities, DicomAlwaysAllowMove=True) as peer:
            list(asking.ask(Layout(place / "state").control, PutPeer(ae_title="ORTHANC", host=HERE, port=peer.port, rights=EVERYTHING)))
            yield Site(place / "state", edge, peer)


def test_orthanc_answers_our_echo(site: Site) -> None:
    (row,) = site.outpost("peers", "echo", "ORTHANC")
    assert row["is"] == "echoed"
    assert site.outpost("peers", "echo", "NOBODY", code=66) == []


@pytest.mark.parametrize("name", [CT, MR_RLE])
def test_a_study_goes_to_orthanc_and_is_found_there(site: Site, name: str) -> None:
    study = site.send(name)
    *_, last = site.outpost("studies", "send", study, "ORTHANC")
    assert (last["total"], last["completed"], last["failed"]) == (1, 1, 0)
    (match,) = site.outpost("query", "ORTHANC", "-k", f"StudyInstanceUID={study}", "--show-phi")
    assert match["attributes"]["00100010"]["Value"][0]["Alphabetic"]
    (hidden,) = site.outpost("query", "ORTHANC", "-k", f"0020,000D={study}")
    assert "00100010" not in hidden["attributes"]
    (series,) = site.outpost("query", "ORTHANC", "--level", "series", "-k", f"StudyInstanceUID={study}")
    assert series["attributes"]["0020000E"]["Value"]


@pytest.mark.parametrize("way", ["get", "move"])
@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_jpeg_ls_lossless.dcm"])
def test_a_study_of_orthanc_comes_to_us(site: Site, way: str, name: str) -> None:
    dataset = pydicom.dcmread(FILES / name)
    dataset.StudyInstanceUID = dataset.SeriesInstanceUID = study = pydicom.uid.generate_uid()
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    path = site.state / "one.dcm"
    dataset.save_as(path)
    site.rest("/instances", path.read_bytes(), "POST")
    *_, last = site.outpost("retrieve", "ORTHANC", study, "--way", way)
    assert (last["way"], last["completed"], last["failed"]) == (way, 1, 0)
    ((row,),) = [[one for one in site.outpost("studies") if one["study"] == study]]
    assert row["instances"] == 1


def test_orthanc_stores_queries_and_retrieves_at_us(site: Site) -> None:
    (stored,) = [one for one in site.rest("/instances", (FILES / CT).read_bytes(), "POST").items() if one[0] == "ParentStudy"]
    study = str(pydicom.dcmread(FILES / CT, stop_before_pixels=True).StudyInstanceUID)
    sent = site.rest("/modalities/outpost/store", json.dumps({"Resources": [stored[1]], "Synchronous": True}).encode(), "POST")
    assert sent["FailedInstancesCount"] == 0
    question = {"Level": "Study", "Query": {"StudyInstanceUID": study}}
    found = site.rest("/modalities/outpost/query", json.dumps(question).encode(), "POST")
    answers = f"/queries/{found['ID']}/answers"
    assert len(site.rest(answers)) == 1
    site.rest(f"/studies/{stored[1]}", method="DELETE")
    site.rest(f"{answers}/0/retrieve", b'{"TargetAet": "ORTHANC", "Synchronous": true}', "POST")
    assert site.rest(f"/studies/{stored[1]}")["MainDicomTags"]["StudyInstanceUID"] == study


def test_orthanc_commits_to_what_it_was_sent(site: Site) -> None:
    study = site.send(CT)
    (unknown,) = site.outpost("studies", "commit", site.send("rtdose.dcm"), "ORTHANC", code=1)
    assert (unknown["total"], unknown["reasons"]) == (1, {"0112": 1})
    site.outpost("studies", "send", study, "ORTHANC")
    (row,) = site.outpost("studies", "commit", study, "ORTHANC")
    assert (row["total"], row["reasons"]) == (1, {})


def reported(site: Site, path: str) -> dict:
    """What Orthanc says of a storage commitment once it has heard our report."""
    until(lambda: site.rest(path)["Status"] != "Pending", "Orthanc has our report")
    return site.rest(path)


def test_orthanc_asks_us_to_commit_and_hears_that_we_do(site: Site) -> None:
    site.send(CT)
    known = pydicom.dcmread(FILES / CT, stop_before_pixels=True)
    wanted = [[str(known.SOPClassUID), str(known.SOPInstanceUID)], ["1.2.840.10008.5.1.4.1.1.4", str(known.SOPInstanceUID)]]
    answers = []
    for pair in wanted:
        asked = site.rest("/modalities/outpost/storage-commitment", json.dumps({"DicomInstances": [pair]}).encode(), "POST")
        answers.append(reported(site, asked["Path"]))
    assert [answer["Status"] for answer in answers] == ["Success", "Failure"]
    assert answers[0]["RemoteAET"] == "OUTPOST"
    assert [failure["FailureReason"] for failure in answers[1]["Failures"]] == [0x0119]


def test_dcmqrscp_is_sent_to_asked_and_retrieved_from(site: Site, tmp_path: Path) -> None:
    """dcmtk's archive offers C-GET; what comes back is a duplicate of what was sent."""
    port = free_port()
    (tmp_path / "db").mkdir()
    (tmp_path / "dcmqrscp.cfg").write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\nHostTable BEGIN\nours = (OUTPOST, {HERE}, {site.edge.port})\n"
        f'HostTable END\nAETable BEGIN\nARCHIVE "{tmp_path / "db"}" RW (200, 1024mb) ANY\nAETable END\n'
    )
    study = site.send(CT)
    with started([need("dcmqrscp", "dcmtk"), "-c", str(tmp_path / "dcmqrscp.cfg")], tmp_path / "dcmqrscp.log"):
        until(lambda: listens(port), "dcmqrscp listens")
        list(asking.ask(Layout(site.state).control, PutPeer(ae_title="ARCHIVE", host=HERE, port=port)))
        site.outpost("peers", "echo", "ARCHIVE")
        *_, last = site.outpost("studies", "send", study, "ARCHIVE")
        assert last["completed"] == 1
        (match,) = site.outpost("query", "ARCHIVE", "-k", f"StudyInstanceUID={study}")
        assert match["attributes"]["0020000D"]["Value"] == [study]
        for way in ("get", "move"):
            *_, last = site.outpost("retrieve", "ARCHIVE", study, "--way", way)
            assert (last["completed"], last["failed"]) == (1, 0)


def test_pynetdicoms_own_apps_are_verified_and_stored_to(site: Site, tmp_path: Path) -> None:
    study = site.send(CT)
    with pynetdicom_scp(tmp_path / "pynetdicom") as there:
        list(asking.ask(Layout(site.state).control, PutPeer(ae_title=there.ae_title, host=HERE, port=there.port)))
        site.outpost("peers", "echo", there.ae_title)
        *_, last = site.outpost("studies", "send", study, there.ae_title)
        assert (last["total"], last["completed"]) == (1, 1)
    (path,) = (tmp_path / "pynetdicom" / "received").iterdir()
    assert pydicom.dcmread(path).PixelData == pydicom.dcmread(FILES / CT).PixelData
