"""How far the running processes are shut in: what their units promise, as the kernel says that it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.finding import Finding

MODULES = {"edge": "edge.service", "edge.web": "edge-web.service", "cloudsync": "cloudsync.service"}
_FILTERED = 2
"""Of Seccomp in /proc/PID/status: a filter is in force."""
_CURE = "Let systemd start Outpost with the units of its directory `systemd` (README, A real site), and remove drop-ins that open them."


@dataclass(frozen=True, slots=True)
class Running:
    """A process of this site, as /proc/PID/status describes it."""

    module: str
    user: int
    """The effective user id."""
    no_new_privileges: bool
    filtered: bool
    """Whether system calls are filtered."""
    capabilities: int
    """The bounding set: what it could ever have."""


def running(state: Path, proc: Path = Path("/proc")) -> list[Running]:
    """The processes that were started on this state directory. One that ends meanwhile is left out."""
    found = []
    for directory in proc.glob("[0-9]*"):
        try:
            words = (directory / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            # Python itself, and not what stands before it on a command line (sudo, strace).
            if words[1:2] == ["-m"] and words[2] in MODULES and words[3] == "--state" and Path(words[4]).resolve() == state:
                found.append(parse(words[2], (directory / "status").read_text()))
        except (OSError, IndexError):
            continue
    return sorted(found, key=lambda one: list(MODULES).index(one.module))


def parse(module: str, text: str) -> Running:
    """From the text of /proc/PID/status."""
    said = dict(re.findall(r"^(\w+):\s*(.*)$", text, re.MULTILINE))
    return Running(
        module,
        int(said["Uid"].split()[1]),
        said.get("NoNewPrivs") == "1",
        int(said.get("Seccomp", "0")) == _FILTERED,
        int(said["CapBnd"], 16),
    )


def look(processes: list[Running]) -> Iterator[Finding]:
    """What follows from them."""
    for one in processes:
        check = f"unit.{MODULES[one.module].removesuffix('.service')}"
        open_ways = [
            said
            for is_open, said in (
                (one.user == 0, "runs as root"),
                (not one.no_new_privileges, "may gain privileges"),
                (not one.filtered, "may make every system call"),
                (one.capabilities != 0, "may have capabilities"),
            )
            if is_open
        ]
        if open_ways:
            yield Finding(check, "warning", f"The process {one.module} is not shut in as its unit says: it {', '.join(open_ways)}.", _CURE)
        else:
            yield Finding(check, "good", f"The process {one.module} is shut in as its unit says.")
    for module in MODULES.keys() - {one.module for one in processes} if processes else ():
        unit = MODULES[module]
        sentence = f"The process {module} does not run."
        yield Finding(
            f"unit.{unit.removesuffix('.service')}", "fault", sentence, f"`journalctl -u {unit}` says why; `systemctl restart {unit}`."
        )
