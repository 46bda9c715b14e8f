"""A small archive in memory, written by the product's own means, and what is done to it by somebody who can write there."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cloudsync import merge
from cloudsync.archive.port import NotThere, Stat, md5_of
from cloudsync.catalog import CatalogChain, ChainState, Entry, Held, SiteStateEntry, epoch_entry, site_state_name
from cloudsync.seal import keys as seal_keys
from cloudsync.seal import sums
from cloudsync.seal.keys import Keys, RecoveryKey
from cloudsync.seal.sums import Sum, Sums
from cloudsync.span import Span
from edge.model import Digest, PackId
from tests.seal.forgery import forged
from tests.seal.mutation import mutations

NOW = 1_767_225_600.0
PACKS, FORKED_AT = 6, 3
MERGE = Span(1, 1)


@dataclass(slots=True)
class Shelf:
    """A site and all that lies in its archive, by name. It is also that archive's port."""

    keys: Keys
    recovery: RecoveryKey
    objects: dict[str, bytes] = field(default_factory=dict)
    entries: dict[PackId, Held] = field(default_factory=dict)
    site_states: dict[str, SiteStateEntry] = field(default_factory=dict)
    states: list[ChainState] = field(default_factory=lambda: [ChainState()])
    """The chain's states: before the first segment, after it, and so on."""

    @property
    def chain(self) -> CatalogChain:
        return CatalogChain(self.keys.site_id, self.keys.trust_root, self.keys.open)

    @property
    def segments(self) -> list[str]:
        return [self.chain.at(state).next_name for state in self.states[:-1]]

    async def get(self, name: str) -> bytes:
        if name not in self.objects:
            raise NotThere(f"the archive has no {name}")
        return self.objects[name]

    async def list(self, prefix: str) -> AsyncIterator[Stat]:
        for name in sorted(self.objects):
            if name.startswith(prefix):
                yield Stat(name, len(self.objects[name]), None)

    async def put(self, name: str, data: bytes, md5: bytes) -> None:
        raise AssertionError("nothing is written while an archive is read")

    async def head(self, name: str) -> Stat | None:
        return Stat(name, len(self.objects[name]), md5_of(self.objects[name])) if name in self.objects else None

    async def close(self) -> None:
        pass


def make(directory: Path, dice: random.Random) -> tuple[Shelf, Shelf, Shelf]:
    """A site, one that went on under the same keys from a copy that was rolled back, and another site."""
    site = Shelf(*seal_keys.make(directory / "site", now=NOW))
    fork, other = Shelf(site.keys, site.recovery), Shelf(*seal_keys.make(directory / "other", now=NOW))
    for number in range(PACKS):
        if number == FORKED_AT:
            fork.objects, fork.states = dict(site.objects), list(site.states)
        for shelf in (site, other) if number < FORKED_AT else (site, fork, other):
            add(shelf, number, dice)
    for shelf in (site, fork, other):
        add_merge(shelf)
    return site, fork, other


def add(shelf: Shelf, number: int, dice: random.Random) -> None:
    """One pack, one site state, and the segment that says so. Part 2 counts by its second attempt; the first one lies there too."""
    site, pack = shelf.keys.site_id, PackId("".join(dice.choices("abcdefghijklmnopqrstuvwxyz234567", k=26)))
    named = []
    for each in range(dice.randint(4, 6)):
        for attempt in (0, 1) if each == 2 else (0,):
            place = f"{site}/p/{pack}/{sums.object_name(each, attempt)}"
            shelf.objects[place] = sealed = shelf.keys.seal(place, dice.randbytes(dice.choice((0, 1, 100, 3000))))
        named.append(Sum(each, len(sealed), digest(sealed), attempt))
    whole = Sums(site, pack, tuple(named))
    shelf.objects[whole.place] = text = sums.write(whole)
    plain = dice.randbytes(200)
    place = site_state_name(site, number + 1)
    shelf.objects[place] = sealed = shelf.keys.seal(place, plain)
    shelf.site_states[place] = state = SiteStateEntry(
        number=number + 1, at=NOW, bytes=len(plain), digest=digest(plain), sealed_bytes=len(sealed), sealed_digest=digest(sealed)
    )
    shelf.entries[pack] = held = Held(
        pack=pack, held_at=NOW + number, instances=1, raw_bytes=1, sealed_bytes=1, sha256=digest(plain), study={}, series=[],
        objects=len(named), head=named[0].name, head_digest=named[0].digest, sums_digest=digest(text),
    )  # fmt: skip
    first: list[Entry] = [] if number else [epoch_entry(shelf.keys, NOW)]
    made = shelf.chain.at(shelf.states[-1]).append(shelf.keys, [*first, held, state])
    shelf.objects[made.name] = made.sealed
    shelf.states.append(made.state)


def add_merge(shelf: Shelf) -> None:
    """The segments that a merge needs, and the merge."""
    for _ in range(PACKS, MERGE.last):
        made = shelf.chain.at(shelf.states[-1]).append(shelf.keys, [])
        shelf.objects[made.name] = made.sealed
        shelf.states.append(made.state)
    chain = shelf.chain.at(shelf.states[-1])
    pieces = [merge.read(chain, span, shelf.objects[span.name(chain.site)]) for span in MERGE.parts]
    shelf.objects[MERGE.name(chain.site)] = merge.write(shelf.keys, merge.merged(MERGE, pieces, chain.site))


def digest(data: bytes) -> Digest:
    return Digest(sha256(data).hexdigest())


@dataclass(frozen=True, slots=True)
class Tampering:
    """What was done to the archive: the names that were changed, with what lies there now; None where nothing does."""

    deed: str
    changed: dict[str, bytes | None]


class Hand:
    """Somebody who can write to the archive, and has kept all that he ever saw of it and of others."""

    def __init__(self, site: Shelf, fork: Shelf, other: Shelf, dice: random.Random) -> None:
        self._site, self._dice = site, dice
        # The first segment after the fork follows as well as ours does: only the ledger knows that it is not the one.
        follows = site.segments[FORKED_AT]
        self._forked = {name: data for name, data in fork.objects.items() if data != site.objects.get(name) and name != follows}
        self._foreign = [*other.objects.values(), *self._forked.values()]
        read = [whole for whole in site.objects if not whole.endswith("/000002")]
        self._kinds = {
            "segment": site.segments,
            "merge": [MERGE.name(site.keys.site_id)],
            "site state": list(site.site_states),
            "sums": [name for name in read if name.endswith("/sums")],
            "head": [name for name in read if name.endswith("/000000")],
            "part": [name for name in read if "/p/" in name and not name.endswith(("/000000", "/sums"))],
        }

    def tamper(self, count: int) -> Iterator[tuple[str, Tampering]]:
        """So many deeds, each with the kind of object that it is done to; each leaves the archive other than it was."""
        deeds = {
            "flip": self._flip,
            "cut": self._cut,
            "mangle": self._mangle,
            "swap": self._swap,
            "replay": self._replay,
            "forge": self._forge,
        }
        while count:
            kind = self._dice.choice(list(self._kinds))
            name = self._dice.choice(self._kinds[kind])
            # What is missing from the catalog, and its end, is looked for by a whole rebuild each: fewer of these.
            deed = self._dice.choice([*deeds] * 4 + (["drop", "roll back"] if kind == "segment" else ["drop"] * 4))
            if kind == "merge" and deed in {"drop", "swap"}:
                continue  # it is one of its kind, and without it the segments are read
            if deed == "drop":
                changed: dict[str, bytes | None] = {name: None}
            elif deed == "roll back":
                changed = dict.fromkeys(self._site.segments[self._dice.randrange(1, len(self._site.segments)) :])
            else:
                changed = deeds[deed](kind, name)
            if any(data != self._site.objects[each] for each, data in changed.items()):
                count -= 1
                yield kind, Tampering(deed, changed)

    def _flip(self, kind: str, name: str) -> dict[str, bytes | None]:
        data = bytearray(self._site.objects[name])
        data[self._dice.randrange(len(data))] ^= 1 << self._dice.randrange(8)
        return {name: bytes(data)}

    def _cut(self, kind: str, name: str) -> dict[str, bytes | None]:
        data = self._site.objects[name]
        return {name: data[: self._dice.randrange(len(data))]}

    def _mangle(self, kind: str, name: str) -> dict[str, bytes | None]:
        return {name: next(mutations(self._site.objects[name], 1, self._dice.getrandbits(32)))}

    def _swap(self, kind: str, name: str) -> dict[str, bytes | None]:
        other = self._dice.choice(self._kinds[kind])
        return {name: self._site.objects[other], other: self._site.objects[name]}

    def _forge(self, kind: str, name: str) -> dict[str, bytes | None]:
        """He may open what is sealed, and makes something else under the same content key; sums are not sealed."""
        if kind == "sums":
            return self._mangle(kind, name)
        plain = self._site.keys.open(self._site.objects[name], name)
        other = next(mutations(plain, 1, self._dice.getrandbits(32))) if self._dice.random() < 0.9 else b""
        return {name: forged(self._site.keys.kek, self._site.objects[name], other)}

    def _replay(self, kind: str, name: str) -> dict[str, bytes | None]:
        if name in self._forked and self._dice.random() < 0.5:
            return {name: self._forked[name]}
        return {name: self._dice.choice([*self._site.objects.values(), *self._foreign])}
