"""Orthanc retrieves from us while what it asked for is still on its way from the archive."""

from __future__ import annotations

import json
import threading
import urllib.request
from pathlib import Path

from edge.model import AETitle, Peer
from tests.dimse.fakes import CT, EVERYTHING, HERE, MR, PATIENT, box
from tests.dimse.test_retrieve import same_study
from tests.servers import orthanc, until

GAP_SECONDS, LONG_GAP_SECONDS = 4.0, 60.0
"""From the first instance to the second. The association to the destination is closed after 10 s without one, and opens again."""


def test_orthanc_waits_for_what_the_archive_still_has(tmp_path: Path, full: bool) -> None:
    gap = LONG_GAP_SECONDS if full else GAP_SECONDS
    held = same_study(CT, MR)
    with box(held, PATIENT) as ours, orthanc(tmp_path / "orthanc", DicomModalities={"ours": ["OUTPOST", HERE, ours.port]}) as peer:
        ours.peers.peers["ORTHANC"] = Peer(AETitle("ORTHANC"), host=HERE, port=peer.port, rights=EVERYTHING)
        gate = ours.retrieve.gate = threading.Semaphore(1)

        def rest(path: str, body: dict | None = None) -> object:
            data = None if body is None else json.dumps(body).encode()
            with urllib.request.urlopen(f"http://{HERE}:{peer.http_port}{path}", data, timeout=gap + 30) as answer:
                return json.load(answer)

        found = rest("/modalities/ours/query", {"Level": "Study", "Query": {"StudyInstanceUID": "1.2.3.4"}})
        job = rest(f"/queries/{found['ID']}/answers/0/retrieve", {"TargetAet": "ORTHANC", "Asynchronous": True})
        until(lambda: len(rest("/instances")) == 1, "the first instance is there")
        arrives = threading.Timer(gap, gate.release)
        arrives.start()
        until(lambda: rest(f"/jobs/{job['ID']}")["State"] != "Running", "the retrieve has ended", gap + 30)
        assert rest(f"/jobs/{job['ID']}")["State"] == "Success"
        assert len(rest("/instances")) == 2
        arrives.join()
