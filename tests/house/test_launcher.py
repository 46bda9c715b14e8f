"""The launcher, with a Python and an apt-get that only write down what was asked of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PYTHON = """#!/bin/sh
case "$*" in
    "-c import ensurepip"*) readlink -f "$0"; test -e "$STUBS/can-make-environments" ;;
    --version) echo Python 3.11.2 ;;
    "-m venv"*)
        echo venv >>"$STUBS/log"
        for place; do :; done
        mkdir -p "$place/bin" && cp "$0" "$place/bin/python" ;;
    "-m pip"*) sleep 0.2; for lockfile; do :; done; echo "pip $(basename "$lockfile")" >>"$STUBS/log" ;;
    *outpost.py*) echo "run $PWD $PYTHONPATH $*" ;;
esac
"""
APT = """#!/bin/sh
echo "apt $*" >>"$STUBS/log"
case "$*" in *" install "*) touch "$STUBS/can-make-environments" ;; esac
"""


class Machine:
    """A machine that has nothing but a shell, coreutils and the stubs."""

    def __init__(self, root: Path) -> None:
        self.stubs, self.checkout, self.elsewhere = root / "bin", root / "check out", root / "elsewhere"
        for directory in (self.stubs, self.checkout, self.elsewhere):
            directory.mkdir()
        for name in ("outpost", "prepare.sh"):
            shutil.copy(ROOT / name, self.checkout)
        self.lock("first==1")
        for name in ("dirname", "readlink", "sha256sum", "flock", "tr", "cp", "mkdir", "touch", "sleep", "basename"):
            tool = shutil.which(name)
            assert tool
            (self.stubs / name).symlink_to(tool)
        self.stub("python3", PYTHON)
        self.stub("apt-get", APT)
        self.stub("openssl", "#!/bin/sh\n")
        self.stub("id", "#!/bin/sh\necho 0\n")
        (self.stubs / "can-make-environments").touch()

    def stub(self, name: str, text: str) -> None:
        (self.stubs / name).write_text(text)
        (self.stubs / name).chmod(0o755)

    def lock(self, text: str) -> None:
        (self.checkout / "requirements.lock").write_text(text)

    def start(self, *arguments: str, before: str = "", user: int | None = None) -> subprocess.Popen[str]:
        """`before` comes before the stubs on the path."""
        environment = {"PATH": before + str(self.stubs), "STUBS": str(self.stubs)}
        command = ["/bin/sh", str(self.checkout / "outpost"), *arguments]
        return subprocess.Popen(
            command, cwd=self.elsewhere, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, user=user
        )

    def run(self, *arguments: str, before: str = "", user: int | None = None) -> tuple[int, str, str]:
        with self.start(*arguments, before=before, user=user) as process:
            out, err = process.communicate(timeout=30)
        return process.returncode, out, err

    @property
    def log(self) -> list[str]:
        path = self.stubs / "log"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    if shutil.which("flock") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("flock is missing (Debian package util-linux)")
    return Machine(tmp_path)


def test_first_use_makes_the_environment_and_says_so_on_standard_error_only(machine: Machine) -> None:
    code, out, err = machine.run("status", "--state", "a b")
    assert code == 0
    assert out == f"run {machine.elsewhere} {machine.checkout} {machine.checkout}/outpost.py status --state a b\n"
    assert "making .venv with Python 3.11.2" in err
    assert machine.log == ["venv", "pip requirements.lock"]


def test_later_uses_install_nothing_and_say_nothing(machine: Machine) -> None:
    machine.run()
    assert machine.run()[2] == ""
    assert machine.log == ["venv", "pip requirements.lock"]


def test_a_changed_lock_is_installed_into_the_same_environment(machine: Machine) -> None:
    machine.run()
    machine.lock("first==2")
    machine.run()
    assert machine.log == ["venv", "pip requirements.lock", "pip requirements.lock"]


def test_an_environment_whose_python_is_gone_is_made_again(machine: Machine) -> None:
    machine.run()
    (machine.checkout / ".venv/bin/python").unlink()
    assert machine.run()[0] == 0
    assert machine.log.count("venv") == 2


def test_two_first_uses_at_the_same_time_install_once(machine: Machine) -> None:
    with machine.start() as first, machine.start() as second:
        first.communicate(timeout=30)
        second.communicate(timeout=30)
    assert (first.returncode, second.returncode) == (0, 0)
    assert machine.log == ["venv", "pip requirements.lock"]


def test_root_gets_what_is_missing_for_making_environments(machine: Machine) -> None:
    (machine.stubs / "can-make-environments").unlink()
    assert machine.run()[0] == 0
    assert "apt -qq install -y --no-install-recommends python3 python3-venv" in machine.log


def test_anyone_else_is_told_the_one_line_to_run(machine: Machine) -> None:
    (machine.stubs / "can-make-environments").unlink()
    machine.stub("id", "#!/bin/sh\necho 1000\n")
    code, out, err = machine.run()
    assert (code, out) == (69, "")
    assert err.splitlines()[-1].strip() == "outpost:     sudo apt-get install -y python3 python3-venv"
    assert machine.log == []


IN_A_HOME = PYTHON.replace('readlink -f "$0"', "echo ~root/python/bin/python3.13")


def test_root_passes_over_a_python_below_a_home_for_one_that_everybody_can_run(machine: Machine) -> None:
    machine.stub("python3.13", IN_A_HOME.replace("3.11.2", "3.13.1"))
    assert "making .venv with Python 3.11.2" in machine.run()[2]


def test_root_takes_a_python_below_a_home_where_there_is_no_other_and_says_so(machine: Machine) -> None:
    machine.stub("python3", IN_A_HOME)
    code, _, err = machine.run()
    assert code == 0
    assert f"the only Python here, {machine.stubs}/python3, lies below a home directory" in err
    assert not any(line.startswith("apt") for line in machine.log)


def test_anyone_else_uses_the_first_python_on_the_path_wherever_it_lies(machine: Machine) -> None:
    machine.stub("id", "#!/bin/sh\necho 1000\n")
    machine.stub("python3.13", IN_A_HOME.replace("3.11.2", "3.13.1"))
    code, _, err = machine.run(before="/no such place:")
    assert code == 0
    assert "making .venv with Python 3.13.1" in err
    assert "home" not in err


def test_who_cannot_write_beside_the_launcher_gets_a_sentence() -> None:
    root = Path(tempfile.mkdtemp())  # not pytest's own directory: anybody has to be able to walk to it
    try:
        root.chmod(0o755)
        machine = Machine(root)
        machine.checkout.chmod(0o555)
        nobody = 65_534 if os.geteuid() == 0 else None
        code, out, err = machine.run("status", user=nobody)
        machine.checkout.chmod(0o755)
    finally:
        shutil.rmtree(root)
    assert (code, out) == (77, "")
    assert f"this user cannot write {machine.checkout}." in err
    assert all(line.startswith("outpost: ") for line in err.splitlines())


def test_a_failed_installation_is_not_taken_for_done(machine: Machine) -> None:
    machine.stub("python3", PYTHON.replace("sleep 0.2;", "exit 1;"))
    assert machine.run()[0] != 0
    assert machine.run()[0] != 0
