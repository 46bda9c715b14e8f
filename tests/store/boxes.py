"""A cache with its catalogue, as reception leaves it: members in open packs, admitted as intake does."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from edge.config import Cache
from edge.dataset.attributes import describe, identify
from edge.dataset.walk import EXPLICIT_LE
from edge.model import UID, Digest, Urgency
from edge.store.catalogue import Catalogue
from edge.store.instances import Admission
from edge.store.pack import Member, OpenPack
from edge.store.packs import OpenPacks
from edge.store.reconcile import Reconciled, reconcile
from tests.dataset.datasets import dataset
from tests.store.rows import Clock

SETTINGS = Cache(quiet_seconds=60.0, stat_quiet_seconds=5.0, pack_max_members=3, pack_max_bytes=1 << 20)


class Box:
    """The store of a state directory. `start` is what a start does: a new catalogue connection, then reconcile."""

    def __init__(self, state: Path, settings: Cache = SETTINGS) -> None:
        self.state = state
        self.settings = settings
        self.cache = state / "cache"
        self.quarantine = state / "quarantine"
        self.open = self.cache / "open"
        for directory in (self.open, self.quarantine):
            directory.mkdir(parents=True, exist_ok=True)
        self.clock = Clock()
        self.connect()

    def connect(self) -> None:
        self.catalogue = Catalogue(self.state / "catalogue.db")
        self.packs = OpenPacks(self.cache, self.settings, self.catalogue, self.clock)

    def start(self) -> Reconciled:
        self.connect()
        return reconcile(self.cache, self.quarantine, self.catalogue, self.clock)

    def stop(self) -> None:
        self.catalogue.close()

    def write(self, pack: OpenPack, data: bytes, name: str | None = None) -> Member:
        """A durable member that nobody was told about."""
        identity = identify(data, EXPLICIT_LE)
        assert identity is not None
        writer = pack.append(identity, UID(EXPLICIT_LE), "CT99", int(self.clock.now()))
        writer.write(data)
        return writer.commit(name or f"{identity.sop_instance}.dcm")

    def admit(self, pack: OpenPack, data: bytes) -> Member:
        """A durable member that is catalogued: acknowledged."""
        member = self.write(pack, data)
        self.record(pack, data, member)
        return member

    def record(self, pack: OpenPack, data: bytes, member: Member) -> None:
        identity = identify(data, EXPLICIT_LE)
        assert identity is not None
        description = describe(data, EXPLICIT_LE, len(data))
        admission = Admission(identity, description, UID(EXPLICIT_LE), pack.id, member, self.clock.now(), "CT99")
        self.catalogue.open_pack(pack.id, pack.urgency, admission)

    def receive(self, data: bytes, urgency: Urgency = Urgency.ROUTINE) -> OpenPack:
        """Lend a pack, admit one instance, give the pack back."""
        identity = identify(data, EXPLICIT_LE)
        assert identity is not None
        pack = self.packs.lend(identity.study, urgency)
        self.admit(pack, data)
        self.packs.give_back(pack)
        return pack

    def close_due(self, everything: bool = False) -> list[OpenPack]:
        due = self.packs.take_due(everything)
        for pack in due:
            self.packs.close(pack)
        return due

    def closed(self) -> list[Path]:
        return sorted(self.cache.glob("??/*.tar"))

    def still_open(self) -> list[Path]:
        return sorted(self.open.iterdir())

    def proven(self) -> dict[str, bool]:
        """Every catalogued instance, and whether its bytes lie where the catalogue says."""
        found = {}
        for uid, pack, offset, length, digest in self._rows():
            path = next(iter([*self.cache.glob(f"??/{pack}.tar"), *self.open.glob(f"{pack}.tar")]))
            with path.open("rb") as file:
                data = os.pread(file.fileno(), length, offset)
            found[uid] = hashlib.sha256(data).hexdigest() == digest
        return found

    def _rows(self) -> list[tuple[str, str, int, int, str]]:
        packs = [path.stem for path in [*self.closed(), *self.still_open()] if path.suffix == ".tar"]
        rows = [(pack, row) for pack in packs for row in self.catalogue.rows("members_of_pack", pack)]
        return [(row[2], pack, row[7], row[8], row[5]) for pack, row in rows]


def instance(number: int, study: str = "1.2.3", pixels: bytes = b"pixels") -> bytes:
    return dataset(study=study, series=f"{study}.1", instance=f"{study}.1.{number}", number=number, pixels=pixels)


def sha256(path: Path) -> Digest:
    return Digest(hashlib.sha256(path.read_bytes()).hexdigest())
