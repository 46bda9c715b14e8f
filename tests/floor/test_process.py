"""edge.process: one process on a directory, log lines that machines read, and an end with a reason."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import AlreadyRunning, ConfigError, StoreFull
from edge.process import SUPERVISED, failed, lock


def python(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, capture_output=True, text=True, timeout=30, check=False
    )


def test_a_second_lock_is_refused_at_once_and_granted_when_the_first_is_gone(tmp_path: Path) -> None:
    first = lock(tmp_path / "lock")
    with pytest.raises(AlreadyRunning):
        lock(tmp_path / "lock")
    os.close(first)
    os.close(lock(tmp_path / "lock"))


def test_a_lock_ends_with_its_process_however_it_ends(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from edge.process import lock; lock(Path(sys.argv[1])); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"1\n"
        with pytest.raises(AlreadyRunning):
            lock(tmp_path / "lock")
        holder.kill()
    os.close(lock(tmp_path / "lock"))


def test_log_lines_are_json_name_the_process_and_quote_no_foreign_text() -> None:
    program = (
        "import logging; from edge import process; process.begin('edge')\n"
        "logging.getLogger('x').info('all %s', 'well\\nhere')\n"
        "try: int('Doe^Jane')\n"
        "except ValueError: logging.getLogger('x').exception('no')"
    )
    answer = python(program)
    first, second = map(json.loads, answer.stderr.splitlines())
    assert {key: first[key] for key in ("process", "level", "says")} == {"process": "edge", "level": "info", "says": "all well\nhere"}
    assert first["at"].endswith("Z")
    assert second["level"] == "error"
    assert second["fault"] == "ValueError"
    assert second["where"].startswith("<string>:")
    assert "Doe" not in answer.stderr


def test_files_are_made_so_that_others_cannot_read_them(tmp_path: Path) -> None:
    python(f"from edge import process; process.begin('edge'); open({str(tmp_path / 'file')!r}, 'w')")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_process_lets_others_go_first_and_one_that_was_started_behind_them_stays_there() -> None:
    program = "import os; from edge import process; os.nice({0}); process.begin('edge-web', 10); print(os.getpriority(os.PRIO_PROCESS, 0))"
    ours = os.getpriority(os.PRIO_PROCESS, 0)  # the tests themselves may have been started behind others
    found = [int(python(program.format(further)).stdout) for further in (0, 15)]
    assert found == [max(10, ours), min(max(10, ours + 15), 19)]


def test_a_process_whose_supervisor_is_gone_already_ends_by_itself() -> None:
    answer = python("import time; from edge import process; process.begin('edge'); time.sleep(20)", **{SUPERVISED: "999999999"})
    assert answer.returncode == -signal.SIGTERM


def test_a_process_ends_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    inner = "import os; from edge import process; process.begin('edge'); print(os.getpid(), flush=True); input()"
    outer = f"import os, subprocess, sys\nos.environ[{SUPERVISED!r}] = str(os.getpid())\nsubprocess.run([sys.executable, '-c', {inner!r}])"
    with subprocess.Popen([sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        watch = os.pidfd_open(int(supervisor.stdout.readline()))
        supervisor.kill()
        # End of file: the supervised process, which held the other end of this pipe, is gone too.
        assert supervisor.stdout.read() == b""
    os.close(watch)


def test_why_a_process_ends_is_its_exit_code() -> None:
    assert failed(StoreFull()) == 75
    assert failed(ExceptionGroup("tasks", [ExceptionGroup("inner", [ConfigError("a", "b", "C.")])])) == 78


def test_what_is_no_error_of_outpost_is_raised_again() -> None:
    group = ExceptionGroup("tasks", [StoreFull(), ZeroDivisionError()])
    with pytest.raises(ExceptionGroup) as caught:
        failed(group)
    assert caught.value is group
