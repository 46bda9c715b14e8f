"""edge.doorbell: a ring is heard when somebody listens, and costs nothing when nobody does."""

from __future__ import annotations

import select
import socket
from pathlib import Path

from edge.doorbell import Doorbell, ring


def rung(bell: Doorbell) -> bool:
    return bool(select.select([bell], [], [], 0)[0])


def test_rings_are_heard_until_they_are_drained(tmp_path: Path) -> None:
    path = tmp_path / "bell"
    bell = Doorbell(path)
    assert not rung(bell)
    ring(path)
    ring(path)
    assert rung(bell)
    bell.drain()
    assert not rung(bell)
    bell.drain()
    bell.close()


def test_a_bell_takes_the_place_of_one_that_a_crash_left(tmp_path: Path) -> None:
    path = tmp_path / "bell"
    Doorbell(path).close()
    bell = Doorbell(path)
    assert path.stat().st_mode & 0o777 == 0o660
    ring(path)
    assert rung(bell)
    bell.close()


def test_ringing_never_raises_and_never_waits(tmp_path: Path) -> None:
    path = tmp_path / "bell"
    ring(path)
    ring(tmp_path / ("x" * 200))
    bell = Doorbell(path)
    for _ in range(2000):
        ring(path)
    bell.close()
    ring(path)


def test_whatever_the_other_side_puts_in_the_place_of_its_bell_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    ring(tmp_path / "file")
    ring(tmp_path / "file" / "bell")
    ring(tmp_path / "loop")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.bind(str(tmp_path / "stream"))
        stream.listen()
        ring(tmp_path / "stream")
