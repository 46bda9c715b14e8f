"""The commands about the audit trail. They read its files, so that they work when Outpost does not run."""

from __future__ import annotations

import socket
from collections import deque
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from edge import trail
from edge.auditmessage import Source, message
from edge.config import Layout, load
from edge.errors import Corrupt
from edge.model import parse_digest
from edge.terminal import DEFAULT_STATE, JSON, STATE

audit = typer.Typer(no_args_is_help=True, help="Who was refused, who asked, who got what, who changed the peer table.")


@audit.command("verify")
def verify(
    number: Annotated[int | None, typer.Option(help="A line whose digest was noted earlier; needs --digest.")] = None,
    digest: Annotated[str | None, typer.Option(help="The SHA-256 that was noted of it.")] = None,
    state: STATE = DEFAULT_STATE,
) -> None:
    """Check that no line was changed, taken out or put in. Exit code 65 where the chain breaks."""
    if (number is None) != (digest is None) or (digest is not None and parse_digest(digest) is None):
        raise typer.BadParameter("--number and --digest (64 lower-case hexadecimal digits) go together.")
    directory = _directory(state)
    try:
        proof = trail.verify(directory)
        if number is not None and digest not in {found for line, found in trail.read(directory) if line.number == number}:
            raise Corrupt(f"Line {number} is not there with that digest: the trail was cut off or written anew since it was noted.")
    except Corrupt as fault:
        typer.echo(str(fault), err=True)
        raise typer.Exit(fault.exit_code) from fault
    if proof is None:
        typer.echo("Nothing was written yet.")
        return
    typer.echo(f"Lines {proof.first} to {proof.last} are unbroken.")
    typer.echo("What was cut off at the end is found only with what was noted elsewhere before. Note this:")
    typer.echo(f"--number {proof.last} --digest {proof.digest}")


@audit.command("show")
def show(
    last: Annotated[int, typer.Option(help="How many of the last lines.")] = 20,
    state: STATE = DEFAULT_STATE,
    as_json: JSON = False,
) -> None:
    """Show the last lines of the trail."""
    try:
        lines = deque((line for line, _ in trail.read(_directory(state))), last)
    except Corrupt as fault:
        typer.echo(str(fault), err=True)
        raise typer.Exit(fault.exit_code) from fault
    for line in lines:
        if as_json:
            typer.echo(msgspec.json.encode(line))
            continue
        told = msgspec.to_builtins(line.event)
        kind = told.pop("kind")
        times = f" {line.times} times" if line.times > 1 else ""
        says = "  ".join(f"{name} {_text(value)}" for name, value in told.items() if value not in ("", [], None))
        typer.echo(f"{line.number:>6}  {line.at}  {kind}{times}  {says}")


@audit.command("export")
def export(
    after: Annotated[int, typer.Option(min=0, help="Only lines behind this number.")] = 0,
    state: STATE = DEFAULT_STATE,
) -> None:
    """Print the trail as DICOM Audit Messages (PS3.15 section A.5), one on each line. `[audit] collector_host` sends them by itself."""
    directory = _directory(state)
    site = load(Layout(state).config).site
    source = Source(site.ae_title, site.name, socket.gethostname())
    try:
        for line, _ in trail.read(directory):
            if line.number > after:
                typer.echo(message(line, source))
    except Corrupt as fault:
        typer.echo(str(fault), err=True)
        raise typer.Exit(fault.exit_code) from fault


def _directory(state: Path) -> Path:
    directory = Layout(state).audit
    try:
        directory.stat()
        next(directory.iterdir(), None)
    except FileNotFoundError as fault:
        typer.echo(f"{directory}: there is no audit trail. `outpost run` begins one.", err=True)
        raise typer.Exit(66) from fault
    except PermissionError as fault:
        typer.echo(f"{directory}: this user may not read it. Use sudo.", err=True)
        raise typer.Exit(77) from fault
    return directory


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
