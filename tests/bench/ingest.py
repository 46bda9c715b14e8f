"""Ingest: 400 CT instances over one association, sent by dcmtk's storescu; ours durable, hashed and indexed, beside the peers'."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.bench.corpus import Study
from tests.bench.table import Row
from tests.servers import Endpoint, edge_alone, orthanc, pynetdicom_scp

INSTANCES = 400
PROMISES = {"Orthanc (SyncStorageArea on)": 3.0, "pynetdicom 3 (files, no flush)": 3.5}


def rows(runs: int) -> Iterator[Row]:
    """One row a peer. The receivers run at the same time, and take turns."""
    with tempfile.TemporaryDirectory(prefix="outpost-bench-") as scratch, ExitStack() as stack:
        place = Path(scratch)
        study = Study(place / "study", INSTANCES)
        ours = stack.enter_context(edge_alone(place / "outpost"))
        peers = {
            "Orthanc (SyncStorageArea on)": stack.enter_context(orthanc(place / "orthanc")),
            "pynetdicom 3 (files, no flush)": stack.enter_context(pynetdicom_scp(place / "pynetdicom")),
        }
        times: dict[str, list[float]] = {name: [] for name in ("", *peers)}
        for run in range(runs + 1):
            receivers = list({"": ours, **peers}.items())
            turn = run % len(receivers)
            for name, endpoint in receivers[turn:] + receivers[:turn]:  # nobody always comes behind the same other
                study.refresh()
                taken = send(study.directory, endpoint)
                if run:  # the first run warms caches up
                    times[name].append(taken)
        mine = statistics.median(times[""])
        for name in peers:
            theirs = statistics.median(times[name])
            label = f"ingest {INSTANCES} CT, 1 association"
            yield Row(label, mine, theirs, name, "s", theirs / mine, PROMISES[name])


def send(directory: Path, endpoint: Endpoint) -> float:
    """Seconds that `storescu` takes for a directory; Nagle is off, as a modality of today has it."""
    command = ["storescu", "-aet", "BENCH", "-aec", endpoint.ae_title, "+sd", "+r", "127.0.0.1", str(endpoint.port), str(directory)]
    begin = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "TCP_NODELAY": "1"})
    return time.monotonic() - begin
