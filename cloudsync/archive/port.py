"""The port of every archive: whole objects, written once under a name, never overwritten, never deleted.

An adapter makes one attempt, plainly, and maps foreign errors once, to the types here. Waiting and trying again is `Retrying`,
counting bytes is `Metered`. `tests/contract/` holds the suite that each adapter passes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import md5
from typing import Protocol

from edge.errors import Corrupt, Permanent, Refused, Transient


class LinkDown(Transient):
    """The archive does not answer. Check cable, modem and disk if it lasts; nothing is given up meanwhile."""


class Throttled(Transient):
    """The archive asks us to slow down. Nothing to do."""

    def __init__(self, message: str | None = None, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        """What the archive asked for; None when it named no time."""


class CredentialRefused(Refused):
    """The archive refuses our credential. Put a valid one in archive.credential_file."""


class QuotaExceeded(Refused):
    """The archive is full or its account is closed. Free space or settle the account."""


class ClockWrong(Refused):
    """The clock of this box is wrong, so the archive cannot be spoken to. Set it: `timedatectl set-ntp true`."""


class Occupied(Refused):
    """Other bytes lie at a name that is ours; they were left alone. Find out who else writes this site's archive."""


class ObjectRefused(Refused):
    """The archive refuses this one object. The message says why; other packs go on."""


class NotThere(Permanent):
    """The archive has no object of that name. The message says which; look for it where the archive keeps what was deleted."""


class Damaged(Corrupt):
    """The archive sent bytes that do not match the digest it keeps beside them. They were thrown away."""


@dataclass(frozen=True, slots=True)
class Stat:
    """What an archive says of one object, without its bytes."""

    name: str
    size: int
    """Bytes."""
    md5: bytes | None
    """16 bytes. `head` always knows it; `list` says None where it would have to read the object."""


class Archive(Protocol):
    """Every method may raise LinkDown, Throttled, CredentialRefused, QuotaExceeded and ClockWrong; nothing was then proven either way.

    All methods may be called concurrently, for different names.
    """

    async def put(self, name: str, data: bytes, md5: bytes) -> None:
        """Create `name` with `data`; durable in the archive when it returns. `md5` is the MD5 of `data`, 16 bytes.

        Idempotent: success when exactly these bytes are there already. Never overwrites: Occupied when others are, and they stay.
        ObjectRefused when the archive will not take this object. Crash or cancellation: the whole object is there or none of it.
        """
        ...

    async def get(self, name: str) -> bytes:
        """The whole object. NotThere when there is none; Damaged when it does not match the MD5 that the archive keeps; ObjectRefused
        when the archive will not give this one (it lies in an archive tier).
        """
        ...

    async def head(self, name: str) -> Stat | None:
        """Size and MD5 of an object, None when there is none. Where the archive keeps no MD5 the object is read to find it, with the errors
        of `get`.
        """
        ...

    def list(self, prefix: str) -> AsyncIterator[Stat]:
        """Every object whose name starts with `prefix`, in the order of names. What is created meanwhile may be missing."""
        ...

    async def close(self) -> None:
        """Let go of connections. Idempotent. The archive is not used after it."""
        ...


def seconds_asked(retry_after: str) -> float | None:
    """The seconds of a header `Retry-After` (RFC 9110 section 10.2.3); None for a date, or for whatever else stands there."""
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None


def same(found: Stat, data: bytes, digest: bytes) -> bool:
    """Whether the archive holds exactly `data`, whose MD5 is `digest`."""
    return found.size == len(data) and found.md5 == digest


def md5_of(data: bytes) -> bytes:
    """The transport checksum of archives; nothing is trusted because of it (SHA-256 in the ledger and in sums is what counts)."""
    return md5(data, usedforsecurity=False).digest()
