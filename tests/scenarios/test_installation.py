"""README, "A real site": the three services as their units start them, as two users, and no system call that the units refuse.

All of it happens in a mount namespace of its own, so that users, /opt/outpost and /var/lib/outpost are those of the units and the
machine stays as it was. strace stands in for the system call filter: it answers EPERM to whatever the filter does not allow.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from pydicom.data import get_testdata_file

from tests.servers import ROOT, free_port, need, until

OPT, STATE = Path("/opt/outpost"), Path("/var/lib/outpost")
SERVICES = ("edge", "edge-web", "cloudsync")
REFUSED_IN_PEACE = {"mbind"}
"""OpenBLAS asks for it when numpy is imported, is refused, and goes on."""


def test_a_study_goes_all_the_way_between_two_users_under_the_filters_of_the_units() -> None:
    for program, package in (
        ("unshare", "util-linux"),
        ("setpriv", "util-linux"),
        ("strace", "strace"),
        ("systemd-sysusers", "systemd"),
        ("systemd-tmpfiles", "systemd"),
        ("systemd-analyze", "systemd"),
        ("dcmsend", "dcmtk"),
        ("movescu", "dcmtk"),
    ):
        need(program, package)
    if os.geteuid() != 0:
        pytest.skip("only root can become two other users")
    # Not pytest's own directory: the two users have to be able to walk to it.
    root = Path(tempfile.mkdtemp(prefix="outpost-installation-"))
    try:
        root.chmod(0o755)
        inside = [sys.executable, "-m", "tests.scenarios.test_installation", str(root)]
        command = ["unshare", "--mount", "--propagation", "private", "--", *inside]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180)
        assert run.returncode == 0, run.stdout + run.stderr + _logs(root)
        report = json.loads(run.stdout)
    finally:
        shutil.rmtree(root)
    assert report["availability_after_eviction"] == "NEARLINE"
    assert report["came_back"] == report["sent"] == 3
    assert report["web"] == ["ONLINE"]
    assert set(report["refused_calls"]) <= REFUSED_IN_PEACE
    assert report["edge_reads_keys"] is False
    assert report["cloudsync_reads_catalogue"] is False
    good = {"wall.keys", "port.dicom.port", "port.web.port", "archive.write", "archive.read", "peer.WORKSTATION"}
    assert {check for check in good if report["doctor"].get(check) != "good"} == {"peer.WORKSTATION"}  # it listens while movescu runs
    assert "fault" not in report["doctor"].values(), report["doctor"]


def _logs(root: Path) -> str:
    return "".join(f"\n== {log.name}\n{log.read_text()[-3000:]}" for log in sorted(root.glob("*.log")))


# What follows runs inside the namespace.


@dataclass(slots=True)
class Machine:
    """A machine on which README's steps were taken."""

    root: Path
    dicom_port: int = field(default_factory=free_port)
    web_port: int = field(default_factory=free_port)
    workstation_port: int = field(default_factory=free_port)

    @property
    def archive(self) -> Path:
        return self.root / "archive"

    def install(self) -> None:
        etc = self.root / "etc"
        etc.mkdir(mode=0o755)
        for name in ("passwd", "group"):
            shutil.copy(f"/etc/{name}", etc)
        units = OPT / "systemd"
        # Held elsewhere first: what is mounted next may hide where the checkout lies.
        kept = self.root / "checkout"
        kept.mkdir()
        _run("mount", "--bind", str(ROOT), str(kept))
        _reveal(Path(sys.base_prefix))
        _mount_fresh(OPT.parent)
        OPT.mkdir()
        _run("mount", "--move", str(kept), str(OPT))
        _mount_fresh(STATE.parent)
        _run("systemd-sysusers", f"--root={self.root}", str(units / "outpost.sysusers.conf"))
        for name in ("passwd", "group"):
            _run("mount", "--bind", str(etc / name), f"/etc/{name}")
        _run("systemd-tmpfiles", "--create", str(units / "outpost.tmpfiles.conf"))
        settings = self.root / "site.toml"
        settings.write_text(
            f'dicom.port = {self.dicom_port}\nweb.port = {self.web_port}\narchive.path = "{self.archive}"\n'
            "archive.segment_seconds = 1.0\ncache.quiet_seconds = 1.0\ncache.minimum_age_seconds = 0.0\n"
            'wall.edge_user = "outpost-edge"\nwall.cloudsync_user = "outpost-cloudsync"\n'
        )
        self.outpost("setup", "--state", str(STATE), "--config", str(settings), "--kit-out", str(self.root / "kit"))
        _run("chown", "-R", "outpost-cloudsync:", str(self.archive))
        self.outpost("keys", "rotate", "--state", str(STATE))  # as root: cloudsync has to be able to read all that it leaves

    def outpost(self, *arguments: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(OPT)}
        command = [str(OPT / ".venv/bin/python"), str(OPT / "outpost.py"), *arguments]
        return _run(*command, environment=environment, codes=(0, 1))

    @contextmanager
    def service(self, name: str) -> Iterator[None]:
        """One unit, started as written in it, from the moment at which it reports that it is ready."""
        unit = Unit((OPT / f"systemd/{name}.service").read_text())
        ready = self.root / f"{name}.notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, (self.root / f"{name}.log").open("w") as log:
            manager.bind(str(ready))
            ready.chmod(0o777)
            manager.settimeout(60)
            calls = self.root / f"{name}.calls"
            calls.touch()
            calls.chmod(0o666)
            others = "!" + ",".join(f"?{call}" for call in sorted(unit.allowed_calls()))
            watched = ["strace", "-f", "-qq", "-o", str(calls), "-e", f"trace={others}", "-e", f"inject={others}:error=EPERM"]
            command = [*unit.become(), "--", "sh", "-c", f'umask {unit["UMask"]}; cd {unit["WorkingDirectory"]}; exec "$@"', "sh"]
            environment = {**unit.environment(), "NOTIFY_SOCKET": str(ready), "PATH": os.environ["PATH"]}
            process = subprocess.Popen(
                [*command, *watched, *unit["ExecStart"].split()], env=environment, stdout=log, stderr=log, start_new_session=True
            )
            try:
                while b"READY=1" not in manager.recv(4096):
                    pass
                yield
            finally:
                for child in _children(process.pid):
                    os.kill(child, 15)
                process.wait(60)

    def refused_calls(self) -> list[str]:
        lines = "".join((self.root / f"{name}.calls").read_text() for name in SERVICES)
        return sorted(set(re.findall(r"^\d+ +(\w+)\(", lines, re.MULTILINE)))


class Unit:
    """The lines of a unit's [Service] section."""

    def __init__(self, text: str) -> None:
        self._lines = re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)

    def __getitem__(self, key: str) -> str:
        return next(value for name, value in self._lines if name == key)

    def become(self) -> list[str]:
        as_user = [f"--reuid={self['User']}", f"--regid={self['Group']}", f"--groups={self['SupplementaryGroups']}"]
        return ["setpriv", *as_user, "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]

    def environment(self) -> dict[str, str]:
        return dict(assignment.split("=", 1) for assignment in self["Environment"].split())

    def allowed_calls(self) -> frozenset[str]:
        allowed = _call_group("@default")
        for value in (value for name, value in self._lines if name == "SystemCallFilter"):
            for word in value.removeprefix("~").split():
                calls = _call_group(word)
                allowed = allowed - calls if value.startswith("~") else allowed | calls
        return allowed


@cache
def _call_group(word: str) -> frozenset[str]:
    if not word.startswith("@"):
        return frozenset({word})
    members = (line.strip() for line in _run("systemd-analyze", "syscall-filter", word).splitlines()[1:])
    return frozenset().union(*(_call_group(member) for member in members if member and not member.startswith("#")))


def _main(root: Path) -> None:
    machine = Machine(root)
    machine.install()
    workstation = ["-aet", "WORKSTATION", "-aec", "OUTPOST"]
    patient = OPT / Path(str(get_testdata_file("DICOMDIR"))).parent.relative_to(ROOT) / "77654033"
    study = sorted(patient.glob("CR*"))
    report: dict[str, object] = {}
    with ExitStack() as services:
        for name in SERVICES:
            services.enter_context(machine.service(name))
        peer = ["--host", "127.0.0.1", "--port", str(machine.workstation_port)]
        machine.outpost("peers", "add", "WORKSTATION", *peer, "--state", str(STATE))
        _run("dcmsend", *workstation, "+sd", "+r", "127.0.0.1", str(machine.dicom_port), *map(str, study))
        report["sent"] = sum(path.is_file() for directory in study for path in directory.iterdir())
        until(lambda: _studies(machine)[0]["held"] == 1, "the pack is held")
        uid = _studies(machine)[0]["study"]
        machine.outpost("evict", "--state", str(STATE))
        report["availability_after_eviction"] = _studies(machine)[0]["availability"]
        back = root / "back"
        back.mkdir()
        move = ["-aem", "WORKSTATION", "+P", str(machine.workstation_port), "-od", str(back)]
        keys = ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={uid}"]
        _run("movescu", *workstation, *move, *keys, "127.0.0.1", str(machine.dicom_port))
        report["came_back"] = len(list(back.iterdir()))
        report["web"] = [found["00080056"]["Value"][0] for found in json.loads(_get(machine.web_port, "/studies"))]
        findings = [json.loads(line) for line in machine.outpost("doctor", "--json", "--state", str(STATE)).splitlines()]
        report["doctor"] = {finding["check"]: finding["level"] for finding in findings}
        report["edge_reads_keys"] = _can_read("outpost-edge", next((STATE / "cloudsync/keys").iterdir()))
        report["cloudsync_reads_catalogue"] = _can_read("outpost-cloudsync", STATE / "edge/catalogue.db")
    report["refused_calls"] = machine.refused_calls()
    print(json.dumps(report))


def _studies(machine: Machine) -> list[dict]:
    return [json.loads(line) for line in machine.outpost("studies", "ls", "--json", "--state", str(STATE)).splitlines()]


def _get(port: int, path: str) -> bytes:
    token = (STATE / "edge/web.token").read_text().strip()
    request = Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {token}", "Accept": "application/dicom+json"})
    with urlopen(request, timeout=30) as answer:
        return answer.read()


def _can_read(user: str, path: Path) -> bool:
    command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--groups=outpost", "--", "cat", str(path)]
    return subprocess.run(command, capture_output=True, timeout=30).returncode == 0


def _children(process: int) -> list[int]:
    return [int(number) for number in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _mount_fresh(place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", "mode=0755", "outpost", str(place))


def _reveal(place: Path) -> None:
    """Make a directory reachable for every user, at its own path, where one above it is shut (a Python below root's home)."""
    shut = next((above for above in reversed(place.parents) if not above.stat().st_mode & 0o001), None)
    if shut is None:
        return
    kept = Path(tempfile.mkdtemp())
    _run("mount", "--bind", str(place), str(kept))
    _mount_fresh(shut)
    place.mkdir(parents=True)
    _run("mount", "--move", str(kept), str(place))
    kept.rmdir()


def _run(*command: str, environment: dict[str, str] | None = None, codes: tuple[int, ...] = (0,)) -> str:
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    if run.returncode not in codes:
        raise RuntimeError(f"{' '.join(command)} ended with {run.returncode}: {run.stdout}{run.stderr}")
    return run.stdout


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
