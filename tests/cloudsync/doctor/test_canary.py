"""The canary against Azurite: each right too many is found by using it, each that is missing by its refusal, and nothing is lost."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloudsync.archive.attempt import Attempt
from cloudsync.archive.azure_blob import AzureBlob
from cloudsync.archive.folder import Folder
from cloudsync.archive.port import LinkDown, Stat, md5_of
from cloudsync.doctor import canary
from edge.finding import Finding
from tests import azurite

SITE = "k7q2mzxw6y"
CANARY = Stat(f"{SITE}/canary", len(canary.CONTENT), md5_of(canary.CONTENT))


@pytest.fixture
def container(emulator: azurite.Azurite) -> str:
    name = f"c{uuid.uuid4().hex}"
    emulator.make_container(name)
    return name


async def found(archive: canary.Probed, kind: str = "azure_blob") -> dict[str, Finding]:
    findings = {finding.check.removeprefix("archive."): finding for finding in await canary.look(archive, SITE, kind)}
    assert all(finding.cure for finding in findings.values() if finding.level in {"warning", "fault"})
    return findings


def levels(findings: dict[str, Finding]) -> dict[str, str]:
    return {check: finding.level for check, finding in findings.items() if finding.level != "good"}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("rights", "expected"),
    [
        ("rcl", {}),
        ("rcwl", {"overwrite": "fault"}),
        ("rcdl", {"delete": "fault"}),
        ("rl", {"write": "fault", "read": "fault", "list": "fault", "overwrite": "unknown", "delete": "unknown"}),
        ("cl", {"read": "fault", "overwrite": "unknown", "delete": "unknown"}),
        ("rc", {"list": "fault"}),
    ],
)
async def test_what_a_sas_may_do_is_found_by_doing_it(
    emulator: azurite.Azurite, container: str, tmp_path: Path, rights: str, expected: dict[str, str]
) -> None:
    archive = AzureBlob(container, emulator.credential(tmp_path, emulator.sas_address(container, rights)))
    for _ in range(2 if "r" in rights else 1):  # the second time the canary is there already, which only who may read can see
        findings = await found(archive)
        assert levels(findings) == expected
        for harm, letter in (("overwrite", "(w"), ("delete", "(d)")):
            if expected.get(harm) == "fault":
                assert letter in findings[harm].cure
                assert "sp=rcl" in findings[harm].cure
    if "fault" not in {expected.get("write"), expected.get("read")}:
        assert await archive.head(CANARY.name) == CANARY
    await archive.close()


@pytest.mark.asyncio
async def test_every_way_to_overwrite_is_tried(emulator: azurite.Azurite, container: str, tmp_path: Path) -> None:
    archive = AzureBlob(container, emulator.credential(tmp_path, emulator.connection_string))
    findings = await found(archive)
    assert levels(findings) == {"overwrite": "fault", "delete": "fault"}
    for deed in ("Put Blob", "Put Block List", "Copy Blob", "Set Blob Properties", "Set Blob Metadata", "Set Blob Tier"):
        assert deed in findings["overwrite"].sentence
    assert await archive.head(CANARY.name) == CANARY
    await archive.close()


@pytest.mark.asyncio
async def test_an_expired_sas_proves_nothing_and_is_not_taken_for_a_harmless_one(
    emulator: azurite.Azurite, container: str, tmp_path: Path
) -> None:
    archive = AzureBlob(container, emulator.credential(tmp_path, emulator.sas_address(container, "rcl", hours=-1)))
    findings = await found(archive)
    assert levels(findings) == {"write": "fault", "read": "fault", "list": "fault", "overwrite": "unknown", "delete": "unknown"}
    await archive.close()


@pytest.mark.asyncio
async def test_a_canary_that_somebody_changed_is_named(emulator: azurite.Azurite, container: str, tmp_path: Path) -> None:
    archive = AzureBlob(container, emulator.credential(tmp_path, emulator.sas_address(container, "rcl")))
    await archive.put(CANARY.name, b"another song", md5_of(b"another song"))
    findings = await found(archive)
    assert "is not what Outpost wrote" in findings["write"].sentence
    assert findings["overwrite"].level == "unknown"
    await archive.close()


@pytest.mark.asyncio
async def test_a_folder_is_said_to_be_in_reach_of_whoever_has_the_box(tmp_path: Path) -> None:
    Folder.prepare(tmp_path / "archive")
    archive = Folder(tmp_path / "archive")
    findings = await found(archive, "folder")
    assert levels(findings) == {"overwrite": "warning", "delete": "warning"}
    assert await archive.head(CANARY.name) == CANARY
    assert [path.name for path in (tmp_path / "archive" / SITE).iterdir()] == ["canary"]
    await archive.close()


def test_an_answer_that_is_neither_yes_nor_no_is_no_proof() -> None:
    tried = [Attempt("Put Blob", "overwrite", "refused", "HTTP 403"), Attempt("Set Blob Tier", "overwrite", "unclear", "HTTP 409")]
    tried += [Attempt("Delete Blob", "delete", "refused", "HTTP 403")]
    overwrite, delete = canary.harmless(tried, "azure_blob")
    assert (overwrite.level, delete.level) == ("warning", "good")
    assert "Set Blob Tier: HTTP 409" in overwrite.sentence


class Interrupted(Folder):
    """An archive whose link breaks in the middle of the attempts."""

    async def attempts(self, name: str, data: bytes) -> AsyncIterator[Attempt]:
        yield Attempt("Put Blob", "overwrite", "done")
        raise LinkDown("the link broke")


@pytest.mark.asyncio
async def test_what_was_done_before_the_link_broke_is_not_forgotten(tmp_path: Path) -> None:
    Folder.prepare(tmp_path / "archive")
    archive = Interrupted(tmp_path / "archive")
    findings = await found(archive)
    await archive.close()
    assert levels(findings) == {"overwrite": "fault", "delete": "warning"}
    assert "Put Blob" in findings["overwrite"].sentence
    assert findings["delete"].sentence == "Not all was tried: the link broke."
