"""The emulated link has the delay, the rate and the loss that it is asked for, as the datagrams that cross it show."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.rig.emulated_link import FAR, Link, linked

HEADERS_BYTES = 28
"""Of IP and UDP."""
ECHO = f"""
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
    line.bind(("{FAR}", 7))
    print("ready", flush=True)
    while True:
        line.sendto(*line.recvfrom(2048))
"""
PING = """
import socket, sys, time
host, count, size, patience = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
    line.settimeout(patience)
    begin = time.monotonic()
    for number in range(count):
        line.sendto(number.to_bytes(2, "big").ljust(size), (host, 7))
    try:
        for _ in range(count):
            print(int.from_bytes(line.recv(2048)[:2], "big"), time.monotonic() - begin)
    except TimeoutError:
        pass
"""


@pytest.fixture(autouse=True)
def root() -> None:
    allowed = os.getuid() == 0 and subprocess.run(["unshare", "--net", "--mount", "true"]).returncode == 0  # not in each container
    if not allowed or not os.path.exists("/dev/net/tun"):
        reason = "network namespaces and TUN devices need root, its capabilities and /dev/net/tun"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def echoed(link: Link, count: int, size: int = 10, patience: float = 10.0) -> dict[int, float]:
    """Which datagrams, sent all at once, came back, and after how many seconds; `patience` is for those that do not."""
    with linked(link) as ends:
        there = subprocess.Popen(ends.inside(ends.far, [sys.executable, "-c", ECHO]), stdout=subprocess.PIPE, text=True)
        with there:
            assert there.stdout is not None
            assert there.stdout.readline() == "ready\n"
            sending = [sys.executable, "-c", PING, FAR, str(count), str(size), str(patience)]
            said = subprocess.run(ends.inside(ends.near, sending), capture_output=True, text=True, check=True).stdout
            there.terminate()
    return {int(number): float(seconds) for number, seconds in (line.split() for line in said.splitlines())}


def test_nothing_is_back_sooner_than_the_round_trip() -> None:
    back = echoed(Link(10_000_000, 0.2), 3)
    assert sorted(back) == [0, 1, 2]
    assert min(back.values()) >= 0.2


def test_one_datagram_after_the_other_waits_for_the_line() -> None:
    back = echoed(Link(80_000, 0.0), 4, 1000 - HEADERS_BYTES)  # 0.1 s each; the last waits for three, and crosses twice
    assert all(back[number] >= 0.1 * (number + 2) - 0.001 for number in range(4))


def test_what_a_full_queue_cannot_take_is_dropped() -> None:
    back = echoed(Link(200_000, 0.0, queue_bytes=5000), 20, 1000 - HEADERS_BYTES, patience=3.0)
    assert 5 <= len(back) < 20


def test_datagrams_are_lost_by_chance() -> None:
    assert 50 < len(echoed(Link(10_000_000, 0.0, loss=0.3), 200, patience=3.0)) < 150  # of which half are expected to cross both ways
