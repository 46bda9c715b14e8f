"""The rig has teeth (R2): each mutant is caught, and the product passes the same looks in the same run. The method: docs/testing.md."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from edge.demo.phantom import phantom
from edge.demo.workstation import Workstation
from edge.journal import Coded, PartFile, Stopped
from edge.journalfiles import JournalReader, JournalWriter
from edge.model import new_pack_id
from edge.wall import Gate
from tests.rig import trace
from tests.rig.power_cut import alone
from tests.rig.power_cut.plant import Plant
from tests.servers import need, until

SEED = 7
LOSSES = [
    # what edge is started with, what looks at the disks, what is recorded, where the power is cut
    ("no flush of the pack", None, "receive", ("--cuts", "40")),
    ("ack before the flush", None, "receive", ("--cuts", "40")),
    ("header blocks before the data is there", "no digest check", "receive", ("--cuts", "80")),
    (None, "catalogue trusted over packs", "receive", ("--cuts", "40")),
    ("retry after fsync error", None, "failing write", ("--cuts", "20", "--phase", "stop")),
    ("evict before verify", None, "evict", ("--cuts", "200")),
    ("unlink before commit", None, "evict", ("--cuts", "200", "--phase", "evict")),
]
CONTROLS = [("receive", ("--cuts", "12")), ("failing write", ("--cuts", "10", "--phase", "stop")), ("evict", ("--cuts", "15"))]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return alone.base(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize(("edge", "replay", "scene", "cuts"), LOSSES, ids=[" and ".join(filter(None, one[:2])) for one in LOSSES])
def test_a_mutant_that_loses_data_is_caught(
    edge: str | None, replay: str | None, scene: str, cuts: tuple[str, ...], base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mutants = [*(("--mutant", edge) if edge else ()), *(("--replay-mutant", replay) if replay else ())]
    report = alone.cut(base, tmp_path / "run", "--seed", str(SEED), "--scene", scene, "--first", *cuts, *mutants)
    show(capsys, " and ".join(filter(None, (edge, replay))), f"power cut {sum(report.cuts.values())}", report.failures)
    assert report.failures


@pytest.mark.parametrize(("scene", "cuts"), CONTROLS, ids=[scene for scene, _ in CONTROLS])
def test_the_product_passes_where_the_mutants_are_caught(scene: str, cuts: tuple[str, ...], base: Path, tmp_path: Path) -> None:
    report = alone.cut(base, tmp_path / "run", "--seed", str(SEED), "--scene", scene, *cuts)
    assert report.failures == []
    assert report.acknowledged >= 6


def traced(place: Path, mutant: str | None) -> list[trace.Call]:
    """The calls of an edge process that receives three studies at once."""
    plant = Plant(place / "state", place / "archive", {"edge": mutant} if mutant else {})
    plant.archive.mkdir()
    plant.set_up(place / "kit")
    plant.tracer = [need("strace", "strace"), *trace.STRACE[1:], "-e", f"trace={trace.CALLS}", "-o", str(place / "trace")]
    with Workstation() as workstation:
        try:
            plant.start_edge()
            plant.introduce(workstation)
            for run in range(3):
                workstation.send(plant.peer, [*phantom(4, 64, run)], lambda sample: None)
        finally:
            plant.stop()
    return trace.read(place / "trace")


@pytest.mark.parametrize("mutant", ["no directory flush after creating one", "ack before the flush"])
def test_a_flush_that_is_missing_before_the_answer_stands_in_the_trace(
    mutant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = traced(tmp_path, mutant)
    law = trace.answered_before_the_name_was_flushed if "directory" in mutant else trace.answered_before_the_data_was_flushed
    found = list(law(calls))
    show(capsys, mutant, "system calls", found)
    assert found


def test_the_product_answers_only_after_it_has_flushed_name_and_data(tmp_path: Path) -> None:
    calls = traced(tmp_path, None)
    assert [*trace.answered_before_the_name_was_flushed(calls), *trace.answered_before_the_data_was_flushed(calls)] == []
    assert sum(call.answers for call in calls) >= 12
    assert sum(call.name == "fdatasync" and call.file.endswith(".tar") for call in calls) >= 12
    assert sum(call.name == "fsync" and call.file.endswith("/cache/open") for call in calls) >= 3


def shipped_through_a_link(place: Path, mutant: str | None) -> tuple[list[Path], list[str]]:
    """A link to a secret lies in the outbox, under an ask that knows its digest: what came into the archive of it, and what was refused."""
    plant = Plant(place / "state", place / "archive", {"cloudsync": mutant} if mutant else {})
    plant.archive.mkdir()
    plant.set_up(place / "kit")
    secret, pack, layout = place / "secret", new_pack_id(), plant.layout
    secret.write_bytes(b"what edge must not read " * 1000)
    (layout.outbox / pack).mkdir(parents=True)
    for number in (0, 1):
        (layout.outbox / pack / f"{number:06d}").symlink_to(secret)
    parts = [PartFile(number, secret.stat().st_size, sha256(secret.read_bytes()).hexdigest()) for number in (0, 1)]
    study = {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}}
    JournalWriter(layout.asks).append(
        Coded(pack=pack, urgency="stat", instances=1, raw_bytes=1, sha256="0" * 64, study=study, series=[], parts=parts)
    )

    def refused() -> list[str]:
        return [entry.reason for entry in JournalReader(Gate(layout.facts), 0).read() if isinstance(entry, Stopped)]

    try:
        plant.start_one("cloudsync")
        until(lambda: bool(refused() or list(plant.archive.glob(f"*/p/{pack}/000001"))), "it is shipped or refused")
    finally:
        plant.stop()
    return list(plant.archive.glob(f"*/p/{pack}/*")), refused()


def test_a_mutant_that_follows_a_link_across_the_wall_is_caught(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shipped, _ = shipped_through_a_link(tmp_path, "following a symlink across the wall")
    show(capsys, "following a symlink across the wall", "archive", [f"{path.name} is what a link led to" for path in shipped])
    assert shipped


def test_the_product_does_not_ship_what_a_link_leads_to(tmp_path: Path) -> None:
    shipped, refused = shipped_through_a_link(tmp_path, None)
    assert shipped == []
    assert "symbolic link" in refused[0]


def show(capsys: pytest.CaptureFixture[str], mutant: str, by: str, found: list[str]) -> None:
    with capsys.disabled():
        print(f"\n{'caught' if found else 'MISSED'}: {mutant} ({by}: {found[0].rpartition('img: ')[2] if found else 'nothing'})", end=" ")
