"""No growth: associations that come and go, also the bad way, leave nothing behind, and one that is idle costs no processor time."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.config import Layout
from tests.dataset.datasets import dataset
from tests.dimse.raw import ABORT, CLOSED, RawPeer, pdata, store_command, value, verify
from tests.rig.figures import Figures, figures, listener
from tests.servers import Endpoint, edge_alone, until

MIB = 1 << 20
CYCLES, FULL_CYCLES = 10_000, 100_000
WARM_UP = 300
MOST_GROWTH_BYTES = 4 * MIB
IDLE_SECONDS = 5.0
MOST_IDLE_TICKS = 2
"""Of a hundredth of a second each; the closing of quiet packs and the like is in it too."""
RESET = struct.pack("ii", 1, 0)


@contextlib.contextmanager
def soaked(tmp_path: Path) -> Iterator[tuple[Endpoint, int]]:
    state = tmp_path / "state"
    with edge_alone(state, ("TEST",)) as edge:
        yield edge, listener(Layout(state).control)


def test_associations_that_are_aborted_leave_nothing_behind(tmp_path: Path, full: bool, capsys: pytest.CaptureFixture[str]) -> None:
    cycles = FULL_CYCLES if full else CYCLES
    with soaked(tmp_path) as (edge, pid):
        for number in range(WARM_UP):
            end(edge.port, number)
        before = settled(pid)
        began = time.monotonic()
        for number in range(cycles):
            end(edge.port, number)
        seconds = time.monotonic() - began
        after = settled(pid)
        with capsys.disabled():
            print(
                f"\n{cycles} associations that ended badly, {cycles / seconds:.0f} a second: memory {before.resident / MIB:.1f} ->"
                f" {after.resident / MIB:.1f} MiB, {before.threads} -> {after.threads} threads,"
                f" {before.descriptors} -> {after.descriptors} descriptors"
            )
        assert after.resident - before.resident < MOST_GROWTH_BYTES
        assert (after.threads, after.descriptors) == (before.threads, before.descriptors)
        verify(edge.port)


def end(port: int, number: int) -> None:
    """One association that ends in one of five ways: abort, reset, close, reset in the middle of a dataset, violation."""
    with RawPeer(port) as peer:
        peer.associate()
        match number % 5:
            case 0:
                peer.send(ABORT)
                assert peer.pdu() == CLOSED
            case 1:
                assert peer.echo() == 0
                peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            case 2:
                peer.send(b"\4\0\0")
            case 3:
                whole = dataset(instance=f"1.2.3.{number}")
                peer.send(pdata(value(3, 3, store_command(f"1.2.3.{number}"))), pdata(value(3, 0, whole[:-4])))
                peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            case _:
                peer.send(pdata(value(99, 3, b"")))
                assert peer.pdu()[0] == 7


def settled(pid: int) -> Figures:
    """When the threads of the last associations are gone: as it was for a second."""
    seen: list[Figures] = []

    def is_still() -> bool:
        seen.append(figures(pid))
        return len({(now.threads, now.descriptors) for now in seen[-50:]}) == 1 and len(seen) >= 50

    until(is_still, "threads and descriptors rest")
    return seen[-1]


def test_an_idle_association_costs_no_processor_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with soaked(tmp_path) as (edge, pid), contextlib.ExitStack() as held:
        for number in range(10):
            held.enter_context(RawPeer(edge.port, f"127.0.0.{10 + number}")).associate()
        settled(pid)
        before = figures(pid)
        threading.Event().wait(IDLE_SECONDS)
        ticks = figures(pid).ticks - before.ticks
        with capsys.disabled():
            print(f"\n10 idle associations: {ticks * 10} ms of processor time in {IDLE_SECONDS:.0f} s")
        assert ticks <= MOST_IDLE_TICKS
