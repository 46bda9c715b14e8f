"""Retrieve: one study of 400 CT instances by C-MOVE to dcmtk's `storescp --ignore`, and by C-GET to dcmtk's `getscu --ignore`.

Twice: without Nagle's delay on all sides, and with the settings that dcmtk and Orthanc come with, under which Orthanc waits 40 ms for
each instance. Mover, destination and getter are the same programs for every server.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.bench.corpus import Study
from tests.bench.ingest import send
from tests.bench.table import Row
from tests.servers import Endpoint, edge_alone, ignoring_scp, orthanc

INSTANCES = 400
_SETTINGS = {"1": ("no delay", 1.0), "0": ("default settings", 20.0)}
"""dcmtk's TCP_NODELAY: what it means, and the ratio that is promised."""


def rows(runs: int) -> Iterator[Row]:
    """C-MOVE and C-GET under each setting. The servers run at the same time, and take turns."""
    with tempfile.TemporaryDirectory(prefix="outpost-bench-") as scratch, ExitStack() as stack:
        place = Path(scratch)
        study = Study(place / "study", INSTANCES)
        study.refresh()
        there = {nodelay: stack.enter_context(ignoring_scp(place / f"ignoring-{nodelay}", nodelay)) for nodelay in _SETTINGS}
        ours = stack.enter_context(edge_alone(place / "outpost", destinations=tuple(there.values())))
        send(study, ours)
        for nodelay, (setting, promise) in _SETTINGS.items():
            known = {one.ae_title: [one.ae_title, "127.0.0.1", one.port] for one in there.values()}
            with orthanc(place / f"orthanc-{nodelay}", nodelay, DicomModalities={"BENCH": ["BENCH", "127.0.0.1", 104], **known}) as theirs:
                send(study, theirs)
                for name, command in (("C-MOVE", _move(study, there[nodelay])), ("C-GET", _get(study))):
                    mine, other = _turns(runs, command, nodelay, ours, theirs)
                    yield Row(f"{name} {INSTANCES} CT, {setting}", mine, other, "Orthanc, same peers", "s", other / mine, promise)


def _turns(runs: int, command: list[str], nodelay: str, *servers: Endpoint) -> list[float]:
    """The median of each server; a first run warms caches up."""
    times: dict[Endpoint, list[float]] = {server: [] for server in servers}
    for run in range(runs + 1):
        for server in servers if run % 2 else reversed(servers):
            begin = time.monotonic()
            calling = [*command, "-aet", "BENCH", "-aec", server.ae_title, "127.0.0.1", str(server.port)]
            finished = subprocess.run(calling, check=True, capture_output=True, env={**os.environ, "TCP_NODELAY": nodelay})
            taken = time.monotonic() - begin
            assert re.search(rb"Received (Final Move|C-GET) Response \(Success\)", finished.stdout + finished.stderr), finished.stderr
            if run:
                times[server].append(taken)
    return [statistics.median(taken) for taken in times.values()]


def _move(study: Study, there: Endpoint) -> list[str]:
    return ["movescu", "-v", "-S", "-aem", there.ae_title, *_keys(study)]


def _get(study: Study) -> list[str]:
    return ["getscu", "-v", "-S", "--ignore", "-pdu", "131072", *_keys(study)]


def _keys(study: Study) -> list[str]:
    return ["-k", "0008,0052=STUDY", "-k", f"0020,000D={study.uid}"]
