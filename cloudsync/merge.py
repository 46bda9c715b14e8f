"""Merges of the catalog: one object that says what 32 of the level below say, for whoever has to read it all. Values only.

A merge is written as a segment is: JSON lines, zstd, signed, sealed for its place. Its header names where the chain stood before its first
segment and after its last, so that it stands in the chain in their place. The segments stay: who finds a merge missing or false reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise

from cryptography.x509 import load_der_x509_certificate

from cloudsync import segment
from cloudsync.catalog import GENESIS, BrokenChain, CatalogChain, ChainState, Followed, ReadBack
from cloudsync.seal import signed
from cloudsync.seal.keys import Keys
from cloudsync.segment import Entry, EpochEntry, Header
from cloudsync.span import Span
from edge.model import Digest, parse_digest

MOST_BYTES = 4 << 20
"""Of the parts of a merge, sealed: a larger one is not written. It would take a weak link minutes, and save hardly a request."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one object of the catalog says, verified by its signature and its place."""

    span: Span
    previous: Digest
    """SHA-256 of the signed content before it."""
    tip: Digest
    """SHA-256 of the signed content of its last segment."""
    lines: tuple[bytes, ...]
    """The entries, JSON, in the order in which they were written."""

    def entries(self, site: str) -> tuple[Entry, ...]:
        """The entries. Raises NotOurs naming the line."""
        return segment.decode(self.lines, self.span.name(site))


def read(chain: CatalogChain, span: Span, sealed: bytes, known: Digest | None = None) -> Piece:
    """Verify a merge, or a segment, by itself: its place, the site, and that the signer of the chain's state signed it.

    `known` is the tip that it should have, where that is known. Raises NotOurs, WrongKey, BadSignature, BrokenChain or NewerFormat, each
    naming it.
    """
    name = span.name(chain.site)
    opened = chain.opener(sealed, name)
    content = signed.verify(opened, load_der_x509_certificate(chain.state.signer), name)
    header, lines = segment.read_lines(content, name)
    previous, tip = parse_digest(header.previous), parse_digest(header.tip) if span.level else Digest(sha256(content).hexdigest())
    if (header.site, header.level, header.first) != (chain.site, span.level, span.first) or previous is None or tip is None:
        raise BrokenChain(f"{name} says that it is segment {header.first} of level {header.level} of site {header.site}")
    if known not in {None, tip}:
        raise BrokenChain(f"{name} was replaced by another one of this site")
    return Piece(span, previous, tip, lines)


def last(chain: CatalogChain, span: Span, sealed: bytes) -> ReadBack:
    """As CatalogChain.last, of a merge or a segment."""
    return _back(chain, span, sealed, None) if span.level else chain.last(span.first, sealed)


def before(chain: CatalogChain, behind: ReadBack, span: Span, sealed: bytes) -> ReadBack:
    """As CatalogChain.before, of a merge or a segment."""
    return _back(chain, span, sealed, behind.previous) if span.level else chain.before(behind, sealed)


def follow(chain: CatalogChain, span: Span, sealed: bytes) -> Followed:
    """As CatalogChain.follow, of a merge or a segment; the signer of a merge has to be known."""
    if not span.level:
        return chain.follow(sealed)
    found = read(chain, span, sealed)
    if (span.first, found.previous) != (chain.state.sequence + 1, chain.state.tip):
        raise BrokenChain(f"{span.name(chain.site)} does not follow the segment before it")
    return Followed(found.entries(chain.site), _after(chain, found))


def merged(span: Span, pieces: Sequence[Piece], site: str) -> Piece:
    """What the merge of these parts says. Raises BrokenChain where one does not follow the one before it."""
    if tuple(piece.span for piece in pieces) != span.parts:
        raise ValueError(f"these are not the parts of {span}")
    for before, piece in pairwise(pieces):
        if piece.previous != before.tip:
            raise BrokenChain(f"{piece.span.name(site)} does not follow {before.span.name(site)}: one of them was replaced")
    lines = [line for piece in pieces for line in piece.lines]
    without = segment.replaced(lines)
    return Piece(span, pieces[0].previous, pieces[-1].tip, tuple(line for index, line in enumerate(lines) if index not in without))


def write(keys: Keys, piece: Piece) -> bytes:
    """The sealed bytes of a merge. Never the same twice: keep them until they are confirmed."""
    name, span = piece.span.name(keys.site_id), piece.span
    header = Header(segment.FORMAT, keys.site_id, span.level, span.first, piece.previous, piece.tip)
    return keys.seal(name, signed.sign(segment.write_lines(header, piece.lines), keys.signing_key, keys.signing))


def _back(chain: CatalogChain, span: Span, sealed: bytes, tip: Digest | None) -> ReadBack:
    found = read(chain, span, sealed, tip)
    name = span.name(chain.site)
    if (span.first == 1) != (found.previous == GENESIS):
        raise BrokenChain(f"{name} is no merge of this place in the catalog of site {chain.site}")
    return ReadBack(name, found.entries(chain.site), _after(chain, found), found.previous, span.first)


def _after(chain: CatalogChain, found: Piece) -> ChainState:
    """After a merge. Raises BrokenChain where the signing key changes in it: then its segments are what can be verified."""
    entries = found.entries(chain.site)
    if any(entry.signing != chain.state.signer for entry in entries if isinstance(entry, EpochEntry)):
        raise BrokenChain(f"{found.span.name(chain.site)} says another signing key than the one that signed it")
    return ChainState(found.span.last, found.tip, chain.state.signer)
