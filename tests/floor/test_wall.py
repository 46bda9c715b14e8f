"""edge.wall: whatever the other side puts where its files belong, nothing but a plain file of its own is read."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.errors import Refused
from edge.wall import Gate, Trespass

SECRET = b"the key that must not cross the wall"
CAP = 1024


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    """What the other side writes, beside a secret of ours."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "kek").write_bytes(SECRET)
    directory = tmp_path / "outbox"
    (directory / "pack").mkdir(parents=True)
    (directory / "pack" / "000001").write_bytes(b"a part")
    return directory


def test_a_plain_file_is_read_whole(outbox: Path) -> None:
    assert Gate(outbox, os.getuid()).read("pack/000001", CAP) == b"a part"
    assert Gate(outbox).read("pack/000001", len(b"a part")) == b"a part"


def test_what_is_not_there_is_not_found(outbox: Path) -> None:
    for gate, name in ((Gate(outbox), "pack/000002"), (Gate(outbox), "other/000001"), (Gate(outbox / "gone"), "000001")):
        with pytest.raises(FileNotFoundError):
            gate.read(name, CAP)


def _final_link(outbox: Path) -> str:
    (outbox / "pack" / "thief").symlink_to(outbox.parent / "keys" / "kek")
    return "pack/thief"


def _directory_link(outbox: Path) -> str:
    (outbox / "thief").symlink_to(outbox.parent / "keys")
    return "thief/kek"


def _dangling_link(outbox: Path) -> str:
    (outbox / "thief").symlink_to(outbox / "nowhere")
    return "thief"


def _descriptor_link(outbox: Path) -> str:
    (outbox / "thief").symlink_to("/proc/self/fd/0")
    return "thief"


def _hard_link(outbox: Path) -> str:
    (outbox / "thief").hardlink_to(outbox.parent / "keys" / "kek")
    return "thief"


def _fifo(outbox: Path) -> str:
    os.mkfifo(outbox / "pipe")
    return "pipe"


def _socket(outbox: Path) -> str:
    os.mknod(outbox / "socket", stat.S_IFSOCK | 0o600)
    return "socket"


def _directory(outbox: Path) -> str:
    return "pack"


def _file_as_directory(outbox: Path) -> str:
    return "pack/000001/key"


def _too_large(outbox: Path) -> str:
    (outbox / "large").write_bytes(SECRET + bytes(CAP))
    return "large"


TRESPASSES = [
    _final_link,
    _directory_link,
    _dangling_link,
    _descriptor_link,
    _hard_link,
    _fifo,
    _socket,
    _directory,
    _file_as_directory,
    _too_large,
]


@pytest.mark.parametrize("lay", TRESPASSES, ids=lambda lay: lay.__name__.strip("_"))
def test_what_is_no_plain_file_is_a_trespass_and_is_not_read(outbox: Path, lay: Callable[[Path], str]) -> None:
    name = lay(outbox)
    with pytest.raises(Trespass) as caught:
        Gate(outbox).read(name, CAP)
    assert SECRET.decode() not in str(caught.value)
    assert isinstance(caught.value, Refused)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "/",
        "..",
        "../keys/kek",
        "pack/../../keys/kek",
        "pack/..",
        "/etc/passwd",
        "a\0b",
        "pack/\n",
        "\ud800",
        "n" * 256,
        "n/" * 200,
    ],
)
def test_what_is_no_name_below_the_root_is_a_trespass(outbox: Path, name: str) -> None:
    with pytest.raises(Trespass):
        Gate(outbox).read(name, CAP)


def test_a_root_that_was_replaced_by_a_link_is_a_trespass(outbox: Path) -> None:
    outbox.rename(outbox.with_name("old"))
    outbox.symlink_to(outbox.parent / "keys")
    with pytest.raises(Trespass, match="symbolic link"):
        Gate(outbox).read("kek", CAP)


def test_a_root_that_is_a_file_is_a_trespass(outbox: Path) -> None:
    with pytest.raises(Trespass):
        Gate(outbox / "pack" / "000001").read("kek", CAP)


def test_a_file_of_another_owner_is_a_trespass(outbox: Path) -> None:
    with pytest.raises(Trespass, match=f"owned by user {os.getuid()}"):
        Gate(outbox, os.getuid() + 1).read("pack/000001", CAP)


def test_a_device_is_a_trespass(outbox: Path) -> None:
    _needs_root()
    try:
        os.mknod(outbox / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("this container may not make devices")
    with pytest.raises(Trespass, match="not a regular file"):
        Gate(outbox).read("zero", CAP)


def test_a_file_that_its_owner_does_not_let_us_read_is_a_trespass(outbox: Path) -> None:
    _needs_root()
    (outbox / "pack" / "000001").chmod(0)
    outbox.chmod(0o755)
    for directory in (outbox.parent, outbox.parent.parent, outbox.parent.parent.parent):
        directory.chmod(0o755)
    program = (
        "import os, sys; from pathlib import Path; from edge.wall import Gate, Trespass\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: Gate(Path(sys.argv[1])).read('pack/000001', 10)\n"
        "except Trespass as fault: print(fault)"
    )
    answer = subprocess.run([sys.executable, "-c", program, str(outbox)], capture_output=True, text=True, check=True, timeout=20)
    assert "does not let it be read" in answer.stdout


def test_a_file_that_grows_while_it_is_read_is_a_trespass(outbox: Path) -> None:
    class Grown(Gate):
        """The other side writes between the look and the read."""

        def open(self, name: str, max_bytes: int) -> int:
            descriptor = super().open(name, max_bytes)
            with (outbox / name).open("ab") as file:
                file.write(bytes(2 * CAP))
            return descriptor

    with pytest.raises(Trespass, match="grew"):
        Grown(outbox).read("pack/000001", CAP)


def test_a_link_that_takes_the_place_of_the_file_after_the_look_is_not_followed(outbox: Path) -> None:
    class Swapped(Gate):
        """The other side swaps the file between the look and the opening."""

        def _inspect(self, name: str, found: os.stat_result, max_bytes: int) -> None:
            super()._inspect(name, found, max_bytes)
            (outbox / name).rename(outbox / "pack" / "moved")
            (outbox / name).symlink_to(outbox.parent / "keys" / "kek")

    assert Swapped(outbox).read("pack/000001", CAP) == b"a part"


def test_refusals_leave_no_descriptor_open(outbox: Path) -> None:
    names = [lay(outbox) for lay in (_directory_link, _fifo, _directory, _too_large)]
    before = len(os.listdir("/proc/self/fd"))
    for name in [*names, "gone", "pack/000001/x"]:
        with pytest.raises((Trespass, FileNotFoundError)):
            Gate(outbox).read(name, CAP)
    assert len(os.listdir("/proc/self/fd")) == before


def _needs_root() -> None:
    if os.getuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs root")
