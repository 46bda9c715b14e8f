"""Acknowledgement: how long a sender waits between the last byte of a dataset and its status, which is what durability costs it.

Real CT instances from the test data packages, from the memory of senders that are processes of their own, so that one does not wait for
another; each sends a study of its own under UIDs that are fresh in every run. First as a gigabit line that they share brings the bytes:
whoever receives has had the time to read all but the last piece. Then as fast as loopback takes them: most of an instance is still to be
read and hashed when its last byte is written.
"""

from __future__ import annotations

import itertools
import math
import multiprocessing
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edge.dataset.attributes import identify
from edge.dataset.walk import EXPLICIT_LE
from tests.bench.table import Row
from tests.code.packs import Instance, real_instances
from tests.dimse.raw import CT_CLASS, RawPeer, dataset_pdus, pdata, store_command, value
from tests.servers import Endpoint, edge_alone, orthanc, pynetdicom_scp

INSTANCES = 100
"""Of each sender, in each run."""
SENDERS = 4
PROMISED_MS = {"p50": 2.0, "p99": 15.0}
"""At four associations."""
CT_BYTES = range(400_000, 700_000)
LINE_BYTES = 125_000_000
"""A second, on a line of 1 Gbit/s."""
_PIECE = 64 << 10
_MARK = 11
"""The digits that make a UID a fresh one of the same length."""
_CONTEXT = 3
_numbers = itertools.count(10 ** (_MARK - 1))


@dataclass(frozen=True, slots=True)
class Waits:
    """Of one receiver, in milliseconds."""

    p50: float
    p99: float

    @classmethod
    def of(cls, taken: list[float]) -> Waits:
        ordered = sorted(taken)
        return cls(statistics.median(ordered), ordered[math.ceil(len(ordered) * 0.99) - 1])


def rows(runs: int) -> Iterator[Row]:
    """The receivers run at the same time, and take turns; percentiles are over all runs of a receiver but the first, which warms up."""
    samples = [one for one in real_instances()[0] if _is_ct(one)]
    assert samples, "the test data packages hold no CT of this size"
    spawning = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="outpost-bench-") as scratch, ExitStack() as stack:
        place = Path(scratch)
        senders = stack.enter_context(ProcessPoolExecutor(SENDERS, spawning))
        receivers = {
            "Outpost": stack.enter_context(edge_alone(place / "outpost")),
            "Orthanc (SyncStorageArea on)": stack.enter_context(orthanc(place / "orthanc")),
            "pynetdicom 3 (files, no flush)": stack.enter_context(pynetdicom_scp(place / "pynetdicom")),
        }
        for name, count, line_bytes in (
            ("1 association, 1 Gbit/s", 1, LINE_BYTES),
            (f"{SENDERS} associations, 1 Gbit/s", SENDERS, LINE_BYTES // SENDERS),
            (f"{SENDERS} associations, loopback", SENDERS, None),
        ):
            waits = _turns(runs, [(samples, line_bytes)] * count, senders, receivers)
            for figure, promised in PROMISED_MS.items():
                mine, *others = (getattr(one, figure) for one in waits.values())
                if count == SENDERS:
                    yield Row(f"ack {name}, {figure}", mine, promised, "promised", "ms", promised / mine, 1.0)
                for peer, other in zip(list(waits)[1:], others, strict=True):
                    yield Row(f"ack {name}, {figure}", mine, other, peer, "ms", other / mine, 0)


def _is_ct(one: Instance) -> bool:
    return (one.identity.sop_class, one.transfer_syntax) == (CT_CLASS, EXPLICIT_LE) and len(one.dataset) in CT_BYTES


def _turns(
    runs: int, loads: list[tuple[list[Instance], int | None]], senders: Executor, receivers: Mapping[str, Endpoint]
) -> dict[str, Waits]:
    """Each load is sent by a process of its own, at the same time."""
    taken: dict[str, list[float]] = {name: [] for name in receivers}
    for run in range(runs + 1):
        turn = run % len(receivers)
        order = list(receivers)
        for name in order[turn:] + order[:turn]:
            sent = [senders.submit(_send, receivers[name].port, *load, _fresh_numbers()) for load in loads]
            waits = [wait for one in sent for wait in one.result()]
            if run:
                taken[name] += waits
    return {name: Waits.of(waits) for name, waits in taken.items()}


def _fresh_numbers() -> list[int]:
    """For the study, for its series, and for its instances."""
    return list(itertools.islice(_numbers, INSTANCES + 2))


def _send(port: int, samples: list[Instance], line_bytes: int | None, numbers: list[int]) -> list[float]:
    """One association, at so many bytes a second: what it waited for the status of each instance, in milliseconds."""
    study, series, *instances = numbers
    made = [_fresh(samples[place % len(samples)], study, series, number) for place, number in enumerate(instances)]
    waits = []
    with RawPeer(port) as peer:
        peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.associate(calling="BENCH")
        for uid, dataset in made:
            message = pdata(value(_CONTEXT, 3, store_command(uid))) + dataset_pdus(_CONTEXT, dataset)
            _write(peer.socket, memoryview(message), line_bytes)
            begin = time.perf_counter()
            status = peer.status()
            waits.append((time.perf_counter() - begin) * 1000)
            assert status == 0, f"{status:04X}"
        peer.release()
    return waits


def _write(connection: socket.socket, message: memoryview, line_bytes: int | None) -> None:
    """The last byte is written when it returns. Each piece goes when a line would have brought all of it."""
    if line_bytes is None:
        connection.sendall(message)
        return
    begin = time.perf_counter()
    for position in range(0, len(message), _PIECE):
        piece = message[position : position + _PIECE]
        time.sleep(max(0.0, begin + (position + len(piece)) / line_bytes - time.perf_counter()))
        connection.sendall(piece)


def _fresh(sample: Instance, study: int, series: int, instance: int) -> tuple[str, bytes]:
    """A copy under other UIDs of the same lengths: its SOP Instance UID, its dataset."""
    identity, dataset = sample.identity, sample.dataset
    for uid, number in ((identity.study, study), (identity.series, series), (identity.sop_instance, instance)):
        stem = uid[: -_MARK - 1].rstrip(".")
        dataset = dataset.replace(uid.encode(), f"{stem}.{number}".ljust(len(uid), "7").encode())
    fresh = identify(dataset, EXPLICIT_LE)
    assert fresh
    return fresh.sop_instance, dataset
