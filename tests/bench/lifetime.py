"""The archive's catalog of a clinic after ten years, generated: a segment for each study, as a clinic on a weak line writes it, and the
merges of those, by the product's own means. Packs are named there, and their objects are not in this archive.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from hashlib import sha256

import msgspec

from cloudsync import merge
from cloudsync.archive.port import NotThere, Stat
from cloudsync.catalog import CatalogChain, Entry, Held, SiteStateEntry, epoch_entry, site_state_name
from cloudsync.merge import Piece
from cloudsync.seal.keys import Keys
from cloudsync.span import FAN, LEVELS_MOST, Span
from edge.model import Json
from tests.bench.clinic import Visit, visits

INSTANCES = {"CT": 220, "MR": 165, "US": 25, "DX": 2, "MG": 4, "XA": 20}
"""Of a study, on average: 93 over all, 7 million of 75,000 studies."""
SERIES = {"CT": 4, "MR": 6, "US": 1, "DX": 1, "MG": 4, "XA": 3}
PACK_INSTANCES = 4096
"""At most; CT of 256 MiB have about as many as such a study."""
SITE_STATES = 10
"""Studies for each copy of the site's decisions."""


@dataclass(slots=True)
class Vault:
    """Objects by name, and the archive's port."""

    objects: dict[str, bytes] = field(default_factory=dict)

    async def put(self, name: str, data: bytes, md5: bytes) -> None:
        self.objects[name] = data

    async def get(self, name: str) -> bytes:
        if name not in self.objects:
            raise NotThere(f"the archive has no {name}")
        return self.objects[name]

    async def head(self, name: str) -> Stat | None:
        return Stat(name, len(self.objects[name]), b"") if name in self.objects else None

    async def list(self, prefix: str) -> AsyncIterator[Stat]:
        for name in sorted(name for name in self.objects if name.startswith(prefix)):
            yield Stat(name, len(self.objects[name]), None)

    async def close(self) -> None: ...


@dataclass(slots=True)
class Lifetime:
    """What was said, and where."""

    vault: Vault = field(default_factory=Vault)
    studies: int = 0
    instances: int = 0
    packs: int = 0
    oldest: str = ""
    """The Study Instance UID of the first one."""


def lifetime(keys: Keys, studies: int, site_state: bytes) -> Lifetime:
    """The catalog of so many studies over ten years, the oldest first. `site_state` is what the site decided, the same each time."""
    made, dice = Lifetime(), random.Random(4)
    writing = _Writing(keys, made.vault)
    writing.say([epoch_entry(keys, 0.0)])
    for visit in visits(studies):
        for held in _held(visit, dice):
            state = [_site_state(keys, made, held.held_at, site_state)] if made.packs % SITE_STATES == 0 else []
            writing.say([held, *state])
            made.packs += 1
            made.instances += held.instances
        made.studies += 1
        made.oldest = made.oldest or str(held.study["0020000D"]["Value"][0])
    return made


class _Writing:
    """The chain, and of each level the pieces that are not merged yet."""

    def __init__(self, keys: Keys, vault: Vault) -> None:
        self._keys = keys
        self._vault = vault
        self._chain = CatalogChain(keys.site_id, keys.trust_root, keys.open)
        self._open: list[list[tuple[Piece, int]]] = [[] for _ in range(LEVELS_MOST + 1)]

    def say(self, entries: list[Entry]) -> None:
        made = self._chain.append(self._keys, entries)
        lines = tuple(msgspec.json.encode(entry) for entry in entries)
        span = Span(0, made.state.sequence)
        self._put(Piece(span, self._chain.state.tip, made.state.tip, lines), made.sealed)
        self._chain = self._chain.at(made.state)

    def _put(self, piece: Piece, sealed: bytes) -> None:
        self._vault.objects[piece.span.name(self._keys.site_id)] = sealed
        level = piece.span.level
        pieces = self._open[level]
        pieces.append((piece, len(sealed)))
        if len(pieces) == FAN and sum(size for _, size in pieces) <= merge.MOST_BYTES and level < LEVELS_MOST:
            merged = merge.merged(Span(level + 1, pieces[0][0].span.first), [each for each, _ in pieces], self._keys.site_id)
            self._open[level] = []
            self._put(merged, merge.write(self._keys, merged))
        elif len(pieces) == FAN:
            self._open[level] = []


def _held(visit: Visit, dice: random.Random) -> Iterator[Held]:
    """The packs of a study. Its identifiers are as long and as random as any device makes them: that is what costs."""
    one = visit.admissions[0]
    modality = one.description.series["00080060"]["Value"][0]
    instances = max(1, round(INSTANCES[modality] * dice.uniform(0.5, 1.5)))
    study = {**one.description.patient, **one.description.study, "0020000D": _value("UI", _uid(dice))}
    while instances > 0:
        count = min(instances, PACK_INSTANCES)
        instances -= count
        yield Held(
            pack=visit.pack,
            held_at=one.received_at,
            instances=count,
            raw_bytes=count * 529_000,
            sealed_bytes=count * dice.randrange(100_000, 200_000),
            sha256=_digest(dice),
            study=study,
            series=[_series(one.description.series, number, count, dice) for number in range(1, SERIES[modality] + 1)],
            objects=2 + count // 8,
            head="000000",
            head_digest=_digest(dice),
            sums_digest=_digest(dice),
        )


def _series(of_visit: Json, number: int, instances: int, dice: random.Random) -> Json:
    own = {"0020000E": _value("UI", _uid(dice)), "00200011": _value("IS", number)}
    return {**of_visit, **own, "00201209": _value("IS", max(1, dice.randrange(2 * instances) // 2))}


def _value(vr: str, value: object) -> Json:
    return {"vr": vr, "Value": [value]}


def _uid(dice: random.Random) -> str:
    return f"2.25.{dice.getrandbits(122)}"


def _digest(dice: random.Random) -> str:
    return f"{dice.getrandbits(256):064x}"


def _site_state(keys: Keys, made: Lifetime, at: float, plain: bytes) -> SiteStateEntry:
    number = made.packs // SITE_STATES + 1
    place = site_state_name(keys.site_id, number)
    sealed = keys.seal(place, plain)
    made.vault.objects[place] = sealed
    return SiteStateEntry(
        number=number,
        at=at,
        bytes=len(plain),
        digest=sha256(plain).hexdigest(),
        sealed_bytes=len(sealed),
        sealed_digest=sha256(sealed).hexdigest(),
    )
