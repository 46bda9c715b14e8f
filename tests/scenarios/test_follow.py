"""A clinic and a hub on one archive in the cloud, both over 512 kbit/s: what the clinic receives comes into the hub's Orthanc by rule, and
the report that is written there is shown with the study in the clinic.
"""

from __future__ import annotations

import base64
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import data_store
import pydicom
import pytest
from typer.testing import CliRunner

from edge.control.peers import PutPeer
from edge.control.routes import PutRoute
from edge.demo.instances import Sample, read
from edge.demo.site import Site
from edge.demo.workstation import Workstation
from edge.model import UID, Level
from outpost import app
from tests import azurite
from tests.servers import Endpoint, orthanc, until

CT = Path(data_store.__file__).parent / "data" / "693_UNCR.dcm"
"""A real CT, 512 x 512."""
CAP_BYTES_PER_SECOND = 64_000
ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]>>endobj
trailer<</Root 1 0 R>>
%%EOF
"""


class Region:
    """A clinic and a hub that share their keys with each other and follow each other, and the hub's Orthanc, which gets every CT."""

    def __init__(self, place: Path, archive: str, workstation: Workstation) -> None:
        self.place = place
        self.workstation = workstation
        self.clinic, self.hub = (Site(name, place / name, archive) for name in ("clinic", "hub"))
        for site in (self.clinic, self.hub):
            site.set_up(place / f"{site.name}-kit")
            settings = site.layout.config.read_text().replace("quiet_seconds = 2", "quiet_seconds = 1")
            site.layout.config.write_text(settings.replace("[link]", f"[link]\ncap_bytes_per_second = {CAP_BYTES_PER_SECOND}"))
        self.clinic_id, self.hub_id = self.share(self.clinic, self.hub), self.share(self.hub, self.clinic)

    def share(self, of: Site, to: Site) -> str:
        """As two operators do it, by their files; the id of the site that is followed."""
        certificate, exported = self.place / f"{to.name}.pem", self.place / f"{of.name}.keys"
        certificate.write_text(outpost(to, "keys", "certificate"))
        outpost(of, "keys", "share", str(certificate), "--yes")
        told = json.loads(outpost(of, "keys", "export", str(certificate), "--out", str(exported), "--json"))
        outpost(to, "follow", told["site"], "--keys", str(exported), "--trust-root", told["trust_root"])
        return str(told["site"])

    def introduce(self, peer: Endpoint) -> None:
        for site in (self.clinic, self.hub):
            list(site.ask(PutPeer(ae_title=self.workstation.ae_title, host="127.0.0.1", port=self.workstation.port)))
        list(self.hub.ask(PutPeer(ae_title=peer.ae_title, host="127.0.0.1", port=peer.port, rights=["find", "move", "store"])))
        list(self.hub.ask(PutRoute(name="region", peer=peer.ae_title, modalities=["CT"])))


def outpost(site: Site, *arguments: str) -> str:
    done = CliRunner().invoke(app, [*arguments, "--state", str(site.layout.state)])
    assert done.exit_code == 0, done.output
    return done.stdout


def rest(peer: Endpoint, path: str, body: object = None) -> object:
    """What Orthanc answers."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{peer.http_port}{path}", data, timeout=60) as answer:
        return json.load(answer)


def shown(workstation: Workstation, site: Site, study: UID) -> set[str]:
    """The modalities of the series that a viewer is shown of a study."""
    identifier = {"0020000D": {"vr": "UI", "Value": [study]}, "00080060": {"vr": "CS"}, "0020000E": {"vr": "UI"}}
    return {one["00080060"]["Value"][0] for one in workstation.find(site.peer, Level.SERIES, identifier)}


def qido(site: Site, path: str) -> list[dict[str, dict[str, list[object]]]]:
    """What the site answers to a viewer on the web."""
    headers = {"Authorization": f"Bearer {site.layout.web_token.read_text().strip()}", "Accept": "application/dicom+json"}
    request = urllib.request.Request(f"http://127.0.0.1:{site.web_port}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = json.load(answer)
    assert isinstance(found, list)
    return found


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    with azurite.running(tmp_path / "azurite") as azure, Workstation() as workstation:
        azure.make_container("region")
        credential = azure.credential(tmp_path, azure.sas_address("region", "crl"))
        archive = f'kind = "azure_blob"\ncontainer = "region"\ncredential_file = "{credential}"\nfollow_seconds = 0.5\nverify_days = 0'
        made = Region(tmp_path, archive, workstation)
        try:
            for site in (made.clinic, made.hub):
                site.start()
            yield made
        finally:
            for site in (made.clinic, made.hub):
                site.stop()


def test_a_ct_of_the_clinic_comes_into_the_hubs_orthanc_and_its_report_is_shown_with_it_in_the_clinic(
    region: Region, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ct = read(CT)
    assert isinstance(ct, Sample)
    clinic, hub, viewer = region.clinic, region.hub, region.workstation
    with orthanc(tmp_path / "orthanc", DicomModalities={"hub": ["OUTPOST", "127.0.0.1", hub.peer.port]}) as peer:
        region.introduce(peer)
        began = time.monotonic()
        viewer.send(clinic.peer, [ct], lambda _: None)
        until(lambda: rest(peer, "/instances") != [], "the CT is in the hub's Orthanc", 90)
        there = time.monotonic() - began
        (study,) = rest(peer, "/studies?expand")  # type: ignore[misc]
        assert study["MainDicomTags"]["StudyInstanceUID"] == ct.study
        (instance,) = rest(peer, "/instances")  # type: ignore[misc]
        with urllib.request.urlopen(f"http://127.0.0.1:{peer.http_port}/instances/{instance}/file", timeout=60) as answer:
            (tmp_path / "forwarded.dcm").write_bytes(answer.read())
        forwarded, sent = pydicom.dcmread(tmp_path / "forwarded.dcm"), pydicom.dcmread(CT)
        assert (forwarded.SOPInstanceUID, forwarded.PixelData) == (sent.SOPInstanceUID, sent.PixelData)
        (row,) = hub.studies()
        assert (row.study, row.held, row.packs, row.origins) == (ct.study, 1, 1, [region.clinic_id])
        (own,) = clinic.studies()
        assert there >= 2 * own.coded_bytes / CAP_BYTES_PER_SECOND, "it went up and came down under the cap"

        pdf = "data:application/pdf;base64," + base64.b64encode(PDF).decode()
        written = time.monotonic()
        report = rest(peer, "/tools/create-dicom", {"Parent": study["ID"], "Tags": {"SeriesDescription": "Report"}, "Content": pdf})
        rest(peer, "/modalities/hub/store", {"Resources": [report["ID"]], "Synchronous": True})  # type: ignore[index]
        until(lambda: shown(viewer, clinic, ct.study) == {"CT", "OT"}, "the report is shown with the CT in the clinic", 90)
        back = time.monotonic() - written
        assert {row["00080060"]["Value"][0] for row in qido(clinic, f"/studies/{ct.study}/series")} == {"CT", "OT"}
        viewer.received.clear()
        last = list(viewer.move(clinic.peer, ct.study))[-1]
        assert (last.status, last.failed, last.completed) == (0, 0, 2)
        tags = rest(peer, f"/instances/{report['ID']}/simplified-tags")  # type: ignore[index]
        assert tags["SOPClassUID"] == ENCAPSULATED_PDF  # type: ignore[index, call-overload]
        assert set(viewer.received) == {ct.sop_instance, tags["SOPInstanceUID"]}  # type: ignore[index, call-overload]
        assert viewer.received[ct.sop_instance] == {ct.digest}
        (row,) = clinic.studies()
        assert (row.origins, row.packs) == ([region.hub_id], 2)
    with capsys.disabled():
        print(f"\nat {CAP_BYTES_PER_SECOND * 8 // 1000} kbit/s: a CT of {len(ct.dataset)} bytes, {own.coded_bytes} in the archive,")
        print(f"  is in the hub's Orthanc after {there:.1f} s; the report made there is shown in the clinic after {back:.1f} s")
