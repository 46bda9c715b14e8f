"""The port of archives that read DICOM: instances stored, searched and retrieved by their UIDs, in the clear.

As with the port of sealed objects, an adapter makes one attempt, plainly, and maps foreign errors once, to the types of port.py;
waiting, trying again and measuring is `Insisting`. `tests/contract/test_instance_archive.py` holds the suite that each one passes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, Protocol

from edge.model import UID


@dataclass(frozen=True, slots=True)
class InstanceName:
    """Where an instance stands in the composite model (PS3.3 section A.1)."""

    study: UID
    series: UID
    sop_instance: UID


@dataclass(frozen=True, slots=True)
class Offer:
    """An instance to be stored: a Part 10 file, sent byte for byte."""

    name: InstanceName
    size: int
    """Bytes of the file."""
    read: Callable[[int, int], bytes] = field(repr=False)
    """(offset, length) -> exactly these bytes; called in a thread, and from the start again for another attempt."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the archive says of one instance that was offered."""

    sop_instance: UID
    outcome: Literal["stored", "failed", "unsaid"]
    """unsaid: the request failed as a whole, or its answer does not name this one. Offered alone it is stored or failed."""
    reason: str = ""
    """For people; holds no attribute of the instance."""


class InstanceArchive(Protocol):
    """Every method may raise LinkDown, Throttled, CredentialRefused, QuotaExceeded and ClockWrong; nothing was then proven either way.

    All methods may be called concurrently, for different instances.
    """

    async def store(self, offers: Sequence[Offer]) -> tuple[Reply, ...]:
        """Send the instances in one request; one reply for each, in their order.

        Idempotent: what is there already as the same bytes is stored. Where other bytes stand under the same UID they stay, and the reply
        may be failed or stored (archives differ): who wants to know compares what `retrieve` brings. Crash, cancellation or an error:
        each instance is there whole or not at all.
        """
        ...

    async def exists(self, study: UID, series: UID) -> frozenset[UID]:
        """The SOP Instance UIDs that the archive lists for a series; empty where it has no such series."""
        ...

    async def retrieve(self, name: InstanceName, into: BinaryIO, at_most: int) -> None:
        """The instance as it was stored, in its own transfer syntax, as a Part 10 file; `into` is emptied first.

        The dataset is the same byte for byte. An archive may write preamble and file meta anew. NotThere when it has no such instance;
        ObjectRefused when it will not give this one; Damaged when what comes is no Part 10 file, is cut short, or longer than `at_most`
        bytes. After an error `into` holds anything.
        """
        ...

    def list(self) -> AsyncIterator[InstanceName]:
        """Every instance, study by study. What is stored meanwhile may be missing."""
        ...

    async def close(self) -> None:
        """Let go of connections. Idempotent. The archive is not used after it."""
        ...
