"""A certificate that is refused by its dates: whether they are wrong or our clock, by the time that whoever shows it has."""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import SplitResult

from cloudsync.archive.line import Line
from cloudsync.archive.port import ClockWrong, LinkDown
from cloudsync.link import unreached
from edge.clock import Clock, utc


def concern(fault: ssl.SSLCertVerificationError) -> bool:
    """Whether its dates are what is held against it."""
    return fault.verify_code in {unreached.EXPIRED, unreached.NOT_YET}


async def explained(fault: ssl.SSLCertVerificationError, place: SplitResult, line: Line, clock: Clock) -> ClockWrong | LinkDown:
    """What to raise for it; `place` is the archive's address."""
    from cloudsync.link.meeting import meet  # noqa: PLC0415 - needed for this alone

    met = await asyncio.to_thread(meet, place.hostname or "", place.port or 443, True, clock, line.trust)
    if met.clock_to_blame and met.date is not None:
        line.far.heard(met.date)
    if line.far.wrong:
        return ClockWrong(line.far.wrong)
    if fault.verify_code == unreached.EXPIRED and met.ends_at is not None:
        cure = "the archive's owner has to renew it, or who runs a proxy between"
        return LinkDown(f"the certificate of the archive expired at {utc(met.ends_at)}: {cure}")
    if fault.verify_code == unreached.NOT_YET:
        return ClockWrong(unreached.sentence(fault))
    return LinkDown(unreached.sentence(fault))
