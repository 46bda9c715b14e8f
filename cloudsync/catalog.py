"""The catalog chain: the signed, hash-chained list of what the archive holds. Values only; whoever ships does the I/O.

A segment is JSON lines (a header, then the entries), zstd, CMS SignedData, sealed at `<site id>/c/<level>/<first sequence, 12 digits>`.
The header names the site, the sequence and the SHA-256 of the signed content before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from cloudsync.seal.keys import Keys, RecoveryKey
from cloudsync.seal.part import NotOurs
from edge.model import Digest

GENESIS = Digest("0" * 64)
"""The digest before the first segment."""

Opener = Callable[[bytes, str], bytes]
"""Opens a sealed object at its place: Keys.open, or RecoveryKey.open on an empty box."""


class BrokenChain(NotOurs):
    """A catalog segment does not follow the one before it. The message says whether one is missing, repeated or replaced."""


class BadSignature(NotOurs):
    """A catalog segment is not signed by this site's key. Nothing of it was used; find out who can write to the archive."""


class NewerFormat(NotOurs):
    """The catalog was written by a newer Outpost. Upgrade this one."""


class _Entry(msgspec.Struct, frozen=True, tag_field="kind", forbid_unknown_fields=True, kw_only=True):
    pass


class Held(_Entry, frozen=True, tag="held"):
    """A pack whose head, parts and sums are confirmed: all that edge needs to answer for its study, and what proves the objects."""

    pack: str
    held_at: float
    """Seconds since the epoch, when the sums were confirmed."""
    instances: int
    raw_bytes: int
    sealed_bytes: int
    sha256: str
    """Of the closed pack file in the cache."""
    study: dict[str, Any]
    series: list[dict[str, Any]]
    objects: int
    """Head and parts; the sums are one more."""
    head: str
    """Name of the attempt that counts: 000000, or 000000.1."""
    head_digest: str
    """SHA-256 of the sealed head."""
    sums_digest: str
    """SHA-256 of the sums."""


class SiteStateEntry(_Entry, frozen=True, tag="site-state"):
    """A copy of the site's decisions at `<site id>/e/<number, 12 digits>`."""

    number: int
    at: float
    bytes: int
    """Of the plaintext, as `digest` is: what edge named in its ask."""
    digest: str
    sealed_bytes: int
    sealed_digest: str


class EpochEntry(_Entry, frozen=True, tag="epoch"):
    """An epoch of keys began. With it the recovery key alone restores everything: the KEK and the signing key travel sealed to it."""

    epoch: int
    began: float
    recovery: bytes
    """The recovery certificate, DER."""
    signing: bytes
    """The signing certificate of the segments that follow, DER."""
    sealed: bytes
    """KEK and signing key, in the one-recipient form, for the place `<site id>/k/<epoch, 6 digits>`."""


Entry = Held | SiteStateEntry | EpochEntry


@dataclass(frozen=True, slots=True)
class ChainState:
    """Where a chain stands after a segment: what the ledger keeps."""

    sequence: int = 0
    """Of the last segment; 0 before the first."""
    tip: Digest = GENESIS
    """SHA-256 of its signed content."""
    signer: bytes = b""
    """The signing certificate in force, DER; empty before the first segment, whose epoch entry brings it."""


@dataclass(frozen=True, slots=True)
class Appended:
    """A segment to be shipped. Keep `sealed` and `state` together until it is confirmed; only then append the next one."""

    name: str
    sealed: bytes
    state: ChainState


@dataclass(frozen=True, slots=True)
class Followed:
    """A verified segment."""

    entries: tuple[Entry, ...]
    state: ChainState


@dataclass(frozen=True, slots=True)
class CatalogChain:
    """One site's chain as a value: `append` and `follow` change nothing and return the state after."""

    site: str
    trust_root: Digest
    opener: Opener
    state: ChainState = ChainState()

    @property
    def next_name(self) -> str:
        """The archive name of the segment that comes next."""
        raise NotImplementedError

    def append(self, keys: Keys, entries: Sequence[Entry]) -> Appended:
        """A segment with these entries after `state`. The first one of a site has to begin with an epoch entry (else ValueError)."""
        raise NotImplementedError

    def follow(self, sealed: bytes) -> Followed:
        """Verify the segment that was found at `next_name`: place, signature, site, sequence, chain hash.

        Raises NotOurs (not sealed by this site for this place), WrongKey, BadSignature, BrokenChain or NewerFormat.
        """
        raise NotImplementedError

    def at(self, state: ChainState) -> CatalogChain:
        """The same chain at another state."""
        raise NotImplementedError


def epoch_entry(keys: Keys, began: float) -> EpochEntry:
    """The entry for the current epoch of these keys."""
    raise NotImplementedError


def restore_keys(site: str, recovery: RecoveryKey, entries: Iterable[Entry]) -> Keys:
    """The keys of a site from the epoch entries of its verified catalog. Raises NotOurs when there is none or one does not open."""
    raise NotImplementedError
