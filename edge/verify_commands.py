"""`outpost verify`: whether the archive is what it should be."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from edge import status
from edge.clock import utc
from edge.control.lines import Answer
from edge.control.verify import CURE, MENDING, GetVerify, Hurt, StartVerify, Verified
from edge.errors import Corrupt
from edge.terminal import DEFAULT_STATE, JSON, STATE, ask, json_lines


def verify(
    read_data: Annotated[
        float,
        typer.Option("--read-data", min=0, max=100, metavar="PERCENT", help="Read so much of it too, and open it; other parts each time."),
    ] = 0.0,
    last: Annotated[bool, typer.Option("--last", help="Only say how the last one ended, or how far one is.")] = False,
    state: STATE = DEFAULT_STATE,
    as_json: JSON = False,
) -> None:
    """Compare the archive with what it should hold: catalog, parts, sizes. Exit code 65 when something is missing or not what it was.

    Ctrl-C ends the waiting, not the comparison.
    """
    rows: list[Answer] = []
    for row in ask(state, GetVerify() if last else StartVerify(percent=read_data)):
        rows = [*(kept for kept in rows if not isinstance(row, Verified)), row]
        if as_json:
            json_lines([row])
        elif isinstance(row, Verified) and sys.stdout.isatty():
            typer.echo(f"\r\033[K{_progress(row)}", nl=False)
    if not as_json:
        if sys.stdout.isatty():
            typer.echo("\r\033[K", nl=False)
        _say(rows)
    if any(isinstance(row, Hurt) or (isinstance(row, Verified) and (row.faults or row.damaged)) for row in rows):
        raise typer.Exit(Corrupt.exit_code)


def _say(rows: Sequence[Answer]) -> None:
    if not rows:
        typer.echo("The archive was not compared yet.")
    for row in rows:
        if isinstance(row, Verified):
            typer.echo(_summary(row))
            for fault in row.faults:
                typer.echo(f"archive    {fault}")
        elif isinstance(row, Hurt):
            accession = f" (accession number {row.accession})" if row.accession else ""
            typer.echo(f"damaged    study {row.study}{accession}: {row.reason}. {MENDING if row.mending else CURE}")


def _progress(row: Verified) -> str:
    return f"{row.done:.0%}: {_seen(row)}" + (f"; waiting: {row.hindered}" if row.hindered else "")


def _summary(row: Verified) -> str:
    if row.ended_at is None:
        return f"The archive is being compared since {utc(row.began_at)}, {_progress(row)}."
    found = [f"{row.damaged:,} {'pack is' if row.damaged == 1 else 'packs are'} damaged"] if row.damaged else []
    found += ["the catalog or site state is not as it should be"] if row.faults else []
    return f"The archive was compared until {utc(row.ended_at)}: {_seen(row)}; {', and '.join(found) or 'all of it is as it should be'}."


def _seen(row: Verified) -> str:
    read = f", {row.read_objects:,} of them read ({status.size(row.read_bytes)})" if row.read_objects else ""
    return f"{row.objects:,} objects looked for{read}"
