"""Parts through random faults: none is missing, twice there or overwritten, and nothing is sent again but what was in flight."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cloudsync.setup import setup
from edge.config import Layout
from tests import azurite
from tests.rig.weak_link import FAULTS, SETTINGS, ship

SEED = 20_261_124


def test_whatever_happens_to_the_link_each_part_arrives_once_and_whole(
    tmp_path: Path, full: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    parts, layout = 10_000 if full else 200, Layout(tmp_path / "state")
    with azurite.running(tmp_path) as emulator:
        emulator.make_container("weak")
        credential = emulator.credential(tmp_path, emulator.sas_address("weak", "crl"))
        setup(layout.state, SETTINGS.format(credential=credential), tmp_path / "kit")
        outcome = asyncio.run(ship(SEED, parts, layout, emulator, credential))
    with capsys.disabled():
        print(
            f"\n  seed {SEED}: {parts:,} parts, {outcome.objects:,} objects, {outcome.met.total():,} faults of {len(outcome.met)} kinds, "
            f"{len(outcome.cuts)} cuts of the whole link: {len(outcome.missing)} missing, {len(outcome.duplicates)} duplicates, "
            f"{len(outcome.overwritten)} overwritten, {outcome.again:,} bytes sent again, {outcome.in_flight:,} in flight at a fault"
        )
        if full:
            print(*(f"  {count:6} {name}" for name, count in sorted(outcome.met.items())), sep="\n")
    assert (outcome.missing, outcome.duplicates, outcome.overwritten, outcome.altered, outcome.eager) == ([], [], [], [], [])
    assert 0 < outcome.again <= outcome.in_flight
    assert set(outcome.met) >= set(FAULTS), "a fault that never came proves nothing"
    assert len(outcome.cuts) >= 2
