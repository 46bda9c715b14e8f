"""The power goes at any moment: nothing that was answered is lost, and no catalogue is broken (R1). The method: docs/testing.md."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.rig.power_cut import alone

SEEDS, CUTS, REVIVALS = (20_261_124,), 90, 2
FULL_SEEDS, FULL_CUTS, FULL_REVIVALS = tuple(range(1, 6)), 252, 6


def test_nothing_acknowledged_is_lost_whenever_the_power_goes(tmp_path: Path, full: bool, capsys: pytest.CaptureFixture[str]) -> None:
    seeds, cuts, revivals = (FULL_SEEDS, FULL_CUTS, FULL_REVIVALS) if full else (SEEDS, CUTS, REVIVALS)
    (tmp_path / "base").mkdir()
    base = alone.base(tmp_path / "base")
    phases: Counter[str] = Counter()
    failures: list[str] = []
    for seed in seeds:
        options = ("--seed", seed, "--scene", "twice" if full else "everything", "--cuts", cuts, "--revivals", revivals)
        report = alone.cut(base, tmp_path / f"seed {seed}", *map(str, options))
        phases.update(report.cuts)
        failures += report.failures
        with capsys.disabled():
            counts = ", ".join(f"{name} {count}" for name, count in report.cuts.items())
            print(f"\nseed {seed}: {report.acknowledged} instances acknowledged, {report.records} writes and flushes on tape;")
            print(f"  {sum(report.cuts.values())} power cuts ({counts}), {report.revived} sites revived, {len(report.failures)} failures")
    assert not failures, "\n".join(failures[:20])
    assert set(phases) == {"receive", "index", "close", "code", "ship", "evict", "recall", "restore", "stop"}
    assert phases.total() >= (1000 if full else 80)
