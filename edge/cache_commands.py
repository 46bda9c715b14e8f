"""The commands about the cache: what leaves it, what stays, whether it is as it was received, and how long the disks last."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated

import typer

from edge import status
from edge.clock import utc
from edge.control.cache import Evict, Evicted, ListPins, Pinned, PinStudy, Stays, UnpinStudy
from edge.control.capacity import GetCapacity, Growing, Outlook
from edge.control.scrub import GetScrub, Rot, Scrubbing, StartScrub
from edge.terminal import DEFAULT_STATE, JSON, STATE, STUDY, ask, json_lines


def evict(
    study: Annotated[str | None, typer.Argument(help="Study Instance UID; none for all")] = None,
    state: STATE = DEFAULT_STATE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: JSON = False,
) -> None:
    """Take held studies out of the cache, whatever their age. What is pinned, and what the archive does not provably have, stays."""
    rows = list(ask(state, Evict(study=study, dry_run=dry_run)))
    if as_json:
        json_lines(rows)
        return
    packs = [row for row in rows if isinstance(row, Evicted)]
    verb = "would leave" if dry_run else "left"
    typer.echo(f"{_count(len(packs), 'pack', 'packs')}, {status.size(sum(row.bytes for row in packs))}, {verb} the cache.")
    for row in rows:
        if isinstance(row, Stays):
            typer.echo(f"{_count(row.studies, 'study is', 'studies are')} {row.reason}.")


def pin(
    study: STUDY,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="The last day, as 2027-01-31; none for good.")
    ] = None,
    state: STATE = DEFAULT_STATE,
    as_json: JSON = False,
) -> None:
    """Keep a study in the cache, however full it is."""
    end = None if until is None else (until + timedelta(days=1)).astimezone().timestamp()
    for row in ask(state, PinStudy(study=study, until=end)):
        assert isinstance(row, Pinned)
        if as_json:
            json_lines([row])
            continue
        typer.echo(f"Study {row.study} stays in the cache {_until(row)}.")
        if row.here < row.packs:
            typer.echo(f"Not all of it is there: `outpost studies recall {row.study}` brings it.")


def unpin(study: STUDY, state: STATE = DEFAULT_STATE) -> None:
    """A study may leave the cache again."""
    list(ask(state, UnpinStudy(study=study)))
    typer.echo(f"Study {study} leaves the cache when it is its turn.")


def list_pins(state: STATE = DEFAULT_STATE, as_json: JSON = False) -> None:
    """List the studies that are pinned, the newest decision first."""
    for row in ask(state, ListPins()):
        assert isinstance(row, Pinned)
        if as_json:
            json_lines([row])
        else:
            typer.echo(f"{row.study}  since {utc(row.pinned_at)}  {_until(row)}  {row.here} of {row.packs} packs are here")


def scrub(
    now: Annotated[bool, typer.Option("--now", help="Begin one now, from the start.")] = False,
    state: STATE = DEFAULT_STATE,
    as_json: JSON = False,
) -> None:
    """Say how the re-reading of the cache goes, and what is rotten. Exit code 2 when something rotted that the archive does not have."""
    rows = list(ask(state, StartScrub() if now else GetScrub()))
    if as_json:
        json_lines(rows)
    else:
        for row in rows:
            if isinstance(row, Scrubbing):
                typer.echo(_scrubbing(row))
            elif isinstance(row, Rot):
                what = _count(row.instances, "instance", "instances") if row.instances else "what lies around the instances"
                where = "in the archive, and on the way back" if row.held else "not in the archive: have it sent again"
                typer.echo(f"rotten     study {row.study}: {what}, found {utc(row.found_at)}; {where}")
    if any(isinstance(row, Rot) and not row.held for row in rows):
        raise typer.Exit(2)


def capacity(state: STATE = DEFAULT_STATE, as_json: JSON = False) -> None:
    """Say how long the disks last if every day is as those of the last week."""
    rows = list(ask(state, GetCapacity()))
    if as_json:
        json_lines(rows)
        return
    for row in rows:
        if isinstance(row, Outlook):
            for line in _outlook(row):
                typer.echo(line)
        elif isinstance(row, Growing):
            rate, year = status.size(int(row.bytes_per_day)), status.size(int(row.sealed_bytes_per_year))
            share = f"{row.ratio:.0%} of what is received, {row.basis}"
            typer.echo(f"growth     {row.modality:4}  {rate} a day are received; the archive grows by {year} a year ({share})")


def _outlook(row: Outlook) -> Iterator[str]:
    if not row.measured_days:
        yield "Nothing arrived within the last week: there is no rate yet to plan by. Ask again after some days of work."
    else:
        yield f"measured   over {row.measured_days:.1f} days"
    size = status.size(row.cache_bytes)
    if row.cache_days is not None:
        yield f"cache      holds the last {_days(row.cache_days)}, up to {size}; older studies come from the archive"
    else:
        yield f"cache      grows up to {size}"
    yield f"state disk {status.size(row.state_free_bytes)} free; {_full(row.state_full_days)}"
    if row.backlog_bytes_per_day:
        yield f"link       falls behind by {status.size(int(row.backlog_bytes_per_day))} a day: what is not in the archive fills the disk"
    if row.archive_free_bytes is not None:
        yield f"archive    {status.size(row.archive_free_bytes)} free; {_full(row.archive_full_days)}"


def _full(days: float | None) -> str:
    return "at this rate not full within ten years" if days is None else f"at this rate full in {_days(days)}"


def _days(days: float) -> str:
    return f"{days:.0f} days" if days >= 2 else f"{days * 24:.0f} hours"


def _scrubbing(row: Scrubbing) -> str:
    if row.began_at is None:
        return "The cache has not been re-read yet."
    seen = f"{_count(row.packs, 'pack', 'packs')}, {status.size(row.bytes)}"
    rot = f"{_count(row.rotten, 'instance', 'instances')} rotten, {row.repaired:,} repaired"
    if not row.under_way:
        return f"The cache was re-read until {utc(row.ended_at or 0)}: {seen}; {rot}. The next time begins {utc(row.next_at or 0)}."
    before = f"the time before ended {utc(row.last_ended_at)}" if row.last_ended_at else "it is the first time"
    return f"The cache is being re-read since {utc(row.began_at)}: {seen} of {status.size(row.of_bytes)}; {rot}; {before}."


def _until(row: Pinned) -> str:
    return "until it is unpinned" if row.until is None else f"until {utc(row.until)}"


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
