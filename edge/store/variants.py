"""The variants of one instance, and what becomes of each: decided purely, from what they say and what a person chose."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.model import UID, Digest, PackId
from edge.store.catalogue import Catalogue
from edge.store.studies import is_dummy

OTHER_PATIENT = "it names another patient ID or birth date"
OTHER_PIXELS = "its pixels differ"
OTHER_SOURCE = "another AE title sent it with other attributes"
OTHER_ATTRIBUTES = "attributes of its series or its own differ"
UNREADABLE = "it cannot be compared"
FIRST_LOST = "the one before it is lost"


class Standing(enum.StrEnum):
    """What a variant is beside those before it."""

    DUPLICATE = "duplicate"
    """Says what an earlier one says. Hidden."""
    CORRECTION = "correction"
    """The same AE title sent the instance again with other patient or study attributes. The newest is visible."""
    CONFLICT = "conflict"
    """A person has to choose. The one before it stays visible."""
    DECIDED = "decided"
    """A person has chosen."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a variant says: digests of its patient and study attributes, the rest, and its pixels."""

    study: str
    rest: str
    pixels: str
    patient_id: str
    birth_date: str


@dataclass(frozen=True, slots=True)
class Variant:
    """A row of the catalogue."""

    row: int
    digest: Digest
    received_at: float
    source_ae: str
    transfer_syntax: UID
    pack: PackId
    dataset_offset: int
    dataset_length: int
    here: bool
    visible: bool
    standing: str | None
    stranger: bool
    """Its patient cannot be that of its study."""
    lost: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """Which variant of an instance a person chose, of those that had been received by then; None for none of them."""

    study: UID
    series: UID
    instance: UID
    digest: Digest | None
    chosen_at: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What stands of the variants of one instance. `standings` are in their order; None for the one that others are compared with."""

    visible: int | None
    standings: tuple[tuple[Standing | None, str | None], ...]


def variants_of(catalogue: Catalogue, study: str, series: str, instance: str) -> list[Variant]:
    """In the order in which they were received."""
    return [
        Variant(
            row, digest, received_at, source_ae, syntax, pack, offset, length, bool(here), bool(visible), standing, bool(other), bool(lost)
        )
        for row, digest, received_at, source_ae, syntax, pack, offset, length, here, visible, standing, other, lost in catalogue.rows(
            "variants_of", study, series, instance
        )
    ]


def undecided(variants: Sequence[Variant], choice: Choice | None) -> list[Variant]:
    """Those that have to be compared: what a person has chosen among needs no comparison, but for the one that stands."""
    if choice is None:
        return list(variants) if len(variants) > 1 else []
    after = [one for one in variants if one.received_at > choice.chosen_at]
    return [one for one in variants if one.digest == choice.digest or one in after] if after else []


def decide(variants: Sequence[Variant], choice: Choice | None, said: Callable[[Variant], Said | None]) -> Verdict:
    """What becomes of each variant, in the order in which they were received. `said` is asked about `undecided` ones alone; None where
    a variant cannot be read.
    """
    visible: int | None = None
    standings: list[tuple[Standing | None, str | None]] = []
    chosen = {one.digest for one in variants} & {choice.digest} if choice else set()
    compared: list[int] = []
    for place, one in enumerate(variants):
        if choice is not None and one.received_at <= choice.chosen_at and (chosen or choice.digest is None):
            if one.digest == choice.digest:
                visible = place
                compared.append(place)
            standings.append((Standing.DECIDED, None))
            continue
        standing, because = _beside(variants, visible, compared, place, said)
        standings.append((standing, because))
        compared.append(place)
        if standing in {None, Standing.CORRECTION}:
            visible = place
    return Verdict(visible, tuple(standings))


def _beside(
    variants: Sequence[Variant], visible: int | None, compared: Sequence[int], place: int, said: Callable[[Variant], Said | None]
) -> tuple[Standing | None, str | None]:
    one = variants[place]
    if one.stranger:
        return Standing.CONFLICT, OTHER_PATIENT
    if visible is None:
        return None, None
    before = variants[visible]
    if before.lost:
        return Standing.CORRECTION, FIRST_LOST
    mine, theirs = said(one), said(before)
    if mine is None or theirs is None:
        return Standing.CONFLICT, UNREADABLE
    if any(said(variants[earlier]) == mine for earlier in compared if not variants[earlier].lost):
        return Standing.DUPLICATE, None
    if mine.pixels != theirs.pixels:
        return Standing.CONFLICT, OTHER_PIXELS
    if mine.rest != theirs.rest:
        return Standing.CONFLICT, OTHER_ATTRIBUTES
    if _other_patient(mine, theirs):
        return Standing.CONFLICT, OTHER_PATIENT
    if one.source_ae != before.source_ae:
        return Standing.CONFLICT, OTHER_SOURCE
    return Standing.CORRECTION, None


def _other_patient(mine: Said, theirs: Said) -> bool:
    ids = {mine.patient_id, theirs.patient_id}
    births = {mine.birth_date, theirs.birth_date} - {""}
    return (len(ids) == 2 and not any(map(is_dummy, ids))) or len(births) == 2
