"""Ingest: generated studies sent by dcmtk's storescu; ours durable, hashed and indexed, beside the peers', and beside ourselves at rest."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.corpus import CT, MR, Study
from tests.bench.table import Row
from tests.servers import Endpoint, edge_alone, edge_web, orthanc, pynetdicom_scp

OURS, ORTHANC, PYNETDICOM = "Outpost", "Orthanc (SyncStorageArea on)", "pynetdicom 3 (files, no flush)"
NO_DELAY, DEFAULTS, IDLE, HAMMERED = "Outpost, no delay", "Outpost, default TCP", "Outpost, idle", "Outpost, hammered"
_WITHIN_DEFAULTS, _WITHIN_HAMMERED = round(1 / 1.3, 2), round(1 / 1.5, 2)
"""Promised are at most 1.3 and 1.5 times the time; a ratio is better the larger it is."""

_FLUSHES = "fsync,fdatasync"
_TRACED = ("strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", os.devnull, "-e", "signal=none", "-e", f"trace={_FLUSHES}")
_SLOW_DISK = (*_TRACED, "-e", f"inject={_FLUSHES}:delay_exit=10000")
"""Runs a command as on a disk that takes 10 ms longer for each flush, as the SSDs of small computers do. No other call is held up."""
_SLOW_RATES = {"1 association": 60.0, "4 associations": 150.0}
"""Instances a second that are promised there."""


def rows(runs: int) -> Iterator[Row]:
    """The receivers run at the same time, and take turns."""
    with tempfile.TemporaryDirectory(prefix="outpost-bench-") as scratch, ExitStack() as stack:
        place = Path(scratch)
        ours = stack.enter_context(edge_alone(place / "outpost", settings="[web]\nport = 0\n"))
        theirs = stack.enter_context(orthanc(place / "orthanc"))
        slow = stack.enter_context(pynetdicom_scp(place / "pynetdicom"))
        study = Study(place / "one", 400)
        took = _turns(runs, study, {OURS: ours, ORTHANC: theirs, PYNETDICOM: slow})
        yield _row("400 CT, 1 association", took, OURS, ORTHANC, 3.0)
        yield _row("400 CT, 1 association", took, OURS, PYNETDICOM, 3.5)
        four = Study(place / "four", 400, CT, shares=4)
        took = _turns(runs, four, {OURS: ours, ORTHANC: theirs})
        yield _row("400 CT, 4 associations", took, OURS, ORTHANC, 2.0)
        took = _turns(runs, Study(place / "small", 5000, MR), {OURS: ours, ORTHANC: theirs})
        yield _row("5000 MR of 41 kB, 1 association", took, OURS, ORTHANC, 2.0)
        took = _turns(runs, study, {NO_DELAY: ours, DEFAULTS: ours}, {DEFAULTS: "0"})
        yield _row("400 CT, sender with default TCP", took, DEFAULTS, NO_DELAY, _WITHIN_DEFAULTS)
        yield _hammered(runs, study, place / "outpost", ours)
        yield from _on_slow_disks(runs, place, study, four)


def _row(name: str, took: Mapping[str, float], ours: str, peer: str, promise: float) -> Row:
    return Row(f"ingest {name}", took[ours], took[peer], peer, "s", took[peer] / took[ours], promise)


def _turns(runs: int, study: Study, receivers: Mapping[str, Endpoint], nodelay: Mapping[str, str] | None = None) -> dict[str, float]:
    """The median of each receiver. A first run warms caches up, and nobody always comes behind the same other."""
    times: dict[str, list[float]] = {name: [] for name in receivers}
    for run in range(runs + 1):
        turn = run % len(receivers)
        order = list(receivers)
        for name in order[turn:] + order[:turn]:
            study.refresh()
            taken = send(study, receivers[name], (nodelay or {}).get(name, "1"))
            if run:
                times[name].append(taken)
    return {name: statistics.median(taken) for name, taken in times.items()}


def _hammered(runs: int, study: Study, state: Path, ours: Endpoint) -> Row:
    """Ingest while edge-web answers one search, and one request for the metadata of a series, after the other without a pause."""
    with edge_web(state) as get:
        study.refresh()
        send(study, ours)
        held = study.uid
        times: dict[str, list[float]] = {IDLE: [], HAMMERED: []}
        for run in range(runs + 1):
            study.refresh()
            idle = send(study, ours)
            study.refresh()
            with busy(lambda: get("/studies?PatientName=Phantom*"), lambda: get(f"/studies/{held}/metadata")):
                hammered = send(study, ours)
            if run:
                times[IDLE].append(idle)
                times[HAMMERED].append(hammered)
    took = {name: statistics.median(taken) for name, taken in times.items()}
    return _row("400 CT, QIDO and metadata hammered", took, HAMMERED, IDLE, _WITHIN_HAMMERED)


def _on_slow_disks(runs: int, place: Path, *studies: Study) -> Iterator[Row]:
    """Instances a second where each flush takes 10 ms longer, of as many associations as the study has shares."""
    with edge_alone(place / "slow outpost", under=_SLOW_DISK) as ours, orthanc(place / "slow orthanc", under=_SLOW_DISK) as theirs:
        for study, (what, promised) in zip(studies, _SLOW_RATES.items(), strict=True):
            took = _turns(runs, study, {OURS: ours, ORTHANC: theirs})
            mine, other = study.instances / took[OURS], study.instances / took[ORTHANC]
            name = f"ingest CT, each flush +10 ms, {what}"
            yield Row(name, mine, promised, "promised", "1/s", mine / promised, 1.0)
            yield Row(name, mine, other, ORTHANC, "1/s", mine / other, 0)


@contextmanager
def busy(*work: Callable[[], object]) -> Iterator[None]:
    """Each of these, again and again, in a thread of its own."""
    over = threading.Event()

    def repeat(one: Callable[[], object]) -> None:
        while not over.is_set():
            one()

    threads = [threading.Thread(target=repeat, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def send(study: Study, endpoint: Endpoint, nodelay: str = "1") -> float:
    """Seconds that `storescu` takes, one for each share of the study at the same time; 1: without Nagle's delay, as of today."""
    command = ["storescu", "-aet", "BENCH", "-aec", endpoint.ae_title, "+sd", "+r", "127.0.0.1", str(endpoint.port)]
    environment = {**os.environ, "TCP_NODELAY": nodelay}
    begin = time.monotonic()
    senders = [subprocess.Popen([*command, str(share)], stderr=subprocess.DEVNULL, env=environment) for share in study.shares]
    codes = [sender.wait() for sender in senders]
    taken = time.monotonic() - begin
    assert not any(codes), f"storescu ended with {codes}"
    return taken
