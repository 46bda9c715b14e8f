"""`outpost studies recall`: one study, or all that lie in the archive alone, the newest first."""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from edge import status
from edge.config import Layout
from edge.control import asking
from edge.control.studies import Away, ListAway, Recalled, RecallStudy
from edge.errors import OutpostError, Refused
from edge.terminal import DEFAULT_STATE, JSON, STATE, ask, fail, json_lines


def recall(
    study: Annotated[str | None, typer.Argument(metavar="STUDY", help="Study Instance UID; none with --all.")] = None,
    series: Annotated[str | None, typer.Option(help="Series Instance UID")] = None,
    instance: Annotated[str | None, typer.Option(help="SOP Instance UID; needs --series")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every study that is not here, the newest first, as far as the cache has room.")
    ] = False,
    modality: Annotated[str, typer.Option(help="With --all: only studies with series of this modality, such as MG.")] = "",
    since: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="With --all: only studies that were received since.")] = None,
    state: STATE = DEFAULT_STATE,
    as_json: JSON = False,
) -> None:
    """Bring a study, or a part of it, from the archive into the cache; returns when it is here. With --all, all of them: broken off, it
    goes on with what is missing when it is called again.
    """
    if everything == (study is not None) or (everything and (series or instance)) or (not everything and (modality or since)):
        raise typer.BadParameter("Name one study, or --all with --modality and --since.")
    if study is not None:
        _one(state, RecallStudy(study=study, series=series, instance=instance), as_json)
        return
    try:
        stamp = datetime.strptime(since, "%Y-%m-%d").timestamp() if since else 0.0  # noqa: DTZ007 - the day on the clinic's calendar
    except ValueError:
        raise typer.BadParameter("--since is a date such as 2026-01-31.") from None
    _all(state, ListAway(modality=modality, since=stamp), as_json)


def _one(state: Path, request: RecallStudy, as_json: bool) -> None:
    told = None
    for answer in ask(state, request):
        assert isinstance(answer, Recalled)
        if as_json:
            json_lines([answer])
        elif sys.stderr.isatty():
            typer.echo(f"\r{answer.here} of {answer.total} instances are here", nl=answer.here == answer.total, err=True)
        elif answer != told:
            typer.echo(f"{answer.here} of {answer.total} instances are here")
        told = answer


def _all(state: Path, request: ListAway, as_json: bool) -> None:
    """Studies that the archive refuses to give are named, and the others come. Exit code 65 when there was such a one."""
    came, came_bytes, refused = 0, 0, set[str]()
    while True:
        away = [row for row in ask(state, request) if isinstance(row, Away) and row.study not in refused]
        due = [row for row in away if row.fits]
        for number, row in enumerate(due, 1):
            try:
                for _ in asking.ask(Layout(state).control, RecallStudy(study=row.study)):
                    pass
            except Refused as fault:
                refused.add(row.study)
                typer.echo(f"{row.study}: {fault}", err=True)
                continue
            except OutpostError as fault:
                with suppress(BrokenPipeError):
                    typer.echo(f"{_came(came, came_bytes)} so far. Call it again to go on.", err=True)
                fail(fault)
            came, came_bytes = came + 1, came_bytes + row.bytes
            if as_json:
                json_lines([row])
            else:
                typer.echo(f"{row.study} is here ({status.size(row.bytes)}); {number} of {len(due)}")
        if not due:
            break
    if not as_json:
        rest = f" {status.count(len(away), 'study stays', 'studies stay')} in the archive alone: the cache has no room for more." * bool(
            away
        )
        typer.echo(f"{_came(came, came_bytes)}.{rest}")
    if refused:
        raise typer.Exit(65)


def _came(studies: int, size: int) -> str:
    return f"{status.count(studies, 'study', 'studies')} came from the archive ({status.size(size)})"
