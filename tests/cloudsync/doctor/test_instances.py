"""What the doctor finds of an archive that reads DICOM; it writes nothing there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from cloudsync.doctor import instances
from edge.clock import SystemClock
from edge.config import Archive
from edge.finding import Finding
from tests.dicomweb import Fake, running

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[Fake]:
    async with running(Fake()) as made:
        yield made


async def found(fake: Fake, credential_file: Path | None = None) -> dict[str, Finding]:
    settings = Archive(kind="dicomweb", url=fake.url, plaintext_archive=True, credential_file=str(credential_file or ""))
    endpoint = instances.endpoint(settings)
    place = (endpoint.hostname or "", endpoint.port or 0, False)
    return {finding.check: finding async for finding in instances.look(settings, place, SystemClock())}


async def test_an_archive_that_answers_a_search_is_good_and_nothing_is_stored(fake: Fake) -> None:
    findings = await found(fake)
    assert {check for check in findings if check.startswith("archive.")} == {"archive.search"}
    assert {finding.level for finding in findings.values()} == {"good"}
    assert {request.split()[0] for request in fake.requests} == {"HEAD", "GET"}


async def test_a_credential_that_is_refused_is_named_with_the_setting(fake: Fake, tmp_path: Path) -> None:
    fake.tokens = {"another"}
    path = tmp_path / "credential"
    path.write_text("Bearer old")
    path.chmod(0o600)
    finding = (await found(fake, path))["archive.search"]
    assert finding.level == "fault"
    assert "archive.credential_file" in finding.sentence + finding.cure
    assert "old" not in json.dumps([finding.sentence, finding.cure])


async def test_a_credential_file_that_is_not_there_is_named(fake: Fake, tmp_path: Path) -> None:
    finding = (await found(fake, tmp_path / "nowhere"))["archive.search"]
    assert (finding.level, "nowhere" in finding.sentence) == ("fault", True)
