"""Whether an archive that reads DICOM is there and knows us. Nothing is written: a canary would be an instance among those of patients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import SplitResult, urlsplit

from cloudsync.archive.line import authorities
from cloudsync.archive.opening import open_instances
from cloudsync.doctor import network
from cloudsync.link.meeting import meet
from edge.clock import Clock
from edge.config import Archive as Settings
from edge.errors import OutpostError
from edge.finding import Finding
from edge.model import UID

_NOWHERE = UID("2.25.0")
_SECONDS = 60.0
_SEARCH = "archive.search"


def endpoint(settings: Settings) -> SplitResult:
    """The address of the service."""
    return urlsplit(settings.url)


async def look(settings: Settings, place: tuple[str, int, bool], clock: Clock) -> AsyncIterator[Finding]:
    """The network on the way to it, then a search as it is done before anything is stored."""
    met = await asyncio.to_thread(meet, *place, clock, authorities(settings.ca_file))
    for finding in network.look(met):
        yield finding
    archive = open_instances(settings)
    try:
        async with asyncio.timeout(_SECONDS):
            await archive.exists(_NOWHERE, _NOWHERE)
    except TimeoutError:
        yield Finding(
            _SEARCH, "fault", "The archive does not answer a search in time.", "Run `outpost doctor` again when the link is better."
        )
    except OutpostError as fault:
        said = str(fault).rstrip(".")
        cure = "Compare archive.url and archive.credential_file with what the service says."
        yield Finding(_SEARCH, "fault", f"The archive cannot be searched: {said}.", cure)
    else:
        yield Finding(_SEARCH, "good", "The archive can be searched.")
    finally:
        await archive.close()
