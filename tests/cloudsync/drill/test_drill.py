"""A restore is rehearsed beside the live box: what comes back is compared to the last bit, and what does not is named."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import outpost
from cloudsync.drill.decoder import Decoder
from cloudsync.drill.rehearsal import sample_size
from cloudsync.setup import NewSite, setup
from edge import drilled, journal
from edge.code.coder import code
from edge.config import Layout
from edge.errors import Permanent
from edge.journal import Held
from edge.model import new_pack_id
from tests.cloudsync.conftest import serving
from tests.cloudsync.edge_side import EdgeSide, settings
from tests.code.packs import Instance, close_pack, phantom, read_instance


@dataclass(frozen=True, slots=True)
class Clinic:
    site: NewSite
    place: Path

    @property
    def layout(self) -> Layout:
        return Layout(self.place / "state")

    @property
    def archive(self) -> Path:
        return self.place / "archive"

    def object(self, name: str) -> Path:
        """The first object of a pack with such a name."""
        return min((self.archive / self.site.site_id / "p").glob(f"*/{name}"))

    def drill(self, *more: object, words: str | None = None) -> Result:
        """`outpost drill`, its words by a file descriptor."""
        reading, writing = os.pipe()
        os.write(writing, (words or self.site.passphrase).encode())
        os.close(writing)
        (self.place / "scratch").mkdir(exist_ok=True)
        told = ("--state", self.layout.state, "--kit", self.place / "kit", "--out", self.place / "certificates")
        told += ("--scratch", self.place / "scratch", "--passphrase-file", f"/dev/fd/{reading}", "--json")
        try:
            return CliRunner().invoke(outpost.app, ["drill", *map(str, (*told, *more))])
        finally:
            os.close(reading)

    def certificates(self) -> list[dict[str, object]]:
        return [json.loads(path.read_bytes()) for path in sorted((self.place / "certificates").glob("*.json"))]


def ship(edge: EdgeSide, work: Path, instances: list[Instance], *, sha256: str | None = None) -> str:
    """A pack of real coding goes to the archive; `sha256` is what its catalog entry says instead of the truth."""
    pack = new_pack_id()
    work.mkdir(exist_ok=True)
    job = close_pack(work, instances, pack=pack)
    coded = code(job)
    shutil.copytree(job.target_dir, edge.layout.outbox / pack)
    edge.ask(
        journal.Coded(
            pack=pack,
            urgency="routine",
            instances=len(instances),
            raw_bytes=coded.raw_bytes,
            sha256=sha256 or job.sha256,
            study=job.study,
            series=job.series,
            parts=coded.parts,
        )
    )
    return pack


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Clinic:
    """A site whose archive has two studies and a site state."""
    place = tmp_path_factory.mktemp("clinic")
    clinic = Clinic(setup(place / "state", settings(place / "archive"), place / "kit"), place)
    real = read_instance(Path(str(pytest.importorskip("pydicom").__file__)).parent / "data" / "test_files" / "CT_small.dcm")
    assert real is not None

    async def fill() -> None:
        edge = EdgeSide(clinic.layout)
        async with serving(clinic.layout):
            edge.site_state(b"what people decided")
            ship(edge, place / "work", [real])
            ship(edge, place / "work", phantom(3, size=64))
            await edge.hears(Held, count=2)
        edge.close()

    asyncio.run(fill())
    return clinic


@pytest.fixture
def clinic(made: Clinic, tmp_path: Path) -> Iterator[Clinic]:
    for name in ("archive", "kit", "state"):
        shutil.copytree(made.place / name, tmp_path / name, ignore=shutil.ignore_patterns("bell"))
    (tmp_path / "state" / "outpost.toml").write_text(settings(tmp_path / "archive"))
    yield Clinic(made.site, tmp_path)
    assert not list((tmp_path / "scratch").iterdir()), "the temporary site is gone, however it ended"


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_restore_that_would_succeed_is_certified_and_touches_neither_box_nor_archive(clinic: Clinic) -> None:
    archive, state = files(clinic.archive), files(clinic.layout.state)
    done = clinic.drill("--sample", 100, "--last-sequence", 1)
    assert done.exit_code == 0, done.output
    (certificate,) = clinic.certificates()
    assert certificate["result"] == "passed"
    assert (certificate["site"], certificate["studies"], certificate["packs"]) == (clinic.site.site_id, 2, 2)
    assert (certificate["sampled_packs"], certificate["sampled_instances"], certificate["faults"]) == (2, 4, [])
    assert certificate["site_state"]
    assert certificate["proven_end"]
    shown = json.loads(done.stdout)
    assert shown["site"] == clinic.site.site_id
    (page,) = (clinic.place / "certificates").glob("*.html")
    assert "PASSED" in page.read_text()
    assert files(clinic.archive) == archive
    assert files(clinic.layout.state).items() - state.items() == {("drilled.json", clinic.layout.drilled.read_bytes())}
    last = drilled.last(clinic.layout)
    assert last is not None
    assert last.passed
    assert drilled.alarms(clinic.layout) == []


def test_one_bit_of_a_part_that_is_wrong_fails_it_and_is_named(clinic: Clinic) -> None:
    part = clinic.object("000001")
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.chmod(0o600)
    part.write_bytes(data)
    done = clinic.drill("--sample", 100)
    assert done.exit_code == 65
    (certificate,) = clinic.certificates()
    assert certificate["result"] == "failed"
    assert certificate["sampled_packs"] == 1
    assert [str(part.relative_to(clinic.archive)) in fault for fault in certificate["faults"]] == [True]  # type: ignore[attr-defined]
    assert len(drilled.alarms(clinic.layout)) == 1


def test_a_catalog_that_ends_too_early_fails_it(clinic: Clinic) -> None:
    assert clinic.drill("--last-sequence", 99).exit_code == 65
    (certificate,) = clinic.certificates()
    assert "99" in str(certificate["faults"])
    assert certificate["studies"] == 0


def test_a_pack_that_is_whole_but_not_the_one_that_the_catalog_names_fails_it(clinic: Clinic) -> None:
    async def add() -> str:
        edge = EdgeSide(clinic.layout)
        async with serving(clinic.layout):
            pack = ship(edge, clinic.place / "work", phantom(1, size=64, seed=2), sha256="0" * 64)
            await edge.hears(Held, pack=pack)
        edge.close()
        return pack

    pack = asyncio.run(add())
    assert clinic.drill("--sample", 100).exit_code == 65
    (certificate,) = clinic.certificates()
    assert certificate["faults"] == [f"pack {pack} does not come back as the catalog names it"]
    assert certificate["sampled_packs"] == 2


def test_wrong_words_and_a_missing_archive_end_it_without_a_certificate(clinic: Clinic) -> None:
    wrong = clinic.drill(words="bada bada bada bada bada bada bada bada")
    assert wrong.exit_code == 77
    (clinic.place / "scratch").mkdir(exist_ok=True)
    nowhere = clinic.drill("--config", clinic.place / "nowhere.toml")
    assert nowhere.exit_code == 78
    assert not (clinic.place / "certificates").exists()
    assert drilled.last(clinic.layout) is None


def test_away_from_the_box_the_kit_and_the_archive_are_enough(clinic: Clinic) -> None:
    shutil.rmtree(clinic.layout.state)
    done = clinic.drill("--archive-folder", clinic.archive)
    assert done.exit_code == 0, done.output
    (certificate,) = clinic.certificates()
    assert certificate["sampled_packs"] == 1
    assert not clinic.layout.state.exists()


@pytest.mark.parametrize(
    ("packs", "percent", "size"), [(0, 5, 0), (1, 0, 1), (75_000, 1, 750), (101, 1, 2), (3, 100, 3), (75_000, 0.001, 1)]
)
def test_of_so_many_packs_a_percentage_is_rounded_up(packs: int, percent: float, size: int) -> None:
    assert sample_size(packs, percent) == size


def test_what_the_disk_refuses_the_decoder_is_no_fault_of_the_archive(tmp_path: Path) -> None:
    job = close_pack(tmp_path, phantom(1, size=64), pack=new_pack_id())
    coded = code(job)
    head, *parts = (Path(job.target_dir) / f"{part.number:06d}" for part in coded.parts)

    async def restored(target: Path) -> int:
        async with Decoder() as decoder:
            return await decoder.restore(job.pack, head, dict(enumerate(parts, 1)), target)

    assert asyncio.run(restored(tmp_path / "pack.tar")) == 1
    with pytest.raises(Permanent, match="No such file or directory"):
        asyncio.run(restored(tmp_path / "gone" / "pack.tar"))
