"""Routes of a running edge: what dcmtk sends arrives at dcmtk, and at Orthanc by STOW-RS, while another destination hangs."""

from __future__ import annotations

import json
import socket
import urllib.request
from pathlib import Path

import pydicom
import pytest

from edge.config import Layout
from edge.control import asking, lines
from edge.control.peers import PutPeer
from edge.control.routes import ListRoutes, PutRoute, RemoveRoute, RetryRoute
from edge.errors import Refused
from tests.dimse.fakes import CT, FILES, HERE, MR_RLE
from tests.peers.test_errands import EVERYTHING, Site
from tests.servers import edge_alone, free_port, listens, need, orthanc, started, until


def ask(state: Path, request: lines.Request) -> list:
    return list(asking.ask(Layout(state).control, request, timeout_seconds=20))


def test_what_arrives_is_sent_on_by_rules_to_peers_and_stow_services(tmp_path: Path) -> None:
    plugin = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
    if not plugin.exists():
        pytest.skip("Orthanc's DICOMweb plugin is not installed (Debian package orthanc-dicomweb)")
    port, state = free_port(), tmp_path / "state"
    (tmp_path / "there").mkdir()
    storescp = [need("storescp", "dcmtk"), "-aet", "PACS", "-od", str(tmp_path / "there"), "+xa", "--bit-preserving", str(port)]
    with (
        socket.create_server((HERE, 0)) as deaf,
        edge_alone(state, dicom="request_seconds = 2.0\n") as edge,
        orthanc(tmp_path / "orthanc") as peer,
        started(storescp, tmp_path / "storescp.log"),
    ):
        until(lambda: listens(port), "storescp listens")
        ours = Site(state, edge, peer)
        ask(state, PutPeer(ae_title="PACS", host=HERE, port=port, rights=EVERYTHING))
        ask(state, PutPeer(ae_title="DEAF", host=HERE, port=deaf.getsockname()[1], rights=EVERYTHING))
        ask(state, PutRoute(name="pacs", peer="PACS", modalities=["CT"]))
        ask(state, PutRoute(name="deaf", peer="DEAF"))
        ask(state, PutRoute(name="web", url=f"http://{HERE}:{peer.http_port}/dicom-web", from_ae="BENCH"))
        with pytest.raises(Refused, match="either to a peer"):
            ask(state, PutRoute(name="both", peer="PACS", url="http://localhost"))
        for name in (CT, MR_RLE):
            ours.send(name)

        def sent() -> dict[str, int]:
            return {row.name: row.sent for row in ask(state, ListRoutes())}

        until(lambda: sent() == {"pacs": 1, "deaf": 0, "web": 2}, "all but the deaf one have what is theirs")
        with urllib.request.urlopen(f"http://{HERE}:{peer.http_port}/instances?expand", timeout=20) as answer:
            stored = {one["MainDicomTags"]["SOPInstanceUID"] for one in json.load(answer)}
        assert stored == {str(pydicom.dcmread(FILES / name, stop_before_pixels=True).SOPInstanceUID) for name in (CT, MR_RLE)}
        (written,) = (tmp_path / "there").iterdir()
        assert pydicom.dcmread(written).PixelData == pydicom.dcmread(FILES / CT).PixelData
        ours.outpost("routes", "ls")
        ask(state, RetryRoute(name="deaf"))
        ask(state, RemoveRoute(name="deaf"))
        with pytest.raises(Refused, match="no route 'deaf'"):
            ask(state, RemoveRoute(name="deaf"))
        assert {row["name"] for row in ours.outpost("routes", "ls")} == {"pacs", "web"}
