"""Every adapter behind the ports of archives: of objects, each with a fresh, empty archive, and of instances."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from cloudsync.archive.azure_blob import AzureBlob
from cloudsync.archive.dicomweb import DicomWeb
from cloudsync.archive.folder import Folder
from cloudsync.archive.gcs import Gcs
from cloudsync.archive.instances import InstanceArchive
from cloudsync.archive.port import Archive
from cloudsync.archive.s3 import S3
from tests import azurite, buckets, dicomweb, servers


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[azurite.Azurite]:
    with azurite.running(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[buckets.Moto]:
    with buckets.moto(tmp_path_factory.mktemp("moto")) as running:
        yield running


@pytest.fixture(scope="session")
def fake_gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[buckets.FakeGcs]:
    with buckets.fake_gcs(tmp_path_factory.mktemp("fake_gcs")) as running:
        yield running


@pytest_asyncio.fixture(params=["folder", "azure_blob", "s3", "gcs"])
async def archive(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Archive]:
    made: Archive
    if request.param == "folder":
        Folder.prepare(tmp_path / "archive")
        made = Folder(tmp_path / "archive")
    elif request.param == "gcs":
        google: buckets.FakeGcs = request.getfixturevalue("fake_gcs")
        made = Gcs(google.make_bucket(), None, google.address)
    elif request.param == "s3":
        amazon: buckets.Moto = request.getfixturevalue("moto")
        bucket = amazon.make_bucket()
        made = S3(bucket, buckets.REGION, amazon.address, amazon.credential(tmp_path))
    else:
        emulator: azurite.Azurite = request.getfixturevalue("emulator")
        container = f"c{uuid.uuid4().hex}"
        emulator.make_container(container)
        # What a site really has: create, read and list, and nothing else.
        made = AzureBlob(container, emulator.credential(tmp_path, emulator.sas_address(container, "crl")))
    yield made
    await made.close()


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DICOMweb address of Debian's Orthanc."""
    with servers.orthanc(tmp_path_factory.mktemp("peer") / "orthanc") as endpoint:
        yield f"http://127.0.0.1:{endpoint.http_port}/dicom-web"


@pytest_asyncio.fixture(params=["orthanc", "google", "google, in one part"])
async def instances(request: pytest.FixtureRequest) -> AsyncIterator[InstanceArchive]:
    if request.param == "orthanc":
        made = DicomWeb(request.getfixturevalue("orthanc"))
        yield made
        await made.close()
        return
    async with dicomweb.running(dicomweb.Fake(single_part=request.param != "google")) as fake:
        made = DicomWeb(fake.url)
        yield made
        await made.close()
