"""Every adapter behind the port of archives, each with a fresh, empty archive."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from cloudsync.archive.azure_blob import AzureBlob
from cloudsync.archive.folder import Folder
from cloudsync.archive.port import Archive
from tests import azurite


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[azurite.Azurite]:
    with azurite.running(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest_asyncio.fixture(params=["folder", "azure_blob"])
async def archive(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Archive]:
    made: Archive
    if request.param == "folder":
        Folder.prepare(tmp_path / "archive")
        made = Folder(tmp_path / "archive")
    else:
        emulator: azurite.Azurite = request.getfixturevalue("emulator")
        container = f"c{uuid.uuid4().hex}"
        emulator.make_container(container)
        # What a site really has: create, read and list, and nothing else.
        made = AzureBlob(container, emulator.credential(tmp_path, emulator.sas_address(container, "crl")))
    yield made
    await made.close()
