"""Until when a study is kept: pure functions of its attributes and a rule. Dates are of the calendar; a study is due on the day after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

ADULT_YEARS = 18
_STUDY_DATE, _BIRTH_DATE, _MODALITY, _STUDY_UID = "00080020", "00100030", "00080060", "0020000D"
_EARLIEST = date(1970, 1, 1)
"""A study date before it is that of a device whose clock was not set."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How many years a study is kept, counted from its date."""

    years: int
    by_modality: Mapping[str, int] = field(default_factory=dict)
    """Of a study with several modalities the longest counts."""
    minors_until: int | None = None
    """Studies of a patient who was under 18 are kept at least until this birthday; where no birth date is known, as of a newborn."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A study, as the rule sees it."""

    study: str
    """Study Instance UID."""
    on: date
    """Study Date (0008,0020); where that cannot be right, the day of the newest holding."""
    dated: bool
    """Whether it has a study date that can be right."""
    modalities: tuple[str, ...]
    until: date
    """The last day on which it is kept."""


def judged(rule: Rule, study: Mapping[str, Any], series: Iterable[Mapping[str, Any]], held_at: float) -> Kept:
    """Until when a study is kept. `study` and `series` are in the DICOM JSON Model; `held_at` is of its newest pack, in seconds since the
    epoch.
    """
    held = datetime.fromtimestamp(held_at, UTC).date()
    said = date_of(text_of(study, _STUDY_DATE))
    on = said if said is not None and _EARLIEST <= said <= held + timedelta(days=1) else None
    modalities = tuple(sorted({text_of(one, _MODALITY) for one in series} - {""}))
    begun = on or held
    until = later(begun, max((rule.by_modality.get(each, rule.years) for each in modalities), default=rule.years))
    if rule.minors_until is not None:
        born = date_of(text_of(study, _BIRTH_DATE)) or begun
        if begun < later(born, ADULT_YEARS):
            until = max(until, later(born, rule.minors_until))
    return Kept(text_of(study, _STUDY_UID), begun, on is not None, modalities, until)


def later(day: date, years: int) -> date:
    """The same day so many years later; of a 29 February, where that year has none, 1 March."""
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return date(day.year + years, 3, 1)


def date_of(text: str) -> date | None:
    """A DA value (PS3.5 section 6.2), also in the form of ACR-NEMA, yyyy.mm.dd; None for any other text."""
    digits = text.strip().replace(".", "")
    if len(digits) != 8 or not (digits.isascii() and digits.isdigit()):
        return None
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None


def text_of(attributes: Mapping[str, Any], tag: str) -> str:
    """The first value of an attribute as text; empty when there is none."""
    values = (attributes.get(tag) or {}).get("Value") or [""]
    return str(values[0] or "")
