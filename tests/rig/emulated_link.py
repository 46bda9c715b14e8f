"""A link with a delay, a rate, a queue and random loss between two network namespaces, in user space: kernels without netem have it too.

`python -m tests.rig.emulated_link NEAR FAR SETTINGS` passes the packets on between a TUN device in each namespace, until it is ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NEAR, FAR = "10.77.0.1", "10.77.0.2"
_TUNSETIFF, _TUN, _NO_PACKET_INFO = 0x400454CA, 0x0001, 0x1000
_NEW_NETWORK = 0x40000000
_DEVICE = "link0"
_PACKET_BYTES = 2048


@dataclass(frozen=True, slots=True)
class Link:
    """The same in both directions."""

    bits_per_second: float
    round_trip_seconds: float
    loss: float = 0.0
    """Of each packet, from 0 to 1."""
    queue_bytes: int = 64 << 10
    """What a modem would hold before it drops the tail."""
    seed: int = 1

    def __str__(self) -> str:
        rate = f"{self.bits_per_second / 1e6:g} Mbit/s" if self.bits_per_second >= 1e6 else f"{self.bits_per_second / 1e3:g} kbit/s"
        lost = f", {self.loss * 100:g} % loss" if self.loss else ""
        return f"{rate}, {self.round_trip_seconds * 1000:.0f} ms{lost}"


@dataclass(frozen=True, slots=True)
class Ends:
    """The names of the two namespaces."""

    near: str
    far: str

    def inside(self, namespace: str, command: Sequence[str]) -> list[str]:
        """The command that runs a command there."""
        return ["ip", "netns", "exec", namespace, *command]


@contextlib.contextmanager
def linked(link: Link) -> Iterator[Ends]:
    """Two namespaces, at NEAR and FAR, that are connected by this link alone, until the block ends. Needs root and /dev/net/tun."""
    ends = Ends(f"near{os.getpid()}", f"far{os.getpid()}")
    with contextlib.ExitStack() as stack:
        for namespace in (ends.near, ends.far):
            _ip("netns", "add", namespace)
            stack.callback(_ip, "netns", "del", namespace)
            _ip("-n", namespace, "link", "set", "lo", "up")
        settings = [link.bits_per_second, link.round_trip_seconds, link.loss, link.queue_bytes, link.seed]
        command = [sys.executable, "-m", "tests.rig.emulated_link", ends.near, ends.far, *map(str, settings)]
        process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        stack.callback(process.terminate)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", "the link did not come about"
        for namespace, own, other in ((ends.near, NEAR, FAR), (ends.far, FAR, NEAR)):
            _ip("-n", namespace, "address", "add", own, "peer", other, "dev", _DEVICE)
            _ip("-n", namespace, "link", "set", _DEVICE, "up", "mtu", "1500")
        yield ends


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _tun(namespace: str) -> int:
    """The descriptor of a TUN device in a namespace."""
    library = ctypes.CDLL(None, use_errno=True)
    with open(f"/var/run/netns/{namespace}", "rb") as there, open("/proc/self/ns/net", "rb") as here:
        if library.setns(there.fileno(), _NEW_NETWORK):
            raise OSError(ctypes.get_errno(), f"the namespace {namespace} cannot be entered")
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", _DEVICE.encode(), _TUN | _NO_PACKET_INFO))
        if library.setns(here.fileno(), _NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "the first namespace cannot be entered again")
    return device


def _pass_on(near: int, far: int, link: Link) -> None:
    """For ever: each packet waits for the line, then for half a round trip; or is dropped, by chance or because the queue is full."""
    dice, other, free = random.Random(link.seed), {near: far, far: near}, {near: 0.0, far: 0.0}
    bytes_per_second = link.bits_per_second / 8
    under_way: list[tuple[float, int, int, bytes]] = []
    number = 0
    while True:
        wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        for device in select.select([near, far], [], [], wait)[0]:
            for packet in _waiting(device):
                now = time.monotonic()
                begins = max(now, free[device])
                if dice.random() < link.loss or (begins - now) * bytes_per_second > link.queue_bytes:
                    continue
                free[device] = begins + len(packet) / bytes_per_second
                number += 1
                heapq.heappush(under_way, (free[device] + link.round_trip_seconds / 2, number, other[device], packet))
        while under_way and under_way[0][0] <= time.monotonic():
            _, _, device, packet = heapq.heappop(under_way)
            with contextlib.suppress(OSError):  # a device that is not up yet drops it, as a cable would
                os.write(device, packet)


def _waiting(device: int) -> Iterator[bytes]:
    with contextlib.suppress(BlockingIOError):
        while True:
            yield os.read(device, _PACKET_BYTES)


if __name__ == "__main__":
    rate, round_trip, loss, queue, seed = sys.argv[3:]
    devices = [_tun(namespace) for namespace in sys.argv[1:3]]
    print("ready", flush=True)
    _pass_on(*devices, Link(float(rate), float(round_trip), float(loss), int(queue), int(seed)))
