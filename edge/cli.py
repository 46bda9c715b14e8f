"""The commands that speak to edge over its Unix socket."""

from __future__ import annotations

import json
import os
import time
from typing import Annotated

import msgspec
import typer

from edge import errand_commands, status
from edge.audit_commands import audit
from edge.choice_commands import conflicts, quarantine
from edge.control import lines
from edge.control.cache import Evict, Evicted
from edge.control.status import GetStatus, Status
from edge.control.studies import ListStudies, Recalled, RecallStudy, Study
from edge.decision_commands import correct, list_corrections
from edge.model import Json
from edge.peer_commands import peers
from edge.route_commands import routes
from edge.store.fold import first
from edge.terminal import DEFAULT_STATE, JSON, PHI, STATE, ask, console, json_lines

__all__ = ["DEFAULT_STATE", "STATE", "app"]

app = typer.Typer(no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False)
studies = typer.Typer(no_args_is_help=False, help="List, show and recall studies.", invoke_without_command=True)
studies.command("correct")(correct)
studies.command("corrections")(list_corrections)
app.add_typer(studies, name="studies")
app.add_typer(peers, name="peers")
app.add_typer(routes, name="routes")
app.add_typer(audit, name="audit")
app.add_typer(conflicts, name="conflicts")
app.add_typer(quarantine, name="quarantine")
peers.command("echo")(errand_commands.echo)
studies.command("send")(errand_commands.send)
studies.command("commit")(errand_commands.commit)
app.command("query")(errand_commands.query)
app.command("retrieve")(errand_commands.retrieve)


@app.command("status")
def show_status(state: STATE = DEFAULT_STATE, as_json: JSON = False, watch: Annotated[bool, typer.Option("--watch")] = False) -> None:
    """Say whether everything is safe off-site, and if not, when. Exit code 0 green, 1 amber, 2 red."""
    while True:
        (found,) = ask(state, GetStatus())
        assert isinstance(found, Status)
        if as_json:
            typer.echo(lines.encode(found))
        else:
            _print_status(found)
        if not watch:
            raise typer.Exit({"green": 0, "amber": 1}.get(found.lamp, 2))
        time.sleep(2)
        typer.echo("\033[2J\033[H", nl=False)


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
def show_study(study: str, state: STATE = DEFAULT_STATE, as_json: JSON = False, show_phi: PHI = False) -> None:
    """Show one study: received, coded, in the archive, in the cache."""
    rows = [row for row in ask(state, ListStudies(study=study)) if isinstance(row, Study)]
    if not rows:
        typer.echo(f"There is no study {study} here.", err=True)
        raise typer.Exit(1)
    row = rows[0] if show_phi else _without_phi(rows[0])
    if as_json:
        json_lines([row])
        return
    typer.echo(f"study      {row.study}")
    if show_phi:
        typer.echo(f"patient    {_name(row.patient)} {first(row.patient, '00100020')}")
    typer.echo(f"received   {row.instances} instances in {row.series} series, {status.ago(row.received_at, time.time())}")
    typer.echo(f"coded      {row.coded} of {row.packs} packs, {status.size(row.raw_bytes)} -> {status.size(row.coded_bytes)}")
    typer.echo(f"archive    {row.confirmed} of {row.objects} objects proven, {row.held} of {row.packs} packs held")
    typer.echo(f"cache      {row.here} of {row.packs} packs whole here: {row.availability}")
    if row.stopped:
        typer.echo(f"stopped    {row.stopped}")


@studies.command("recall")
def recall(
    study: str,
    series: Annotated[str | None, typer.Option(help="Series Instance UID")] = None,
    instance: Annotated[str | None, typer.Option(help="SOP Instance UID; needs --series")] = None,
    state: STATE = DEFAULT_STATE,
    as_json: JSON = False,
) -> None:
    """Bring a study, or a part of it, from the archive into the cache; returns when it is here."""
    for answer in ask(state, RecallStudy(study=study, series=series, instance=instance)):
        assert isinstance(answer, Recalled)
        if as_json:
            json_lines([answer])
        else:
            typer.echo(f"\r{answer.here} of {answer.total} instances are here", nl=answer.here == answer.total)


@app.command()
def evict(
    study: Annotated[str | None, typer.Argument(help="Study Instance UID; none for all")] = None,
    state: STATE = DEFAULT_STATE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: JSON = False,
) -> None:
    """Take held studies out of the cache. What the archive does not provably have stays."""
    packs = [row for row in ask(state, Evict(study=study, dry_run=dry_run)) if isinstance(row, Evicted)]
    if as_json:
        json_lines(packs)
        return
    verb = "would leave" if dry_run else "left"
    typer.echo(f"{len(packs)} packs, {status.size(sum(row.bytes for row in packs))}, {verb} the cache.")


def _print_status(found: Status) -> None:
    mark = {"green": typer.colors.GREEN, "amber": typer.colors.YELLOW, "red": typer.colors.RED}[found.lamp]
    typer.secho(found.sentence, fg=mark if os.isatty(1) else None)
    typer.echo(f"{found.site} ({found.ae_title}): {found.studies} studies, {found.instances} instances, {found.receiving} being received")
    typer.echo(f"link       {found.link_sentence or 'not heard of yet'}")
    if found.catalog_sequence:
        typer.echo(f"archive    catalog number {found.catalog_sequence}")
    cache, cap, free = (status.size(count) for count in (found.cache_bytes, found.cache_max_bytes, found.free_bytes))
    typer.echo(f"cache      {cache} of {cap}, {free} free on the disk")
    if found.quarantined:
        typer.echo(f"quarantine {found.quarantined} datasets were set aside")
    if found.conflicts:
        typer.echo(f"conflicts  {found.conflicts} studies: see `outpost conflicts ls`")
    if found.shared_ids:
        typer.echo(f"patients   {found.shared_ids} Patient IDs belong to more than one person: see `outpost conflicts ls`")
    for notice in found.notices:
        typer.echo(f"waits      {notice}")
    for refusal in found.refusals:
        typer.echo(f"refused    {refusal}")


def _without_phi(row: Study) -> Study:
    return msgspec.structs.replace(row, patient={}, attributes={tag: row.attributes[tag] for tag in ("00080020",) if tag in row.attributes})


def _state(row: Study) -> str:
    if row.stopped:
        return "waits for a person"
    return f"shipping {row.confirmed}/{row.objects}" if row.state == "shipping" else row.state


def _name(patient: Json) -> str:
    values = patient.get("00100010", {}).get("Value") or [{}]
    return json.dumps(values[0].get("Alphabetic", ""), ensure_ascii=False).strip('"')
