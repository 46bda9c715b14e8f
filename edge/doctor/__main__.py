"""`python -m edge.doctor --state DIR`, started by `outpost doctor` as edge's user: findings, one JSON object a line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from edge.clock import Clock, SystemClock
from edge.config import Config, Layout, load
from edge.control import asking
from edge.control.routes import ListRoutes, RouteRow
from edge.doctor import certificate, confinement, database, disk, encryption, firewall, peers, ports, wall
from edge.errors import OutpostError
from edge.finding import Finding, Said, encode
from edge.store.sql import SQLITE_VERSION


def look(config: Config, layout: Layout, clock: Clock) -> Iterator[Finding]:
    """Each finding as soon as it is made."""
    known = peers.rows(layout.control)
    running = known is not None
    try:
        yield from disk.look(disk.measure(layout.edge, clock, config.cache.reserve_bytes), config.cache)
    except OSError as fault:
        cure = f"Look at the disk (`dmesg`), and whether this user may write in {layout.edge}."
        yield Finding("disk.free", "fault", f"The disk of the state directory cannot be written ({fault.strerror}).", cure)
    yield encryption.look(encryption.devices(layout.state))
    yield database.look(SQLITE_VERSION)
    yield wall.look(config.wall, layout)
    yield from confinement.look(confinement.running(layout.state))
    yield from ports.look(ports.measure(config, running), running)
    yield from certificate.look(config.dicom, clock.now())
    if known is None:
        cure = "`systemctl start outpost.target` (or `outpost run`) starts it; then run `outpost doctor` again."
        yield Finding("peers", "warning", "Outpost does not run: nothing is received, and no peer was called.", cure)
    else:
        yield from peers.look(layout.control, known)


def through_firewall(config: Config, layout: Layout) -> Iterator[Said]:
    """What has to be let through."""
    known = peers.rows(layout.control)
    routes = [] if known is None else [row for row in asking.ask(layout.control, ListRoutes()) if isinstance(row, RouteRow)]
    yield from firewall.openings(config, known or (), routes)
    if known is None:
        yield Finding("peers", "warning", "Outpost does not run: its peers and routes are not in this list.", "Start it, and ask again.")


def main() -> int:
    """The exit code is that of the error that kept it from looking; findings have none."""
    parser = argparse.ArgumentParser(prog="python -m edge.doctor")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--firewall", action="store_true")
    arguments = parser.parse_args()
    layout = Layout(arguments.state)
    try:
        config = load(layout.config)
        for said in through_firewall(config, layout) if arguments.firewall else look(config, layout, SystemClock()):
            sys.stdout.write(encode(said).decode() + "\n")
            sys.stdout.flush()
    except PermissionError:
        sys.stderr.write(f"{layout.control}: this user may not ask. Use sudo.\n")
        return 77
    except OutpostError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
