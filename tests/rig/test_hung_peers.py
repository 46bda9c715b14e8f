"""Silent, slow and countless peers: whoever has something to say is served within a second, and nobody stays longer than he may."""

from __future__ import annotations

import contextlib
import resource
import select
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.config import Layout
from tests.dimse.raw import request, verify
from tests.rig.figures import Figures, figures, forget_peak, listener
from tests.servers import edge_alone, until

MIB = 1 << 20
PEERS = 100
BURST = 2000
MOST_SECONDS = 1.0
MOST_GROWTH_BYTES = 64 * MIB
DEADLINE_SECONDS = 3.0
SLACK_SECONDS = 2.5
"""Two seconds for the peer to close after the last PDU, and what a busy machine takes."""
SETTINGS = f"request_seconds = {DEADLINE_SECONDS}\npdu_seconds = {DEADLINE_SECONDS}\nidle_seconds = {DEADLINE_SECONDS}\n"
HALF = b"\1\0\0"
LEGITIMATE = "127.0.9.9"


@dataclass(frozen=True, slots=True)
class Scene:
    """Who comes, by address: some say three bytes and no more, some a byte a second, some nothing."""

    name: str
    silent: list[str]
    slow: list[str]
    mute: list[str]


def addresses(network: int, count: int, each: int = 1) -> list[str]:
    return [f"127.0.{network}.{1 + number // each}" for number in range(count)]


SCENES = (
    Scene("100 of 3 bytes and 100 of a byte a second, from two addresses", ["127.0.1.1"] * PEERS, ["127.0.1.2"] * PEERS, []),
    Scene("100 of 3 bytes and 100 of a byte a second, each from its own address", addresses(2, PEERS), addresses(3, PEERS), []),
    Scene("2000 that connect at once, 8 from each address", [], [], addresses(4, BURST, each=8)),
)


class Legitimate(threading.Thread):
    """Associates, echoes and releases again and again, and notes how long each time took."""

    def __init__(self, port: int) -> None:
        super().__init__(name="legitimate peer")
        self._port = port
        self._ended = threading.Event()
        self.seconds: list[float] = []
        self.fault: BaseException | None = None

    def run(self) -> None:
        while not self._ended.wait(0.02):
            began = time.monotonic()
            try:
                verify(self._port, LEGITIMATE)
            except (AssertionError, OSError) as fault:
                self.fault = fault
                return
            self.seconds.append(time.monotonic() - began)

    def stop(self) -> None:
        self._ended.set()
        self.join()


class Crowd:
    """The hung peers of a scene, watched until the other side has closed them."""

    def __init__(self, port: int, scene: Scene) -> None:
        self._poll = select.epoll()
        self._open: dict[int, tuple[socket.socket, float]] = {}
        self.lasted: list[float] = []
        for source in scene.mute:
            self._come(port, source)
        for source in scene.silent:
            _say(self._come(port, source), HALF)
        self._slow = [self._come(port, source) for source in scene.slow]

    def watch(self, most_seconds: float) -> None:
        """Until all are closed, at most so long; the slow ones go on talking."""
        ends = time.monotonic() + most_seconds
        for byte in request():
            for peer in self._slow:
                _say(peer, bytes((byte,)))
            second = time.monotonic() + 1
            while self._open and (left := min(ends, second) - time.monotonic()) > 0:
                for descriptor, _ in self._poll.poll(left):
                    self._look(descriptor)
            if not self._open or time.monotonic() >= ends:
                break

    @property
    def left(self) -> int:
        return len(self._open)

    def _come(self, port: int, source: str) -> socket.socket:
        peer = socket.socket()
        peer.bind((source, 0))
        peer.setblocking(False)
        peer.connect_ex(("127.0.0.1", port))
        self._open[peer.fileno()] = peer, time.monotonic()
        self._poll.register(peer, select.EPOLLIN)
        return peer

    def _look(self, descriptor: int) -> None:
        peer, began = self._open[descriptor]
        with contextlib.suppress(OSError):  # a reset is an end too
            if peer.recv(4096):
                return
        self.lasted.append(time.monotonic() - began)
        self._poll.unregister(peer)
        peer.close()
        del self._open[descriptor]


def _say(peer: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):  # that it is gone is noticed by the next look at it
        peer.send(data)


@contextlib.contextmanager
def allowed_descriptors(count: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_hung_peers_lock_nobody_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "state"
    with allowed_descriptors(BURST + 500), edge_alone(state, ("TEST",), dicom=SETTINGS) as edge:
        pid = listener(Layout(state).control)
        for _ in range(20):
            verify(edge.port)
        forget_peak(pid)
        before = figures(pid)
        for scene in SCENES:
            legitimate = Legitimate(edge.port)
            legitimate.start()
            crowd = Crowd(edge.port, scene)
            crowd.watch(DEADLINE_SECONDS + SLACK_SECONDS)
            legitimate.stop()
            report(capsys, scene, crowd, legitimate, figures(pid).peak - before.resident)
            assert legitimate.fault is None, scene.name
            assert crowd.left == 0, scene.name
            assert max(crowd.lasted) < DEADLINE_SECONDS + SLACK_SECONDS, scene.name
            assert len(legitimate.seconds) > 20, scene.name
            assert max(legitimate.seconds) < MOST_SECONDS, scene.name
        assert figures(pid).peak - before.resident < MOST_GROWTH_BYTES
        until(lambda: has_shrunk_to(before, figures(pid)), "threads and descriptors are as before")


def has_shrunk_to(before: Figures, now: Figures) -> bool:
    return now.threads <= before.threads + 1 and now.descriptors <= before.descriptors + 1


def report(capsys: pytest.CaptureFixture[str], scene: Scene, crowd: Crowd, legitimate: Legitimate, growth: int) -> None:
    with capsys.disabled():
        print(
            f"\n{scene.name}: {len(crowd.lasted)} closed, the last after {max(crowd.lasted, default=0):.1f} s, {crowd.left} left;"
            f" {len(legitimate.seconds)} echoes meanwhile, the slowest in {max(legitimate.seconds, default=0) * 1000:.0f} ms"
            f" ({legitimate.fault or 'no fault'}); memory +{growth / MIB:.1f} MiB at most"
        )
