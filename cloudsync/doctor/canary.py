"""The canary: one object of a fixed name and content, by which the archive shows what our credential may do there, and may not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from typing import Protocol

from cloudsync.archive.attempt import Attempt, Destructible, Harm
from cloudsync.archive.port import Archive, CredentialRefused, Occupied, md5_of
from cloudsync.doctor import cures
from edge.errors import OutpostError
from edge.finding import Finding

CONTENT = b"The canary of Outpost: `outpost doctor` tries to overwrite and to delete this object. Nothing is lost with it.\n"
_SECONDS = 60.0
_HARMS: tuple[Harm, ...] = ("overwrite", "delete")
_UNTRIED = "Whether the archive lets us overwrite and delete was not tried, because it cannot be written and read."


class Probed(Archive, Destructible, Protocol):
    """An archive whose adapter can also be told to try what the port cannot."""


def name(site: str) -> str:
    """Where the canary of a site lies."""
    return f"{site}/canary"


async def look(archive: Probed, site: str, kind: str) -> list[Finding]:
    """Write, read and list the canary; only then try to overwrite and delete it: a credential that is refused everything would seem
    harmless. `kind` is that of the settings. Nothing is tried twice, and nothing else of the archive is touched.
    """
    place = name(site)
    findings = [
        await _works(kind, "write", archive.put(place, CONTENT, md5_of(CONTENT))),
        await _works(kind, "read", _read(archive, place)),
        await _works(kind, "list", _list(archive, place)),
    ]
    if any(finding.level == "fault" for finding in findings[:2]):
        return [*findings, Finding("archive.overwrite", "unknown", _UNTRIED), Finding("archive.delete", "unknown", _UNTRIED)]
    tried: list[Attempt] = []
    try:
        async with asyncio.timeout(_SECONDS):
            async for attempt in archive.attempts(place, CONTENT):
                tried.append(attempt)  # noqa: PERF401 - what came before a fault stays
    except (OutpostError, TimeoutError) as fault:
        return [*findings, *_broken_off(tried, kind, _said(fault) or "it did not answer in time")]
    return [*findings, *harmless(tried, kind)]


def _broken_off(tried: Sequence[Attempt], kind: str, said: str) -> Iterator[Finding]:
    """What is proven of the harm that was done before the attempts ended early; the rest is not known."""
    done = {f"archive.{attempt.harm}" for attempt in tried if attempt.outcome in {"done", "kept"}}
    for finding in harmless(tried, kind):
        if finding.check in done:
            yield finding
        else:
            yield Finding(finding.check, "warning", f"Not all was tried: {said}.", "Run `outpost doctor` again.")


async def _works(kind: str, verb: str, call: Awaitable[object]) -> Finding:
    check = f"archive.{verb}"
    try:
        async with asyncio.timeout(_SECONDS):
            await call
    except TimeoutError:
        return Finding(check, "fault", f"The archive did not {verb} within {_SECONDS:.0f} s.", "Look at the findings about the network.")
    except Occupied as fault:
        cure = "Find out who may overwrite there; remove that object with an account that may delete, and run `outpost doctor` again."
        return Finding(check, "fault", f"The canary is not what Outpost wrote: {_said(fault)}.", cure)
    except CredentialRefused as fault:
        return Finding(check, "fault", f"The archive cannot be used to {verb}: {_said(fault)}.", cures.give(kind, verb))
    except OutpostError as fault:
        return Finding(check, "fault", f"The archive cannot be used to {verb}: {_said(fault)}.", "Look at the findings about the network.")
    return Finding(check, "good", _DONE[verb])


_DONE = {
    "write": "The canary lies in the archive.",
    "read": "The canary was read back, and is what was written.",
    "list": "The archive lists what it holds.",
}


async def _read(archive: Archive, place: str) -> None:
    if await archive.get(place) != CONTENT:
        raise Occupied(f"other bytes lie at {place} in the archive")


async def _list(archive: Archive, place: str) -> None:
    if place not in [found.name async for found in archive.list(place)]:
        raise CredentialRefused(f"the archive's list lacks {place}, which is there")


def harmless(tried: Sequence[Attempt], kind: str) -> Iterator[Finding]:
    """Whether each attempt to overwrite and to delete was refused; of what was not, which right to take away, and how."""
    for harm in _HARMS:
        of_it = [attempt for attempt in tried if attempt.harm == harm]
        done, kept, unclear = (_deeds(of_it, outcome) for outcome in ("done", "kept", "unclear"))
        check, refused = f"archive.{harm}", f"The archive refuses to {harm} what lies there ({_deeds(of_it, 'refused')})."
        if done and kind == "folder":
            yield Finding(
                check,
                "warning",
                f"Whoever takes over this box can {harm} the archive, which is a folder of its own.",
                cures.take_away(kind, harm),
            )
        elif done:
            yield Finding(
                check, "fault", f"The box's credential can {harm} what lies in the archive ({done}).", cures.take_away(kind, harm)
            )
        elif kept:
            said = (
                f"The box's credential can {harm} what lies in the archive, which keeps the older version ({kept}): nothing is lost by it."
            )
            yield Finding(check, "warning", said, cures.take_away(kind, harm))
        elif unclear:
            said = f"Whether the credential can {harm} is not clear: the archive neither did it nor refused it ({unclear})."
            yield Finding(check, "warning", said, cures.take_away(kind, harm))
        else:
            yield Finding(check, "good", refused)


def _deeds(tried: Iterable[Attempt], outcome: str) -> str:
    return ", ".join(f"{one.deed}: {one.said}" if one.said else one.deed for one in tried if one.outcome == outcome)


def _said(fault: Exception) -> str:
    return str(fault).rstrip(".")
