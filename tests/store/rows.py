"""What tests admit to a catalogue: instances described by their datasets, in packs that need no file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from edge.dataset.attributes import describe, identify
from edge.dataset.walk import EXPLICIT_LE
from edge.model import UID, Digest, Json, Level, PackId, Query, Urgency
from edge.store.catalogue import Catalogue
from edge.store.instances import Admission
from edge.store.pack import Member
from tests.dataset.datasets import dataset


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


def pack_id(letter: str) -> PackId:
    return PackId(letter * 26)


def admission(
    pack: str = "a",
    offset: int = 0,
    *,
    study: str = "1.2.3",
    series: str = "1.2.3.1",
    instance: str = "1.2.3.1.1",
    number: int = 1,
    more: Mapping[int, tuple[str, bytes | str]] | None = None,
    received_at: float = 1000.0,
    here: bool = True,
) -> Admission:
    """A generated instance as intake or a head describes it, at `offset` of a pack."""
    data = dataset(study=study, series=series, instance=instance, number=number, more=more)
    identity = identify(data, EXPLICIT_LE)
    assert identity is not None
    member = Member(offset, offset + 1024, len(data), Digest(hashlib.sha256(data).hexdigest()))
    description = describe(data, EXPLICIT_LE, len(data))
    return Admission(identity, description, UID(EXPLICIT_LE), pack_id(pack), member, received_at, "CT99", here)


def put(catalogue: Catalogue, *admissions: Admission, urgency: Urgency = Urgency.ROUTINE) -> None:
    """Open a pack for each of them that is new, and admit the rest."""
    for one in admissions:
        if catalogue.pack(one.pack) is None:
            assert catalogue.open_pack(one.pack, urgency, one)
        else:
            assert catalogue.admit(one)


def close(catalogue: Catalogue, letter: str, closed_at: float = 2000.0, size: int = 10_000) -> None:
    catalogue.close_pack(pack_id(letter), closed_at, size, Digest("0" * 64))


def hold(catalogue: Catalogue, letter: str, upto: int = 1) -> None:
    with catalogue.facts(upto):
        catalogue.hold(pack_id(letter), 3000.0, 5000)


def hear(catalogue: Catalogue, letter: str, study: Json, series: list[Json], instances: int) -> None:
    """A rebuilt box hears of a pack that only the archive has."""
    with catalogue.facts(1):
        catalogue.hear_of(pack_id(letter), study, series, "1" * 64, instances, 3000.0)
        catalogue.hold(pack_id(letter), 3000.0, 5000)
        catalogue.settle_archived(pack_id(letter))


def ask(catalogue: Catalogue, level: Level, matching: dict[str, str] | None = None, link_up: bool = True, **window: int) -> list[Json]:
    return catalogue.find(Query(level, matching or {}, **window), link_up)


def values(answers: list[Json], tag: str) -> list[object]:
    """The first value of an attribute in each answer."""
    return [answer.get(tag, {}).get("Value", [None])[0] for answer in answers]
