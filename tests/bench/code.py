"""How fast packs are coded and proven, beside dcmtk's coder, which proves nothing; and how much slower reception is meanwhile.

Coding is measured in CPU time, which is what one core does; reception by the clock.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from edge.code.coder import code
from edge.code.jobs import CodeJob
from edge.code.worker import Coder
from tests.bench.corpus import Study
from tests.bench.ingest import busy, send
from tests.bench.table import Row
from tests.code.packs import close_pack, phantom, tool
from tests.servers import edge_alone

PROMISED = 25.0
"""MB/s of raw, on one core."""
WITHIN = 1 / 1.1
SLICES = 60
IDLE, CODING = "idle", "while a pack is coded"


def rows(runs: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        instances = phantom(SLICES)
        job = close_pack(place, instances)
        files = place / "files"
        files.mkdir()
        subprocess.run(["tar", "x", "-C", files, "-f", job.pack_path], check=True)
        raw = sum(len(instance.dataset) for instance in instances) / 1e6
        rates = [(raw / _ours(job), raw / _dcmtk(sorted(files.rglob("*.dcm")), place / "coded.dcm")) for _ in range(runs)]
        ours, peer = (statistics.median(each) for each in zip(*rates, strict=True))
        yield Row(f"code {SLICES} CT and prove each", ours, peer, "dcmcjpls, a process for each file, no proof", "MB/s", ours / peer, 0)
        yield Row(f"code {SLICES} CT and prove each", ours, PROMISED, "what is promised", "MB/s", ours / PROMISED, 1.0)
        yield _reception(runs, place, job)


def _ours(job: CodeJob) -> float:
    begin = time.process_time()
    code(job)
    return time.process_time() - begin


def _dcmtk(files: list[Path], target: Path) -> float:
    begin = _children_seconds()
    for file in files:
        subprocess.run([tool("dcmcjpls"), file, target], check=True, capture_output=True)
    return _children_seconds() - begin


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _reception(runs: int, place: Path, job: CodeJob) -> Row:
    """400 CT over one association, beside the worker that codes one pack after the other, as edge starts it."""
    times: dict[str, list[float]] = {IDLE: [], CODING: []}
    with edge_alone(place / "outpost", settings="[web]\nport = 0\n") as ours:
        study = Study(place / "study", 400)
        for run in range(runs + 1):
            study.refresh()
            idle = send(study, ours)
            study.refresh()
            with busy(lambda: asyncio.run(_coded(job))):
                coding = send(study, ours)
            if run:
                times[IDLE].append(idle)
                times[CODING].append(coding)
    took = {name: statistics.median(taken) for name, taken in times.items()}
    return Row("ingest 400 CT while a pack is coded", took[CODING], took[IDLE], IDLE, "s", took[IDLE] / took[CODING], round(WITHIN, 2))


async def _coded(job: CodeJob) -> None:
    coder = Coder()
    try:
        await coder.code(job)
    finally:
        await coder.close()
