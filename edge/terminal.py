"""What the commands have in common: their options, the way to edge's socket, and tables."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from edge import process
from edge.config import Layout, load
from edge.control import asking, lines
from edge.control.lines import Answer, NotRunning, Request
from edge.errors import AlreadyRunning, OutpostError, Permanent, Refused

if TYPE_CHECKING:
    from rich.console import Console

STATE = Annotated[Path, typer.Option("--state", envvar="OUTPOST_STATE", help="The state directory.", show_default=True)]
JSON = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")]
PHI = Annotated[bool, typer.Option("--show-phi", help="Show names and IDs of patients.")]
STUDY = Annotated[str, typer.Argument(metavar="STUDY", help="Study Instance UID.")]
AE_TITLE = Annotated[str, typer.Argument(metavar="AE_TITLE", help="The AE title of the peer.")]
DEFAULT_STATE = Path("/var/lib/outpost")
WIDE = 200
"""Columns where the output is no terminal: nothing is cut off."""


def ask(state: Path, request: Request, descriptor: int | None = None) -> Iterator[Answer]:
    """The answers to a request, beside which a descriptor may go; an error ends the command with its sentence and exit code."""
    try:
        yield from asking.ask(Layout(state).control, request, descriptor)
    except PermissionError as fault:
        typer.echo(f"{Layout(state).control}: this user may not ask. Use sudo.", err=True)
        raise typer.Exit(77) from fault
    except NotRunning as fault:
        if Layout(state).config.exists():
            fail(fault)
        fail(NoSite(f"{state} is no site: there is no outpost.toml in it. `outpost setup` makes one; --state names another directory."))
    except OutpostError as fault:
        fail(fault)


def _check_user(layout: Layout, command: str) -> None:
    """Raises Refused where edge's directory belongs to another user, who has to run the command: it makes files there."""
    owner = layout.edge.stat().st_uid
    if owner != os.geteuid():
        raise Refused(f"{layout.edge} belongs to another user. Use that one: `sudo -u '#{owner}' outpost {command}`.")


def stopped_site(state: Path, command: str) -> Layout:
    """The layout of a site that does not run, and cannot be started until this process ends. `command` is what is being done to it.

    Raises AlreadyRunning while it runs, Refused for another user than edge's, and what `load` raises for its configuration.
    """
    layout = Layout(state)
    load(layout.config)
    _check_user(layout, command)
    try:
        process.lock(layout.edge_lock)
    except AlreadyRunning as fault:
        raise AlreadyRunning(f"Outpost runs on {state}. Stop it first (`systemctl stop outpost.target`, or Ctrl-C).") from fault
    return layout


def fail(fault: OutpostError) -> NoReturn:
    """End the command with the sentence of an error and its exit code."""
    typer.echo(str(fault), err=True)
    raise typer.Exit(fault.exit_code) from fault


class NoSite(Permanent):
    """The directory is no site."""

    exit_code = 78


def json_lines(rows: Sequence[Answer]) -> None:
    for row in rows:
        typer.echo(lines.encode(row))


def console() -> Console:
    """Where tables are printed."""
    from rich.console import Console  # noqa: PLC0415 - rich costs 60 ms at start; only what prints tables pays

    return Console() if os.isatty(1) else Console(width=WIDE)
