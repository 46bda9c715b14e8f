"""edge.durable: a file is there whole, or what was there before."""

from __future__ import annotations

import os
import resource
import signal
import threading
from pathlib import Path

import pytest

from edge.durable import flush_directory, write_all, write_whole


def test_a_file_appears_whole_with_its_mode_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    umask = os.umask(0)
    try:
        write_whole(path, b"first")
        write_whole(path, b"second", 0o600)
    finally:
        os.umask(umask)
    assert path.read_bytes() == b"second"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_what_a_crash_left_behind_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".file.new").write_bytes(b"half of something much longer")
    write_whole(tmp_path / "file", b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"untouched")
    (tmp_path / ".file.new").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        write_whole(tmp_path / "file", b"data")
    assert (tmp_path / "victim").read_bytes() == b"untouched"


def test_a_write_that_fails_leaves_what_was_there_and_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_whole(path, bytes(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["file"]


def test_short_writes_are_continued() -> None:
    reading, writing = os.pipe()
    received: list[bytes] = []

    def drain() -> None:
        while data := os.read(reading, 4096):
            received.append(data)

    thread = threading.Thread(target=drain)
    thread.start()
    data = os.urandom(1 << 20)
    write_all(writing, memoryview(data))
    os.close(writing)
    thread.join()
    os.close(reading)
    assert b"".join(received) == data


def test_flushing_what_is_no_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    flush_directory(tmp_path)
    with pytest.raises(NotADirectoryError):
        flush_directory(tmp_path / "file")
