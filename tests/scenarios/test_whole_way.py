"""Store, code, seal, archive, evict, recall: every real instance comes back byte for byte, on each kind of archive; and on Azure Blob
Storage whoever holds the credential of the box destroys none of it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import data_store
import pydicom
import pynetdicom
import pytest
from typer.testing import CliRunner

from edge.code.manifest import read_head
from edge.config import Layout
from edge.control.studies import RecallStudy
from edge.demo.instances import samples
from edge.demo.site import Site, folder
from edge.demo.tour import REAL
from edge.finding import Finding, decode
from edge.model import UID
from edge.store.pack import scan
from outpost import app
from tests import azurite, buckets
from tests.attacker import VERSIONS, Attacker
from tests.scenarios.conftest import Clinic
from tests.scenarios.modality import Shipment, send, shipment
from tests.servers import ROOT

NOT_STORAGE = {"1.2.840.10008.1.3.10", "1.2.840.10008.5.1.4.39.1"}
"""Media Storage Directory (DICOMDIR); Color Palette, of the Non-Patient Object Storage service class (PS3.4 annex GG)."""


def corpus() -> list[Shipment]:
    """Every Part 10 file, and every instance without file meta, in the test data of pydicom, pydicom-data and pynetdicom."""
    roots = [Path(package.__file__).parent for package in (pydicom, data_store, pynetdicom)]
    paths = [path for root in roots for path in sorted(root.rglob("*")) if path.is_file() and path.suffix not in {".py", ".pyc", ".pyi"}]
    return [found for path in paths if (found := shipment(path)) is not None]


def cached_digests(layout: Layout) -> Counter[str]:
    """Digests of every member of every pack file in the cache; each was proven against its bytes by the scan."""
    digests: Counter[str] = Counter()
    for path in layout.cache.glob("??/*.tar"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            digests.update(found.member.digest for found in scan(descriptor))
        finally:
            os.close(descriptor)
    return digests


def codings(layout: Layout) -> Counter[tuple[str, str]]:
    """Transfer syntax and coding of every member, from the kept heads."""
    counts: Counter[tuple[str, str]] = Counter()
    for path in layout.heads.glob("*/*.tar.zst"):
        for member in read_head(path.read_bytes()).manifest.members:
            counts[pydicom.uid.UID(member.transfer_syntax).name, member.coding] += 1
    return counts


def outpost(clinic: Clinic, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "outpost.py"), *arguments, "--state", str(clinic.site.layout.state)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)


def doctored(clinic: Clinic) -> set[str]:
    """The checks of the archive that `outpost doctor` finds as they should be; it finds nothing there that is not."""
    done = outpost(clinic, "doctor", "--json")
    findings = [decode(line) for line in done.stdout.splitlines()]
    assert done.returncode in {0, 1, 2}, done.stderr
    of_it = [finding for finding in findings if isinstance(finding, Finding) and finding.check.startswith("archive.")]
    assert [finding for finding in of_it if finding.level != "good"] == []
    return {finding.check for finding in of_it}


def recall_everything(clinic: Clinic) -> None:
    for row in clinic.site.studies():
        list(clinic.site.ask(RecallStudy(study=row.study)))
    clinic.site.wait(lambda: all(row.here == row.packs for row in clinic.site.studies()), "every pack is whole again")


def test_every_real_instance_comes_back_and_every_other_file_is_answered_by_the_rules(
    clinic: Clinic, capsys: pytest.CaptureFixture[str]
) -> None:
    shipments = corpus()
    statuses: Counter[str] = Counter()
    stored: set[str] = set()
    for one, code in send(clinic.site.peer, clinic.workstation.ae_title, shipments):
        if code is None:
            statuses["no presentation context"] += 1
            assert one.sop_class in NOT_STORAGE, f"{one.name}: {one.sop_class} is a storage class and was not accepted"
            continue
        assert code == one.expected, f"{one.name}: answered with {code:04X}, expected {one.expected:04X}"
        statuses[f"{code:04X}"] += 1
        if code == 0:
            stored.add(_digest(one))
    assert len(stored) > 200
    clinic.wait_held()
    before = cached_digests(clinic.site.layout)
    assert set(before) == stored
    clinic.evict()
    assert not cached_digests(clinic.site.layout)
    recall_everything(clinic)
    assert cached_digests(clinic.site.layout) == before
    with capsys.disabled():
        print(f"\n{len(shipments)} files: {dict(statuses)}; {len(stored)} distinct instances came back byte for byte")
        for (syntax, coding), count in sorted(codings(clinic.site.layout).items()):
            print(f"  {count:4}  {coding:8}  {syntax}")


def test_the_whole_way_works_with_azure_blob_storage(make_clinic: Callable[..., Clinic], tmp_path: Path) -> None:
    with azurite.running(tmp_path / "azurite") as azure:
        azure.make_container("clinic")
        credential = azure.credential(tmp_path, azure.sas_address("clinic", "crl"))
        settings = f'kind = "azure_blob"\ncontainer = "clinic"\ncredential_file = "{credential}"'
        clinic = make_clinic(settings)
        clinic.wait_told()
        real = list(samples(REAL))
        clinic.workstation.send(clinic.site.peer, real, lambda _: None)
        clinic.wait_held()
        assert doctored(clinic) == {"archive.write", "archive.read", "archive.list", "archive.overwrite", "archive.delete"}
        held = azure.contents("clinic")
        statuses = Attacker(azure.sas_address("clinic", "crl")).attack(VERSIONS[-1:])
        assert {status for seen in statuses.values() for status in seen} <= {403, 500}  # Azurite lacks what it answers 500 to
        assert azure.contents("clinic") == held
        verified = outpost(clinic, "verify", "--read-data", "100")
        assert (verified.returncode, "all of it is as it should be" in verified.stdout) == (0, True), verified.stdout + verified.stderr
        clinic.evict()
        moved = {sample.study for sample in real}
        for study in moved:
            last = list(clinic.workstation.move(clinic.site.peer, study))[-1]
            assert (last.status, last.failed) == (0, 0)
        assert clinic.workstation.received == {sample.sop_instance: {sample.digest} for sample in real}
        clinic.site.stop()
        azure.credential(tmp_path, azure.sas_address("clinic", "rl"))  # enough to restore, and to read from then on
        rebuilt = Site("Rebuilt", tmp_path / "rebuilt", settings)
        try:
            rebuilt.rebuild(clinic.kit)
            rebuilt.start()
            clinic.workstation.received.clear()
            study = next(iter(moved))
            last = list(clinic.workstation.move(rebuilt.peer, study))[-1]
            assert (last.status, last.failed) == (0, 0)
            expected = {sample.sop_instance: {sample.digest} for sample in real if sample.study == study}
            assert clinic.workstation.received == expected
        finally:
            rebuilt.stop()


def test_the_whole_way_works_with_s3_where_object_lock_keeps_versions(make_clinic: Callable[..., Clinic], tmp_path: Path) -> None:
    with buckets.moto(tmp_path) as amazon:
        bucket = amazon.make_bucket(versions=True)
        place = f'container = "{bucket}"\nregion = "{buckets.REGION}"\nendpoint = "{amazon.address}"'
        clinic = make_clinic(f'kind = "s3"\n{place}\ncredential_file = "{amazon.credential(tmp_path)}"')
        real = [sample for sample in samples(REAL) if sample.study == next(iter(samples(REAL))).study]
        clinic.workstation.send(clinic.site.peer, real, lambda _: None)
        clinic.wait_held()
        held = amazon.contents(bucket)
        clinic.evict()
        last = list(clinic.workstation.move(clinic.site.peer, real[0].study))[-1]
        assert (last.status, last.failed) == (0, 0)
        assert clinic.workstation.received == {sample.sop_instance: {sample.digest} for sample in real}
        clinic.site.stop()
        assert held.items() <= amazon.contents(bucket).items(), "nothing is written over"


def test_a_rebuilt_site_keeps_shipping_under_the_same_trust_root(clinic: Clinic, tmp_path: Path) -> None:
    real = list(samples(REAL))
    half = len(real) // 2
    clinic.wait_told()
    clinic.workstation.send(clinic.site.peer, real[:half], lambda _: None)
    clinic.wait_held()
    clinic.site.stop()
    again = Site("Rebuilt", tmp_path / "rebuilt", folder(clinic.archive))
    third = Site("Rebuilt once more", tmp_path / "third", folder(clinic.archive))
    try:
        again.rebuild(clinic.kit)
        again.start()
        assert (again.layout.restored / "outpost.toml").read_bytes() == clinic.site.layout.config.read_bytes()
        clinic.workstation.send(again.peer, real[half:], lambda _: None)
        again.wait(lambda: all(row.held == row.packs for row in again.studies()), "what came after the rebuild is held")
        again.stop()
        third.rebuild(clinic.kit)
        third.start()
        third.wait(lambda: {row.study for row in third.studies()} == {sample.study for sample in real}, "all studies are known")
        recalled = CliRunner().invoke(app, ["studies", "recall", "--all", "--state", str(third.layout.state)])
        assert recalled.exit_code == 0, recalled.output
        assert {row.availability for row in third.studies()} == {"ONLINE"}
        for study in {sample.study for sample in real}:
            last = list(clinic.workstation.move(third.peer, UID(study)))[-1]
            assert (last.status, last.failed) == (0, 0)
        assert clinic.workstation.received == {sample.sop_instance: {sample.digest} for sample in real}
    finally:
        again.stop()
        third.stop()


def _digest(one: Shipment) -> str:
    """Of what arrives: a dataset of odd length is sent with a zero byte behind it."""
    return hashlib.sha256(one.dataset + bytes(len(one.dataset) % 2)).hexdigest()
