"""An archive whose catalog is written by the test, segment by segment: whatever a box may have said in its life."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import msgspec

from cloudsync import merge
from cloudsync.catalog import CatalogChain, ChainState, Entry, Held, SiteStateEntry, Tombstone, epoch_entry, shared_entry, site_state_name
from cloudsync.merge import Piece
from cloudsync.seal import sharing
from cloudsync.seal.keys import Keys
from cloudsync.seal.part import Kek
from cloudsync.span import FAN, Span
from edge.model import new_pack_id

BEGAN = 1_767_225_600.0
DAY = 86_400.0


@dataclass(slots=True)
class Written:
    """The archive of one site in a directory; each call that says something writes a segment, a day after the one before."""

    archive: Path
    keys: Keys
    state: ChainState = field(default_factory=ChainState)
    _pieces: list[Piece] = field(default_factory=list)
    _dice: random.Random = field(default_factory=lambda: random.Random(4))

    @property
    def now(self) -> float:
        return BEGAN + DAY * self.state.sequence

    @property
    def names(self) -> list[str]:
        return [f"{self.keys.site_id}/c/0/{number:012d}" for number in range(1, self.state.sequence + 1)]

    def say(self, *entries: Entry) -> None:
        chain = CatalogChain(self.keys.site_id, self.keys.trust_root, self.keys.open, self.state)
        appended = chain.append(self.keys, entries)
        self._put(appended.name, appended.sealed)
        self._pieces.append(
            Piece(Span(0, appended.state.sequence), self.state.tip, appended.state.tip, tuple(map(msgspec.json.encode, entries)))
        )
        self.state = appended.state

    def merge(self) -> list[str]:
        """Every merge that there can be now; the names, the lowest level first."""
        names, pieces = [], self._pieces
        while len(pieces) >= FAN:
            groups = [pieces[first : first + FAN] for first in range(0, len(pieces) - FAN + 1, FAN)]
            pieces = [merge.merged(Span(group[0].span.level + 1, group[0].span.first), group, self.keys.site_id) for group in groups]
            for piece in pieces:
                names.append(piece.span.name(self.keys.site_id))
                self._put(names[-1], merge.write(self.keys, piece))
        return names

    def begin(self) -> None:
        self.say(epoch_entry(self.keys, BEGAN))

    def held(self, *, replaces: str = "", study: str = "") -> Held:
        """A pack of a study of its own."""
        digest = sha256(self._dice.randbytes(8)).hexdigest()
        study = study or f"1.2.840.{self._dice.getrandbits(60)}"
        return Held(
            pack=new_pack_id(),
            held_at=self.now,
            instances=3,
            raw_bytes=100,
            sealed_bytes=80,
            sha256=digest,
            study={
                "0020000D": {"vr": "UI", "Value": [study]},
                "00080020": {"vr": "DA", "Value": ["20260101"]},
                "00100010": {"vr": "PN", "Value": [{"Alphabetic": f"GENERATED^{self.state.sequence:04d}"}]},
                "00100020": {"vr": "LO", "Value": [f"P{self.state.sequence:04d}"]},
            },
            series=[{"0020000E": {"vr": "UI", "Value": [f"{study}.1"]}, "00080060": {"vr": "CS", "Value": ["CT"]}}],
            objects=2,
            head="000000",
            head_digest=digest,
            sums_digest=digest,
            replaces=replaces,
        )

    def tombstone(self, pack: str) -> Tombstone:
        return Tombstone(pack=pack, at=self.now, reason="generated", law="none", by="a test")

    def site_state(self, data: bytes) -> SiteStateEntry:
        number = self.state.sequence + 1
        place = site_state_name(self.keys.site_id, number)
        sealed = self.keys.seal(place, data)
        self._put(place, sealed)
        return SiteStateEntry(
            number=number,
            at=self.now,
            bytes=len(data),
            digest=sha256(data).hexdigest(),
            sealed_bytes=len(sealed),
            sealed_digest=sha256(sealed).hexdigest(),
        )

    def rotate(self) -> None:
        """A new epoch: the segment that says it is sealed under the one before."""
        kek = Kek(self.keys.epoch + 1, self._dice.randbytes(32))
        after = replace(
            self.keys, epoch=kek.epoch, keks={**self.keys.keks, kek.epoch: kek}, began={**self.keys.began, kek.epoch: self.now}, siblings=()
        )
        self.say(epoch_entry(after, self.now))
        self.keys = after

    def share(self, sibling: Path) -> None:
        """With a site whose key is made in this directory."""
        sibling.mkdir()
        certificate = sharing.make(sibling, "k7q2abcdef", now=self.now).certificate
        self.say(shared_entry(self.keys, certificate, self.now))
        self.keys = replace(self.keys, siblings=(*self.keys.siblings, certificate))

    def _put(self, name: str, data: bytes) -> None:
        path = self.archive / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
