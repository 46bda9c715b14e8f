"""The whole way with an archive that reads DICOM, Debian's Orthanc with its DICOMweb plugin: store, held, evicted, recalled.

Compared are the pack files, byte for byte, and what a workstation is sent, dataset by dataset. Orthanc also keeps each file as it was sent,
file meta included; other archives may write that anew, and only the dataset has to come back.
"""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.config import Layout
from edge.control.status import GetStatus, Status
from edge.control.studies import RecallStudy
from edge.demo.instances import samples
from edge.demo.tour import REAL
from edge.store.pack import scan
from tests import servers
from tests.scenarios.conftest import Clinic


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[servers.Endpoint]:
    with servers.orthanc(tmp_path / "orthanc") as endpoint:
        yield endpoint


def settings(endpoint: servers.Endpoint) -> str:
    return f'kind = "dicomweb"\nurl = "http://127.0.0.1:{endpoint.http_port}/dicom-web"\nplaintext_archive = true\nheld_read_percent = 25.0'


def packs(layout: Layout) -> dict[str, str]:
    """SHA-256 of each pack file in the cache."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in layout.cache.glob("??/*.tar")}


def files(layout: Layout) -> set[str]:
    """SHA-256 of each Part 10 file in a pack of the cache."""
    found = set()
    for path in layout.cache.glob("??/*.tar"):
        data = path.read_bytes()
        with path.open("rb") as tar:
            for member in (each.member for each in scan(tar.fileno())):
                found.add(hashlib.sha256(data[member.header_offset + 512 : member.dataset_offset + member.dataset_length]).hexdigest())
    return found


def kept_by(endpoint: servers.Endpoint) -> set[str]:
    """SHA-256 of each file that Orthanc keeps."""

    def get(path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{endpoint.http_port}{path}", timeout=30) as answer:
            return bytes(answer.read())

    return {hashlib.sha256(get(f"/instances/{each}/file")).hexdigest() for each in json.loads(get("/instances"))}


def test_every_real_instance_is_stored_held_evicted_and_recalled_byte_for_byte(
    make_clinic: Callable[..., Clinic], orthanc: servers.Endpoint
) -> None:
    clinic = make_clinic(settings(orthanc))
    real = list(samples(REAL))
    clinic.workstation.send(clinic.site.peer, real, lambda _: None)
    clinic.wait_held()
    (said,) = clinic.site.ask(GetStatus())
    assert isinstance(said, Status)
    assert any("unencrypted" in notice for notice in said.notices)
    before = packs(clinic.site.layout)
    assert kept_by(orthanc) == files(clinic.site.layout)
    clinic.evict()
    assert packs(clinic.site.layout) == {}
    wanted = sorted({sample.study for sample in real})[:2]
    for study in wanted:
        last = list(clinic.workstation.move(clinic.site.peer, study))[-1]
        assert (last.status, last.failed) == (0, 0)
    assert clinic.workstation.received == {sample.sop_instance: {sample.digest} for sample in real if sample.study in wanted}
    for row in clinic.site.studies():
        list(clinic.site.ask(RecallStudy(study=row.study)))
    clinic.site.wait(lambda: all(row.here == row.packs for row in clinic.site.studies()), "every pack is whole again")
    assert packs(clinic.site.layout) == before
