"""`outpost run`: supervision, refusals and the end in order, as a person meets them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.control.lines import NotRunning
from edge.control.status import GetStatus
from edge.demo.phantom import phantom
from edge.demo.site import ROOT
from edge.model import Level
from tests.scenarios.conftest import Clinic


def outpost(*arguments: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(ROOT / "outpost.py"), *arguments], capture_output=True, text=True, timeout=timeout)


def processes(supervisor: int) -> dict[str, int]:
    """The supervised processes by module name."""
    found = {}
    for child in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split():
        try:
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended, and was reaped, since the list was read
        if b"-m" in words:  # one that is between fork and exec still has the supervisor's own
            found[words[words.index(b"-m") + 1].decode()] = int(child)
    return found


def seconds(run: Callable[[], object]) -> float:
    begin = time.monotonic()
    run()
    return time.monotonic() - begin


def test_a_second_run_on_the_same_state_refuses_as_soon_as_it_has_started(clinic: Clinic) -> None:
    def second() -> None:
        refused = outpost("run", "--state", str(clinic.site.layout.state))
        assert refused.returncode == 3
        assert "Another Outpost runs on this state directory" in refused.stderr

    # A start alone is what `--help` takes, on this machine and with what else it does now; less than another one more is for the refusal.
    pairs = ((seconds(lambda: outpost("--help")), seconds(second)) for _ in range(10))
    assert any(refusal < 2 * start for start, refusal in pairs)
    assert clinic.site.is_up()


@pytest.mark.parametrize("module", ["edge", "edge.web", "cloudsync"])
def test_each_process_is_started_again_alone_and_the_others_serve_on(clinic: Clinic, module: str) -> None:
    before = processes(clinic.site.supervisor)
    assert set(before) == {"edge", "edge.web", "cloudsync"}
    os.kill(before[module], signal.SIGKILL)
    clinic.site.wait(lambda: processes(clinic.site.supervisor).get(module) not in {None, before[module]}, f"{module} runs again")
    after = processes(clinic.site.supervisor)
    assert {name: after[name] for name in before if name != module} == {name: before[name] for name in before if name != module}
    clinic.site.wait(clinic.site.is_up, "edge answers")


def test_sigterm_ends_the_processes_in_order_and_nothing_is_left(clinic: Clinic) -> None:
    before = processes(clinic.site.supervisor)
    ended: dict[str, int] = {}
    os.kill(clinic.site.supervisor, signal.SIGTERM)
    while len(ended) < len(before):
        for name, number in before.items():
            if name not in ended and not Path(f"/proc/{number}/cmdline").exists():
                ended[name] = len(ended)
    assert list(ended) == ["edge.web", "edge", "cloudsync"]
    clinic.site.stop()
    with pytest.raises(NotRunning):
        list(clinic.site.ask(GetStatus()))


def test_when_the_supervisor_is_killed_its_processes_end_and_run_takes_over(clinic: Clinic) -> None:
    before = processes(clinic.site.supervisor)
    os.kill(clinic.site.supervisor, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{number}/cmdline").exists() for number in before.values()):
        assert time.monotonic() < deadline, "processes outlive their supervisor"
        time.sleep(0.05)
    clinic.site.stop()
    clinic.site.start()
    assert clinic.site.is_up()


def _unknown_key(clinic: Clinic) -> None:
    clinic.site.layout.config.write_text(clinic.site.layout.config.read_text() + '\n[scanner]\nname = "x"\n')


def _wrong_type(clinic: Clinic) -> None:
    clinic.site.layout.config.write_text('[dicom]\nport = "eleven"\n')


def _no_archive(clinic: Clinic) -> None:
    clinic.site.layout.config.write_text('[dicom]\nhost = "127.0.0.1"\nport = 0\n[web]\nport = 0\n[archive]\nkind = "folder"\n')


@pytest.mark.parametrize(("spoil", "key"), [(_unknown_key, "scanner"), (_wrong_type, "dicom.port"), (_no_archive, "archive.path")], ids=str)
def test_a_wrong_setting_ends_the_run_and_names_the_key_and_the_cure(clinic: Clinic, spoil: Callable[[Clinic], None], key: str) -> None:
    clinic.site.stop()
    spoil(clinic)
    done = outpost("run", "--state", str(clinic.site.layout.state))
    assert done.returncode == 78
    assert f"{key}: " in done.stderr


@pytest.mark.parametrize("section", ["dicom", "web"])
def test_a_port_in_use_ends_the_run_and_names_the_key_and_the_cure(clinic: Clinic, section: str) -> None:
    clinic.site.stop()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = clinic.site.layout.config
        head, mark, tail = config.read_text().partition(f"[{section}]")
        config.write_text(head + mark + tail.replace("port = 0", f"port = {port}", 1))
        done = outpost("run", "--state", str(clinic.site.layout.state))
    assert done.returncode == 78
    assert f"{section}.port" in done.stderr
    assert str(port) in done.stderr


def test_a_state_directory_that_was_never_set_up_is_named_with_the_cure(tmp_path: Path) -> None:
    done = outpost("run", "--state", str(tmp_path / "nothing"))
    assert done.returncode == 78
    assert "outpost setup" in done.stderr
    done = outpost("status", "--state", str(tmp_path / "nothing"))
    assert done.returncode == 78
    assert "outpost setup" in done.stderr


def test_what_cannot_be_done_ends_with_the_exit_code_of_the_table(clinic: Clinic, tmp_path: Path) -> None:
    state = str(clinic.site.layout.state)
    for words, code in (
        (("status",), 0),
        (("status", "--wach"), 64),
        (("statsu",), 64),
        (("studies", "show"), 64),
        (("studies", "show", "1.2.3"), 66),
        (("studies", "recall", "1.2.3"), 66),
        (("studies", "retry", "1.2.3"), 66),
        (("studies", "correct", "1.2.3", "--reject"), 66),
        (("peers", "show", "NOBODY"), 66),
        (("peers", "echo", "NOBODY"), 66),
        (("peers", "add", "A\\B"), 77),
        (("routes", "rm", "nowhere"), 66),
    ):
        done = outpost(*words, "--state", state)
        assert done.returncode == code, (words, done.stderr)
        assert bool(done.stderr) == bool(code), words
    folder = tmp_path / "stopped"
    folder.mkdir()
    (folder / "outpost.toml").write_text("")
    done = outpost("status", "--state", str(folder))
    assert (done.returncode, "outpost run" in done.stderr) == (69, True)


def test_setup_refuses_a_directory_that_cannot_be_written_and_one_that_is_in_use(clinic: Clinic, tmp_path: Path) -> None:
    options = ("--archive-folder", str(tmp_path / "archive"), "--kit-out", str(tmp_path / "kit"))
    done = outpost("setup", "--state", "/proc/outpost", *options)
    assert done.returncode == 78
    assert "--state" in done.stderr
    done = outpost("setup", "--state", str(clinic.site.layout.state), *options)
    assert done.returncode == 77
    assert "not empty" in done.stderr


def test_status_and_studies_answer_in_words_and_in_json(clinic: Clinic) -> None:
    state = str(clinic.site.layout.state)
    assert "No study has arrived yet." in outpost("status", "--state", state).stdout
    assert '"is":"status"' in outpost("status", "--state", state, "--json").stdout
    assert outpost("studies", "--state", state, "--json").stdout == ""
    assert "WORKSTATION" in outpost("peers", "ls", "--state", state).stdout
    assert outpost("studies", "--state", state).stdout == "There is no study here yet.\n"
    done = outpost("peers", "rm", "NOBODY", "--state", state)
    assert done.returncode == 66
    assert "outpost peers ls" in done.stderr


def test_scanning_goes_on_when_cloudsync_refuses_its_keys(clinic: Clinic) -> None:
    before = processes(clinic.site.supervisor)
    for path in clinic.site.layout.keys.iterdir():
        path.rename(path.with_name(f"{path.name}.away"))
    os.kill(before["cloudsync"], signal.SIGKILL)
    clinic.site.wait(lambda: "cloudsync ended with" in clinic.site.log.read_text(), "cloudsync refused")
    clinic.site.wait(lambda: clinic.site.log.read_text().count("cloudsync ended with") >= 2, "it is tried again")
    sent = list(phantom(2, 64))
    clinic.workstation.send(clinic.site.peer, sent, lambda _: None)
    assert len(clinic.workstation.find(clinic.site.peer, Level.STUDY, {"0020000D": {"vr": "UI"}})) == 1
    for path in clinic.site.layout.keys.iterdir():
        path.rename(path.with_suffix(""))
    clinic.wait_held()
