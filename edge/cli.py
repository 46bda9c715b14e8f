"""The commands that speak to edge over its Unix socket."""

from __future__ import annotations

import os
import sys
import time
from typing import Annotated

import typer

from edge import cache_commands, errand_commands, status
from edge.audit_commands import audit
from edge.catalogue_commands import catalogue
from edge.choice_commands import conflicts, quarantine
from edge.control import lines
from edge.control.status import GetStatus, Status
from edge.link_commands import link
from edge.peer_commands import peers
from edge.queue_commands import queue
from edge.route_commands import routes
from edge.site_commands import site
from edge.study_commands import studies
from edge.terminal import DEFAULT_STATE, JSON, STATE, ask, fail
from edge.verify_commands import verify

__all__ = ["DEFAULT_STATE", "JSON", "STATE", "app", "fail"]

WATCH = Annotated[bool, typer.Option("--watch", help="Say it again every 2 seconds, until Ctrl-C.")]

app = typer.Typer(no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False)
app.add_typer(studies, name="studies")
app.add_typer(peers, name="peers")
app.add_typer(routes, name="routes")
app.add_typer(audit, name="audit")
app.add_typer(conflicts, name="conflicts")
app.add_typer(quarantine, name="quarantine")
app.add_typer(catalogue, name="catalogue")
app.add_typer(site, name="site")
app.add_typer(link, name="link")
app.add_typer(queue, name="queue")
peers.command("echo")(errand_commands.echo)
app.command("evict")(cache_commands.evict)
app.command("scrub")(cache_commands.scrub)
app.command("verify")(verify)
app.command("capacity")(cache_commands.capacity)
app.command("query")(errand_commands.query)
app.command("retrieve")(errand_commands.retrieve)


@app.command("status")
def show_status(state: STATE = DEFAULT_STATE, as_json: JSON = False, watch: WATCH = False) -> None:
    """Say whether everything is safe off-site, and if not, when. Exit code 0 green, 1 amber, 2 red; others as for every command."""
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
        if sys.stdout.isatty():
            typer.echo("\033[2J\033[H", nl=False)


def _print_status(found: Status) -> None:
    mark = {"green": typer.colors.GREEN, "amber": typer.colors.YELLOW, "red": typer.colors.RED}[found.lamp]
    typer.secho(found.sentence, fg=mark if os.isatty(1) else None)
    typer.echo(f"{found.site} ({found.ae_title}): {found.studies} studies, {found.instances} instances, {found.receiving} being received")
    typer.echo(f"link       {found.link_sentence or 'not heard of yet'}")
    if found.catalog_sequence:
        typer.echo(f"archive    catalog number {found.catalog_sequence}")
    rehearsed = "never: see `outpost drill --help`" if found.drilled_at is None else status.ago(found.drilled_at, time.time())
    typer.echo(f"restore    rehearsed {rehearsed}")
    cache, cap, free = (status.size(count) for count in (found.cache_bytes, found.cache_max_bytes, found.free_bytes))
    typer.echo(f"cache      {cache} of {cap}, {free} free on the disk")
    if found.quarantined:
        typer.echo(f"quarantine {found.quarantined} datasets were set aside")
    if found.conflicts:
        typer.echo(f"conflicts  {found.conflicts} studies: see `outpost conflicts ls`")
    if found.shared_ids:
        typer.echo(f"patients   {found.shared_ids} Patient IDs belong to more than one person: see `outpost conflicts ls`")
    for alarm in found.alarms:
        typer.secho(f"alarm      {alarm}", fg=typer.colors.RED if os.isatty(1) else None)
    for notice in found.notices:
        typer.echo(f"waits      {notice}")
    for refusal in found.refusals:
        typer.echo(f"refused    {refusal}")
