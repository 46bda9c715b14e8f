"""The catalog chain: the signed, hash-chained list of what the archive holds. Values only; whoever ships does the I/O.

A segment is JSON lines (a header, then the entries), zstd, CMS SignedData, sealed at `<site id>/c/<level>/<first sequence, 12 digits>`.
The header names the site, the sequence and the SHA-256 of the signed content before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from cryptography.x509 import Certificate, load_der_x509_certificate

from cloudsync import segment
from cloudsync.seal import signed
from cloudsync.seal.certificates import to_der
from cloudsync.seal.epoch import open_epoch, seal_epoch
from cloudsync.seal.keys import Keys, RecoveryKey
from cloudsync.seal.part import NotOurs
from cloudsync.seal.sharing import share
from cloudsync.seal.signed import BadSignature
from cloudsync.segment import Entry, EpochEntry, Header, Held, NewerFormat, SharedEntry, SiteStateEntry, Tombstone
from edge.model import Digest

__all__ = [
    "Appended", "BadSignature", "BrokenChain", "CatalogChain", "ChainState", "Entry", "EpochEntry", "Followed", "Held", "Listing",
    "NewerFormat", "ReadBack", "SharedEntry", "SiteStateEntry", "Tombstone", "epoch_entry", "open_site_state", "restore_keys",
    "sequence_of", "shared_entry", "site_state_name",
]  # fmt: skip

_SEQUENCE = re.compile(r"/c/0/([0-9]{12})$")

GENESIS = Digest("0" * 64)
"""The digest before the first segment."""

Opener = Callable[[bytes, str], bytes]
"""Opens a sealed object at its place: Keys.open, or RecoveryKey.open on an empty box."""


class BrokenChain(NotOurs):
    """A catalog segment does not follow the one before it. The message says whether one is missing, repeated or replaced."""


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
class ReadBack:
    """A verified segment, read without those before it."""

    name: str
    entries: tuple[Entry, ...]
    state: ChainState
    """After it."""
    previous: Digest
    """SHA-256 of the signed content of the one before it."""
    first: int
    """Its number; of a merge, that of the first segment for which it stands."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The segments that an archive lists after a state."""

    names: tuple[str, ...]
    """To be followed in this order, without a gap."""
    stray: tuple[str, ...]
    """Names beyond a gap, or of no segment: a segment is missing, or somebody else writes here. Alarm; they are not followed."""


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
        return f"{self.site}/c/0/{self.state.sequence + 1:012d}"

    def at(self, state: ChainState) -> CatalogChain:
        """The same chain at another state."""
        return replace(self, state=state)

    def listing(self, names: Iterable[str]) -> Listing:
        """Those of the names under `<site id>/c/0/` that come after `state`, sorted into what to follow and what is stray."""
        left = set(names)
        left -= {name for name in left if (found := _SEQUENCE.search(name)) and int(found[1]) <= self.state.sequence}
        ordered, chain = [], self
        while chain.next_name in left:
            ordered.append(chain.next_name)
            left.remove(chain.next_name)
            chain = chain.at(ChainState(chain.state.sequence + 1))
        return Listing(tuple(ordered), tuple(sorted(left)))

    def append(self, keys: Keys, entries: Sequence[Entry]) -> Appended:
        """A segment with these entries after `state`, sealed under the current epoch of `keys`.

        Raises ValueError when the first segment of a site does not begin with an epoch entry, or when these keys do not sign for the
        site (any more).
        """
        signer = self.state.signer or _signer_of(entries[:1])
        if keys.site_id != self.site or signer != to_der(keys.signing):
            raise ValueError(f"these keys do not sign for {self.next_name}")
        header = Header(segment.format_of(entries), self.site, 0, self.state.sequence + 1, self.state.tip)
        content = segment.write(header, entries)
        sealed = keys.seal(self.next_name, signed.sign(content, keys.signing_key, keys.signing))
        return Appended(self.next_name, sealed, self._after(content, signer, entries))

    def follow(self, sealed: bytes) -> Followed:
        """Verify the segment that was found at `next_name`: place, signature, site, sequence, chain hash.

        Raises NotOurs (not sealed by this site for this place), WrongKey, BadSignature, BrokenChain or NewerFormat.
        """
        signer, content, header, entries = self._read(sealed)
        if header.previous != self.state.tip:
            raise BrokenChain(
                f"{self.next_name} does not follow the segment before it: one of them was replaced, or another box writes this site"
            )
        return Followed(entries, self._after(content, signer, entries))

    def last(self, sequence: int, sealed: bytes) -> ReadBack:
        """Verify the segment of this number without those before it: place, site, sequence, and the signature by the signer of `state`.

        Errors as `follow`.
        """
        chain = self.at(replace(self.state, sequence=sequence - 1))
        signer, content, header, entries = chain._read(sealed)
        after = chain._after(content, signer, entries)
        if after.signer != signer or (sequence == 1) != (header.previous == GENESIS):
            raise BrokenChain(f"{chain.next_name} is no segment of this place in the catalog of site {self.site}")
        return ReadBack(chain.next_name, entries, after, Digest(header.previous), sequence)

    def before(self, behind: ReadBack, sealed: bytes) -> ReadBack:
        """Verify the segment before one that was verified: as `last`, and that the one behind it names it. Errors as `last`."""
        found = self.last(behind.first - 1, sealed)
        if found.state.tip != behind.previous:
            raise BrokenChain(f"{behind.name} does not follow {found.name}: one of them was replaced, or another box writes this site")
        return found

    def _read(self, sealed: bytes) -> tuple[bytes, bytes, Header, tuple[Entry, ...]]:
        """Of the segment at `next_name`: the certificate that signed it, the content, the header, the entries."""
        opened = self.opener(sealed, self.next_name)
        signer = self.state.signer or self._first_trusted(opened)
        content = signed.verify(opened, load_der_x509_certificate(signer), self.next_name)
        header, entries = segment.read(content, self.next_name)
        if (header.site, header.level, header.first) != (self.site, 0, self.state.sequence + 1):
            raise BrokenChain(f"{self.next_name} says that it is segment {header.first} of site {header.site}")
        return signer, content, header, entries

    def _first_trusted(self, opened: bytes) -> bytes:
        """The certificate that the first segment brings; it counts because the trust root is its digest."""
        signer = _signer_of((segment.read_first(signed.content_of(opened, self.next_name), self.next_name),))
        if sha256(signer).hexdigest() != self.trust_root:
            raise BadSignature(f"{self.next_name} brings another signing certificate than the one that the recovery kit names")
        return signer

    def _after(self, content: bytes, signer: bytes, entries: Sequence[Entry]) -> ChainState:
        # A new signing certificate counts from the next segment on: the old key has signed it.
        signer = next((entry.signing for entry in reversed(entries) if isinstance(entry, EpochEntry)), signer)
        return ChainState(self.state.sequence + 1, Digest(sha256(content).hexdigest()), signer)


def sequence_of(name: str) -> int:
    """The number of the segment of this archive name; 0 where it is no name of one."""
    found = _SEQUENCE.search(name)
    return int(found[1]) if found else 0


def epoch_entry(keys: Keys, began: float) -> EpochEntry:
    """The entry for the current epoch of these keys. `began` in seconds since the epoch."""
    return EpochEntry(epoch=keys.epoch, began=began, recovery=to_der(keys.recovery), signing=to_der(keys.signing), sealed=seal_epoch(keys))


def shared_entry(keys: Keys, sibling: Certificate, at: float) -> SharedEntry:
    """The entry by which a sibling may read all until the current epoch of these keys ends. `at` in seconds since the epoch."""
    return SharedEntry(epoch=keys.epoch, at=at, sibling=to_der(sibling), sealed=share(keys, sibling))


def open_site_state(entry: SiteStateEntry, sealed: bytes, site: str, opener: Opener) -> bytes:
    """The site state of a verified entry. Only bytes that the entry names are opened; NotOurs names the object otherwise."""
    place = site_state_name(site, entry.number)
    if len(sealed) != entry.sealed_bytes or sha256(sealed).hexdigest() != entry.sealed_digest:
        raise NotOurs(f"{place} is not what the catalog says")
    plain = opener(sealed, place)
    if sha256(plain).hexdigest() != entry.digest:
        raise NotOurs(f"{place} holds another site state than the catalog says")
    return plain


def site_state_name(site: str, number: int) -> str:
    """The archive name of a site state."""
    return f"{site}/e/{number:012d}"


def restore_keys(site: str, recovery: RecoveryKey, entries: Iterable[Entry]) -> Keys:
    """The keys of a site from its verified catalog: epochs, and who else reads.

    Raises NotOurs when an epoch is missing or does not open, WrongKey.
    """
    entries = tuple(entries)
    epochs = [entry for entry in entries if isinstance(entry, EpochEntry)]
    if [entry.epoch for entry in epochs] != list(range(1, len(epochs) + 1)) or not epochs:
        raise NotOurs(f"the catalog of site {site} does not bring the keys of every epoch")
    secrets = [open_epoch(entry.sealed, site, entry.epoch, recovery) for entry in epochs]
    signing = load_der_x509_certificate(epochs[-1].signing)
    if signing.public_key() != secrets[-1].signing_key.public_key():
        raise NotOurs(f"the catalog of site {site} brings a signing key and a certificate that do not belong together")
    siblings = dict.fromkeys(entry.sibling for entry in entries if isinstance(entry, SharedEntry) and entry.epoch == epochs[-1].epoch)
    return Keys(
        site_id=site,
        epoch=epochs[-1].epoch,
        keks={each.kek.epoch: each.kek for each in secrets},
        recovery=load_der_x509_certificate(epochs[-1].recovery),
        signing_key=secrets[-1].signing_key,
        signing=signing,
        trust_root=Digest(sha256(epochs[0].signing).hexdigest()),
        began={entry.epoch: entry.began for entry in epochs},
        siblings=tuple(map(load_der_x509_certificate, siblings)),
    )


def _signer_of(entries: Sequence[Entry]) -> bytes:
    """The signing certificate that the first entry of a site brings; nothing when there is none."""
    return next((entry.signing for entry in entries if isinstance(entry, EpochEntry)), b"")
