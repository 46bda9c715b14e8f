"""The commands about studies: `outpost studies`."""

from __future__ import annotations

import json
import time
from typing import Annotated

import msgspec
import typer

from edge import cache_commands, errand_commands, recall_commands, status
from edge.control.studies import ListStudies, Retried, RetryStudies, Study
from edge.decision_commands import correct, list_corrections
from edge.errors import Unknown
from edge.model import Json
from edge.store.fold import first
from edge.terminal import DEFAULT_STATE, JSON, PHI, STATE, STUDY, ask, console, fail, json_lines

studies = typer.Typer(
    no_args_is_help=False, help="List, show, recall, pin and correct studies; ship again what was stopped.", invoke_without_command=True
)
studies.command("correct")(correct)
studies.command("corrections")(list_corrections)
studies.command("pin")(cache_commands.pin)
studies.command("unpin")(cache_commands.unpin)
studies.command("pins")(cache_commands.list_pins)
studies.command("recall")(recall_commands.recall)
studies.command("send")(errand_commands.send)
studies.command("commit")(errand_commands.commit)


@studies.callback()
def studies_without_verb(context: typer.Context, state: STATE = DEFAULT_STATE, as_json: JSON = False, show_phi: PHI = False) -> None:
    """Without a verb: list them."""
    if context.invoked_subcommand is None:
        list_studies(state, as_json, show_phi)


@studies.command("ls")
def list_studies(state: STATE = DEFAULT_STATE, as_json: JSON = False, show_phi: PHI = False) -> None:
    """List studies, newest first, with how far each is on its way."""
    rows = [row for row in ask(state, ListStudies()) if isinstance(row, Study)]
    if as_json:
        json_lines(rows if show_phi else [_without_phi(row) for row in rows])
        return
    if not rows:
        typer.echo("There is no study here yet.")
        return
    from rich.table import Column, Table  # noqa: PLC0415 - rich costs 60 ms at start; only what prints tables pays

    table = Table(
        Column("Study Instance UID", overflow="fold"),
        "date",
        *(["patient"] if show_phi else []),
        "series",
        "instances",
        "bytes",
        "is",
        "availability",
    )
    for row in rows:
        table.add_row(
            row.study,
            first(row.attributes, "00080020"),
            *([f"{_name(row.patient)} {first(row.patient, '00100020')}"] if show_phi else []),
            str(row.series),
            str(row.instances),
            status.size(row.raw_bytes),
            _state(row),
            row.availability,
        )
    console().print(table)


@studies.command("show")
def show_study(study: STUDY, state: STATE = DEFAULT_STATE, as_json: JSON = False, show_phi: PHI = False) -> None:
    """Show one study: received, coded, in the archive, in the cache."""
    rows = [row for row in ask(state, ListStudies(study=study)) if isinstance(row, Study)]
    if not rows:
        fail(Unknown(f"There is no study {study} here. `outpost studies ls` lists them."))
    row = rows[0] if show_phi else _without_phi(rows[0])
    if as_json:
        json_lines([row])
        return
    packs = status.count(row.packs, "pack", "packs")
    typer.echo(f"study      {row.study}")
    if show_phi:
        typer.echo(f"patient    {_name(row.patient)} {first(row.patient, '00100020')}")
    instances, when = status.count(row.instances, "instance", "instances"), status.ago(row.received_at, time.time())
    typer.echo(f"received   {instances} in {row.series} series, {when}")
    typer.echo(f"coded      {row.coded} of {packs}, {status.size(row.raw_bytes)} -> {status.size(row.coded_bytes)}")
    typer.echo(f"archive    {row.confirmed} of {row.objects} objects proven, {row.held} of {packs} held")
    typer.echo(f"cache      {row.here} of {packs} whole here: {row.availability}")
    for origin in row.origins:
        typer.echo(f"shipped    by site {origin}, which is followed")
    if row.stopped:
        typer.echo(f"stopped    {row.stopped}")
        typer.echo(f"           When that is mended: outpost studies retry {row.study}")


@studies.command("retry")
def retry(
    study: Annotated[str | None, typer.Argument(help="Study Instance UID; none for all")] = None,
    state: STATE = DEFAULT_STATE,
    as_json: JSON = False,
) -> None:
    """Have what waits for a person go on its way to the archive, once the reason that `outpost studies show` gives is mended."""
    packs = [row for row in ask(state, RetryStudies(study=study)) if isinstance(row, Retried)]
    if as_json:
        json_lines(packs)
        return
    typer.echo(f"{status.count(len(packs), 'pack goes', 'packs go')} on; {sum(row.coded_anew for row in packs)} of them coded anew.")


def _without_phi(row: Study) -> Study:
    return msgspec.structs.replace(row, patient={}, attributes={tag: row.attributes[tag] for tag in ("00080020",) if tag in row.attributes})


def _state(row: Study) -> str:
    if row.stopped:
        return "waits for a person"
    return f"shipping {row.confirmed}/{row.objects}" if row.state == "shipping" else row.state


def _name(patient: Json) -> str:
    values = patient.get("00100010", {}).get("Value") or [{}]
    return json.dumps(values[0].get("Alphabetic", ""), ensure_ascii=False).strip('"')
