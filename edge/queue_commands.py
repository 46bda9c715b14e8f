"""`outpost queue`: what is on its way to the archive, why it waits, and what a person decides about what cannot go."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from edge import status
from edge.control.queue import Dropped, DropStudy, ListQueue, Queued
from edge.study_commands import retry
from edge.terminal import DEFAULT_STATE, JSON, STATE, STUDY, ask, console, json_lines

queue = typer.Typer(invoke_without_command=True, help="What is on its way to the archive, and what keeps it.")
queue.command("retry")(retry)


@queue.callback()
def show(context: typer.Context, state: STATE = DEFAULT_STATE, as_json: JSON = False) -> None:
    """List the studies that are not yet in the archive, STAT first: how far each is, and why it waits."""
    if context.invoked_subcommand is not None:
        return
    rows = [row for row in ask(state, ListQueue()) if isinstance(row, Queued)]
    if as_json:
        json_lines(rows)
        return
    if not rows:
        typer.echo("Everything that was received is in the archive.")
        return
    from rich.table import Column, Table  # noqa: PLC0415 - rich costs 60 ms at start; only what prints tables pays

    table = Table(Column("Study Instance UID", overflow="fold"), "urgency", "waits", "bytes", "is", Column("why", overflow="fold"))
    now = time.time()
    for row in rows:
        waits = status.duration(max(0.0, now - row.received_at))
        table.add_row(row.study, row.urgency, waits, status.size(row.bytes), _state(row), row.why)
    console().print(table)
    if any(row.state == "stopped" for row in rows):
        typer.echo(
            "When what stopped a study is mended: outpost queue retry STUDY. If it is never to go: outpost queue drop STUDY --reason WHY."
        )


@queue.command("drop")
def drop(
    study: STUDY,
    reason: Annotated[str, typer.Option(help="Why it is not to be archived; goes into the audit trail. No patient data.")],
    state: STATE = DEFAULT_STATE,
    as_json: JSON = False,
) -> None:
    """Say that what stopped of a study is not to be archived: it stays in the cache, and nowhere else. `retry` takes that back."""
    for row in ask(state, DropStudy(study=study, reason=reason)):
        assert isinstance(row, Dropped)
        if as_json:
            json_lines([row])
        else:
            packs = status.count(row.packs, "pack of it stays", "packs of it stay")
            typer.echo(f"{packs} in the cache, and nowhere else. It may be shipped after all: outpost queue retry {row.study}")


def _state(row: Queued) -> str:
    return f"shipping {row.confirmed}/{row.objects}" if row.state == "shipping" else row.state
