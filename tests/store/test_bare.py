"""edge.store.bare: the bytes that are on the disk, whatever the page cache shows."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from edge.store.bare import WINDOW, BareFile


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, WINDOW, WINDOW + 1, 3 * WINDOW + 777])
def test_it_reads_as_pread_does(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    path = tmp_path / "file"
    path.write_bytes(data)
    choose = random.Random(size)
    with BareFile(path) as file:
        assert file.size == size
        assert file.read(size + 10, 0) == data
        for _ in range(50):
            offset, length = choose.randrange(size + 10), choose.randrange(2 * WINDOW)
            assert file.read(length, offset) == data[offset : offset + length]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    with pytest.raises(OSError, match="symbolic link"):
        BareFile(tmp_path / "link")


def test_a_file_system_without_direct_reading_is_said_so_and_read_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    path = Path("/proc/self/status")
    with BareFile(path) as file:
        assert file.read(5, 0) == b"Name:"
    assert "without O_DIRECT" in caplog.text
