"""The command `outpost`: mounts the commands of both sides, and starts and supervises the processes. Imports nothing heavy."""

from __future__ import annotations

import os
import pwd
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, cast

import typer

import cloudsync.cli
import edge.cli
from cloudsync.archive.opening import check
from edge import process
from edge.config import Layout, load
from edge.errors import ConfigError, OutpostError
from edge.finding import Finding, Opening, decode, encode, exit_code

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="A DICOM cache in the clinic, a sealed archive off-site.")
app.registered_commands += edge.cli.app.registered_commands + cloudsync.cli.app.registered_commands
app.registered_groups += edge.cli.app.registered_groups + cloudsync.cli.app.registered_groups

ORDER = ("edge-web", "edge", "cloudsync")
"""In which the processes are ended; they are started the other way round."""
MODULES = {"edge-web": "edge.web", "edge": "edge", "cloudsync": "cloudsync"}
ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
GRACE_SECONDS = 20.0
BACKOFF_SECONDS = (0.2, 1.0, 5.0, 15.0, 30.0)
REFUSAL_SECONDS = 10.0
STEADY_SECONDS = 60.0
"""A process that ran for so long is started again at once when it ends."""
_USAGE = 64
"""Exit code of a command that is not written as `--help` says; 2 is that of a red `outpost status`."""
_UsageFault = cast(type[typer.BadParameter], typer.BadParameter.__base__)
FINAL = frozenset({3, 77, 78})
"""Exit codes that no new start mends: somebody else runs, a refusal, a wrong setting. Only edge's end everything, and edge-web's before it
has ever run: scanning goes on without the archive and without DICOMweb.
"""


@app.command()
def run(state: edge.cli.STATE = edge.cli.DEFAULT_STATE) -> None:
    """Start edge, edge-web and cloudsync on a state directory, and start each again when it ends. SIGTERM ends them in order."""
    layout = Layout(state)
    try:
        check(load(layout.config).archive)
        process.lock(layout.state / "run.lock")
    except PermissionError as fault:
        typer.echo(f"{layout.state}: this user may not run this site. Use its own user, or sudo.", err=True)
        raise typer.Exit(77) from fault
    except OutpostError as fault:
        typer.echo(str(fault), err=True)
        raise typer.Exit(fault.exit_code) from fault
    raise typer.Exit(Supervisor(layout.state).run())


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the last step.")] = False,
    data: Annotated[Path | None, typer.Option("--data", help="Send what lies in this directory too.")] = None,
    keep: Annotated[Path | None, typer.Option("--keep", help="Make the throw-away sites here, and keep them.")] = None,
) -> None:
    """Show the whole way of a study on this machine: received, found, coded, sealed, held, evicted, recalled, rebuilt."""
    from edge.demo.tour import tour  # noqa: PLC0415 - brings pydicom and numpy

    raise typer.Exit(tour(once, data, keep))


@app.command()
def doctor(
    state: edge.cli.STATE = edge.cli.DEFAULT_STATE,
    through_firewall: Annotated[bool, typer.Option("--firewall", help="Only print what the firewall has to let through.")] = False,
    as_json: edge.cli.JSON = False,
) -> None:
    """Look at disk, ports, peers, network, archive, credential, clock and kit. Exit code 1: something to do soon; 2: something is wrong."""
    said: list[Finding | Opening] = []
    try:
        wall = load(Layout(state).config).wall
        sides = (("edge.doctor", wall.edge_user), ("cloudsync.doctor", wall.cloudsync_user))
        children = [_doctor(module, user, state, through_firewall) for module, user in sides]
        for child in children:
            for one in _heard(child):
                said.append(one)
                typer.echo(encode(one) if as_json else _in_words(one))
    except OutpostError as fault:
        edge.cli.fail(fault)
    found = [one for one in said if isinstance(one, Finding)]
    if not as_json and not through_firewall:
        wrong = sum(one.level in {"fault", "warning"} for one in found)
        typer.echo(f"{len(found)} findings, {wrong} with something to do.")
    raise typer.Exit(exit_code(found))


def _doctor(module: str, user: str, state: Path, through_firewall: bool) -> subprocess.Popen[bytes]:
    """One side in a process of its own: as root, with the user and the rights of that side, so that what it finds holds for it.

    Raises ConfigError for a user that is not there.
    """
    command = [sys.executable, "-m", module, "--state", str(state.resolve()), *(["--firewall"] if through_firewall else [])]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent), "PYTHONSAFEPATH": "1"}
    became: dict[str, Any] = {}
    if user and os.geteuid() == 0:
        try:
            account = pwd.getpwnam(user)
        except KeyError as fault:
            raise ConfigError(
                "wall", f"there is no user {user!r}", "Make the user (systemd-sysusers), or leave the setting empty."
            ) from fault
        became = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": os.getgrouplist(user, account.pw_gid)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/", **became)


def _heard(child: subprocess.Popen[bytes]) -> Iterator[Finding | Opening]:
    """What a side says; an error that kept it from looking further is a finding too."""
    with child:
        assert child.stdout is not None
        assert child.stderr is not None
        for line in child.stdout:
            yield decode(line)
        words = child.stderr.read().decode("utf-8", "replace").strip().splitlines()
    if child.returncode:
        said = words[-1] if words else f"It ended with {child.returncode}."
        yield Finding("doctor", "fault", said, "Then run `outpost doctor` again.")


def _in_words(one: Finding | Opening) -> str:
    if isinstance(one, Opening):
        return f"{one.direction:3}  {one.protocol}  {one.host:32}  {one.port:>5}  {one.purpose}"
    colour = {"fault": typer.colors.RED, "warning": typer.colors.YELLOW, "good": typer.colors.GREEN}.get(one.level)
    mark = typer.style(f"{one.level:8}", fg=colour if os.isatty(1) else None)
    return f"{mark} {one.sentence}" + (f"\n{'':9}-> {one.cure}" if one.cure else "")


@dataclass(slots=True)
class _Child:
    name: str
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    failures: int = 0
    has_run: bool = False
    """It once ran for longer than a process takes to refuse its settings."""
    start_at: float = 0.0
    """Monotonic; when it is to be started again."""


@dataclass(slots=True)
class Supervisor:
    """Keeps the processes of one site running. Each is started again alone; the others serve on."""

    state: Path
    children: list[_Child] = field(default_factory=lambda: [_Child(name) for name in reversed(ORDER)])

    def run(self) -> int:
        """Until SIGTERM or SIGINT, or until a process ends with a code that a new start does not mend; the exit code."""
        read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        process.end_with_supervisor()
        with selectors.DefaultSelector() as selector:
            selector.register(read, selectors.EVENT_READ)
            final = None
            while final is None:
                self._start_due()
                selector.select(self._patience())
                signals = _drain(read)
                final = 0 if signals & ENDING else self._reap()
            self._stop(read, selector)
        return final

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self.children:
            if child.process is None and now >= child.start_at:
                environment = {**os.environ, process.SUPERVISED: str(os.getpid()), "PYTHONUNBUFFERED": "1"}
                environment["PYTHONPATH"] = str(Path(__file__).resolve().parent)
                command = [sys.executable, "-m", MODULES[child.name], "--state", str(self.state.resolve())]
                child.process = subprocess.Popen(command, env=environment, start_new_session=True)
                child.started_at = now

    def _patience(self) -> float | None:
        waiting = [child.start_at for child in self.children if child.process is None]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    def _reap(self) -> int | None:
        """Take note of what ended; an exit code when nothing can go on."""
        now = time.monotonic()
        for child in self.children:
            if child.process is None or (code := child.process.poll()) is None:
                continue
            child.process = None
            child.has_run = child.has_run or now - child.started_at >= REFUSAL_SECONDS
            if code in FINAL and (child.name == "edge" or (child.name == "edge-web" and not child.has_run)):
                typer.echo(f"{child.name} cannot run (exit code {code}); see its last line above.", err=True)
                return code
            child.failures = 0 if now - child.started_at >= STEADY_SECONDS else child.failures + 1
            pause = BACKOFF_SECONDS[min(child.failures, len(BACKOFF_SECONDS) - 1)] if child.failures else 0.0
            typer.echo(f"{child.name} ended with {code}; it is started again in {pause:.1f} s.", err=True)
            child.start_at = now + pause
        return None

    def _stop(self, read: int, selector: selectors.BaseSelector) -> None:
        """End the processes one after the other; a second signal, or the end of the grace, ends them at once."""
        forced = False
        for name in ORDER:
            child = next(child for child in self.children if child.name == name)
            if child.process is None:
                continue
            child.process.send_signal(signal.SIGTERM)
            until = time.monotonic() + GRACE_SECONDS
            while child.process.poll() is None and not forced:
                selector.select(max(0.0, until - time.monotonic()))
                forced = bool(_drain(read) & ENDING) or time.monotonic() >= until
            if child.process.poll() is None:
                child.process.kill()
                child.process.wait()


def _drain(read: int) -> set[int]:
    try:
        return set(os.read(read, 4096))
    except BlockingIOError:
        return set()


def main() -> None:
    """Exit codes as the table in docs/operations-dicom.md says."""
    try:
        code = app(prog_name="outpost", standalone_mode=False)
    except _UsageFault as fault:
        fault.show()
        sys.exit(_USAGE)
    except typer.Abort:
        typer.echo("Nothing was done.", err=True)
        sys.exit(1)
    sys.exit(code or 0)


if __name__ == "__main__":
    main()
