"""`outpost link`: how the link is, what may go over it, and its pause."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import typer

from edge import status
from edge.control.lines import Request
from edge.control.link import GetLink, LinkNow, PauseLink, ResumeLink
from edge.errors import Refused
from edge.terminal import DEFAULT_STATE, JSON, STATE, ask, fail, json_lines

link = typer.Typer(invoke_without_command=True, help="How the link is, and what may go over it.")

_FORMS = ("%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M")


@link.callback()
def show(context: typer.Context, state: STATE = DEFAULT_STATE, as_json: JSON = False) -> None:
    """Say how the link is and since when, its speed, what Outpost may take of it, and what went this month."""
    if context.invoked_subcommand is None:
        _say(state, GetLink(), as_json)


@link.command("pause")
def pause(
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help='14:00 (the next time it is), or "2027-01-31 14:00"; none until `outpost link resume`.'),
    ] = None,
    state: STATE = DEFAULT_STATE,
    as_json: JSON = False,
) -> None:
    """Ship nothing, STAT studies neither, so that the line is free. What is under way is ended first; recalls go on."""
    try:
        end = None if until is None else moment(until, datetime.now()).timestamp()  # noqa: DTZ005 - the clock on the wall
    except Refused as fault:
        fail(fault)
    _say(state, PauseLink(until=end), as_json)


@link.command("resume")
def resume(state: STATE = DEFAULT_STATE, as_json: JSON = False) -> None:
    """Ship again."""
    _say(state, ResumeLink(), as_json)


def moment(text: str, now: datetime) -> datetime:
    """The time that a person means, on this machine's clock. Raises Refused for one that has passed, or is none."""
    try:
        hour = datetime.strptime(text, "%H:%M")  # noqa: DTZ007
    except ValueError:
        pass
    else:
        today = now.replace(hour=hour.hour, minute=hour.minute, second=0, microsecond=0)
        return today if today > now else today + timedelta(days=1)
    for form in _FORMS:
        try:
            found = datetime.strptime(text, form)  # noqa: DTZ007
        except ValueError:
            continue
        if found <= now:
            raise Refused(f"{text} has passed. Name a time to come.")
        return found
    raise Refused(f'{text!r} is no time. Write it like 14:00 or "2027-01-31 14:00".')


def _say(state: STATE, request: Request, as_json: bool) -> None:
    for row in ask(state, request):
        assert isinstance(row, LinkNow)
        if as_json:
            json_lines([row])
            continue
        for name, text in _lines(row):
            typer.echo(f"{name:<10} {text}")


def _lines(row: LinkNow) -> list[tuple[str, str]]:
    since = "" if row.since is None else f" (since {status.local(row.since)})"
    lines = [("link", f"{row.sentence or 'not heard of yet'}{since}")]
    if row.hold_sentence:
        lines.append(("shipping", row.hold_sentence))
    if row.goodput_bytes_per_second:
        lines.append(("goodput", f"{status.size(round(row.goodput_bytes_per_second))} a second"))
    if row.round_trip_seconds:
        lines.append(("round trip", f"{row.round_trip_seconds * 1000:.0f} ms"))
    lines.append(("cap", f"{status.size(round(row.cap_bytes_per_second))} a second now" if row.cap_bytes_per_second else "none"))
    if row.month_began_at:
        of = f" of {status.size(row.budget_bytes)}, until {status.local(row.month_ends_at)[:10]}" if row.budget_bytes else ""
        lines.append(("data used", f"{status.size(row.used_bytes)} since {status.local(row.month_began_at)[:10]}{of}"))
    return lines
