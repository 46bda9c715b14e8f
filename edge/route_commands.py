"""The commands about routes: where what arrives is sent on to."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from edge import status
from edge.control.routes import ListRoutes, PutRoute, RemoveRoute, RetryRoute, RouteRow
from edge.terminal import DEFAULT_STATE, JSON, STATE, ask, json_lines

routes = typer.Typer(no_args_is_help=True, help="Where what arrives is sent on to.")


@routes.command("ls")
def list_routes(state: STATE = DEFAULT_STATE, as_json: JSON = False) -> None:
    """List routes: what they send, where, and how that goes."""
    rows = [row for row in ask(state, ListRoutes()) if isinstance(row, RouteRow)]
    if as_json:
        json_lines(rows)
        return
    now = time.time()
    for row in rows:
        typer.echo(f"{row.name:16}  to {row.peer or row.url}  {_conditions(row)}")
        last = f", the last one {status.ago(row.sent_at, now)}" if row.sent_at else ""
        waits = f", the oldest since {status.ago(row.owed_since, now)}" if row.owed else ""
        typer.echo(f"{'':16}  {row.sent} instances sent{last}; {row.owed} wait{waits}")
        if row.failures:
            again = status.duration(max(0.0, row.next_at - now))
            typer.echo(f"{'':16}  failed {row.failures} times in a row, again in {again}: {row.fault}")
        if row.refused:
            typer.echo(f"{'':16}  {row.refused} of those that wait were not taken: {row.refusal}")


@routes.command("add")
def add_route(
    name: str,
    to: Annotated[str, typer.Option(help="AE title of a peer that has a host.")] = "",
    stow: Annotated[str, typer.Option(help="Address of a STOW-RS service on the LAN, without the /studies.")] = "",
    token_file: Annotated[str, typer.Option(help="A file, readable by edge, with a bearer token for it.")] = "",
    from_ae: Annotated[str, typer.Option("--from", help="Only what this AE title sent.")] = "",
    urgency: Annotated[str, typer.Option("--class", help="Only stat (what called OUTPOST_STAT), routine or background.")] = "",
    modality: Annotated[str, typer.Option(help="Only these modalities, comma-separated.")] = "",
    description: Annotated[str, typer.Option(help="Only where the description of study or series is like this; * and ? match.")] = "",
    between: Annotated[str, typer.Option(help="Only what arrives at this time of day: 18:00-07:00.")] = "",
    state: STATE = DEFAULT_STATE,
) -> None:
    """Send on what arrives from now on. The same name again changes the route."""
    begins, _, ends = between.partition("-")
    request = PutRoute(
        name=name,
        peer=to,
        url=stow,
        token_file=token_file,
        from_ae=from_ae,
        urgency=urgency,
        modalities=[part.strip().upper() for part in modality.split(",") if part.strip()],
        description=description,
        begins=begins.strip(),
        ends=ends.strip(),
    )
    list(ask(state, request))
    typer.echo(f"What arrives from now on goes to {to or stow} too.")


@routes.command("rm")
def remove_route(name: str, state: STATE = DEFAULT_STATE) -> None:
    """Send nothing that way any more; what still waits is forgotten."""
    list(ask(state, RemoveRoute(name=name)))
    typer.echo(f"Route {name} is gone.")


@routes.command("retry")
def retry_route(name: str, state: STATE = DEFAULT_STATE) -> None:
    """Try at once what waits."""
    list(ask(state, RetryRoute(name=name)))
    typer.echo(f"Route {name} tries again.")


def _conditions(row: RouteRow) -> str:
    said = [
        f"from {row.from_ae}" if row.from_ae else "",
        row.urgency,
        ", ".join(row.modalities),
        f"description like {row.description}" if row.description else "",
        f"between {row.begins} and {row.ends}" if row.begins else "",
    ]
    return "; ".join(one for one in said if one) or "everything"
