"""Attribute matching (PS3.4 section C.2.2.2, and PS3.18 section 8.3.4, which refers to it) as terms of a WHERE clause."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping

from edge.dataset.attributes import INTEREST, SEQUENCES
from edge.dataset.moments import EVENTS
from edge.model import Level, Query
from edge.store.moments import shifted_date, shifted_time, widened
from edge.store.names import fuzzy_other_name, fuzzy_patient_name, other_name, patient_name
from edge.store.terms import WILD, Term, glob, is_among, joined

LEVELS = (Level.PATIENT, Level.STUDY, Level.SERIES, Level.IMAGE)
TABLE = {Level.PATIENT: "patient", Level.STUDY: "study", Level.SERIES: "series", Level.IMAGE: "instance"}
MODALITIES_IN_STUDY, CLASSES_IN_STUDY = "00080061", "00080062"
EMPTY = '""'
"""What stands for an empty value where that was agreed on (PS3.4 section C.2.2.2.7)."""

_COLUMN = {
    "00100010": "patient.name",
    "00100020": "patient.patient_id",
    "00100021": "patient.issuer",
    "00100030": "patient.birth_date",
    "00100040": "patient.sex",
    "00080020": "study.date",
    "00080030": "study.time",
    "00080050": "study.accession",
    "0020000D": "study.uid",
    "00200010": "study.study_id",
    "00080060": "series.modality",
    "0020000E": "series.uid",
    "00200011": "series.number",
    "00080016": "instance.class",
    "00080018": "instance.uid",
    "00200013": "instance.number",
}
_NUMBERED = {"00200011", "00200013"}
_OF_STUDY = {
    MODALITIES_IN_STUDY: ("CS", "EXISTS (SELECT 1 FROM series AS m WHERE m.study = study.study AND {})", "m.modality"),
    CLASSES_IN_STUDY: (
        "UI",
        "EXISTS (SELECT 1 FROM series AS s JOIN instance AS c USING (series) WHERE s.study = study.study AND c.visible = 1 AND {})",
        "c.class",
    ),
}
_BELOW = {
    Level.PATIENT: ("study", "study.patient = patient.patient"),
    Level.STUDY: ("series", "series.study = study.study"),
    Level.SERIES: ("instance", "instance.series = series.series"),
}
_JOINS = {"study": "JOIN series USING (study)", "series": "JOIN instance USING (series)"}
_RANGES = frozenset({"DA", "TM", "DT"})
_NUMBERS = frozenset({"IS", "US", "DS"})
_INTEGER = re.compile(r" *[+-]?[0-9]{1,12} *")
_RANGE = re.compile(r"([^-]*)-([^-]*)")


_Terms = defaultdict[Level, list[Term]]
"""Conditions by the level that they are about."""


def conditions_of(query: Query) -> tuple[list[str], list[str | int]]:
    """The WHERE terms of a query at its level, and their parameters.

    An attribute that the catalogue does not hold restricts nothing (PS3.4 section C.2.2.1.3), nor does one of a level below that of the
    query, unless the query is relational.
    """
    terms = _terms(query)
    depth = LEVELS.index(query.level) + 1
    found = [term for level in LEVELS[:depth] for term in terms[level]]
    if query.level is Level.IMAGE:
        found.insert(0, ("instance.visible = 1", []))
    lowest = max((LEVELS.index(level) for level, some in terms.items() if some), default=0)
    if query.manner.relational and lowest >= depth:
        found.append(_below(query.level, lowest, terms))
    return [text for text, _ in found], [value for _, values in found for value in values]


def dates(query: Query, tag: str) -> Term | None:
    """Outside of these dates, which an index finds, no study (or patient) can match; None where no date or range of dates is asked for."""
    text = query.matching.get(tag, "")
    if text in {"", EMPTY} or "\\" in text or WILD.search(text):
        return None
    if query.manner.time_zone is not None and _COLUMN[tag] == "study.date":
        text = widened(text)
    return _value_term(_COLUMN[tag], "DA", text)


def _below(level: Level, lowest: int, terms: _Terms) -> Term:
    """There is something below what is asked for that meets all the terms about the levels below."""
    table, link = _BELOW[level]
    source, depth = table, LEVELS.index(level) + 1
    for step in LEVELS[depth:lowest]:
        source += " " + _JOINS[TABLE[step]]
    wanted = [term for step in LEVELS[depth : lowest + 1] for term in terms[step]]
    if lowest == LEVELS.index(Level.IMAGE):
        wanted.append(("instance.visible = 1", []))
    text = " AND ".join([link, *(text for text, _ in wanted)])
    return f"EXISTS (SELECT 1 FROM {source} WHERE {text})", [value for _, values in wanted for value in values]


def _terms(query: Query) -> _Terms:
    terms: _Terms = defaultdict(list)
    keys = {tag: text for tag, text in query.matching.items() if text not in {"", "*"}}
    items: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for tag, text in keys.items():
        sequence, dot, inner = tag.partition(".")
        if dot:
            items[sequence][inner] = text
        elif tag in _OF_STUDY:
            vr, exists, column = _OF_STUDY[tag]
            if query.level is not Level.PATIENT or query.manner.relational:
                term, values = _any_of(column, vr, text)
                terms[Level.STUDY].append((exists.format(term), values))
        else:
            vr, level = INTEREST.get(int(tag, 16), ("", None))
            if level is not None:
                terms[level].append(_term(level, tag, vr, text, keys, query))
    for sequence, wanted in items.items():
        level, known = SEQUENCES.get(int(sequence, 16), (None, {}))
        if level is not None:
            keys_known = {tag: (known[number], text) for tag, text in wanted.items() if (number := int(tag, 16)) in known}
            terms[level].append(_item_term(level, sequence, keys_known, query.manner.empty))
    return terms


def _term(level: Level, tag: str, vr: str, text: str, keys: Mapping[str, str], query: Query) -> Term:
    if query.manner.empty and text == EMPTY:
        return _is_empty(level, tag)
    if vr == "PN":
        fuzzy = query.manner.fuzzy
        if tag in _COLUMN:
            return _each("\\", text, fuzzy_patient_name if fuzzy else patient_name)
        return _one_of(_values(level, tag), _each("\\", text, fuzzy_other_name if fuzzy else other_name))
    event = next((event for event in EVENTS if tag in event), None)
    if event is not None:
        return _event_term(level, tag, vr, event, keys, query)
    if tag in _COLUMN:
        return _any_of(_COLUMN[tag], vr, text)
    return _one_of(_values(level, tag), _any_of("one.value", vr, text))


def _event_term(level: Level, tag: str, vr: str, event: tuple[str, str], keys: Mapping[str, str], query: Query) -> Term:
    """A date, a time, or a range from a date and time to another."""
    date, time = (_COLUMN.get(part) or f"coalesce({TABLE[level]}.attributes ->> '$.\"{part}\".Value[0]', '')" for part in event)
    zone = query.manner.time_zone
    if zone is not None and level is not Level.PATIENT:
        date, time = shifted_date(date, time, zone), shifted_time(date, time, zone)
    if query.manner.combined and all(_is_range(keys.get(part, "")) for part in event):
        return _moments(date, time, keys[event[0]], keys[event[1]])
    return _any_of(date if tag == event[0] else time, vr, keys[tag])


def _is_range(text: str) -> bool:
    return bool(_RANGE.fullmatch(text))


def _moments(date: str, time: str, dates: str, times: str) -> Term:
    """From the first time of the first date to the last time of the last (PS3.4 section C.2.2.2.5)."""
    first_date, last_date = (_date(part) for part in dates.split("-"))
    first_time, last_time = (_time(part) for part in times.split("-"))
    by_date: Term = (f"{date} BETWEEN ? AND ?", [first_date or "0", f"{last_date}~"])
    from_moment = first_date + first_time if first_date else "0"
    to_moment = f"{last_date}{last_time}~" if last_date else "~"
    return joined(" AND ", [by_date, (f"{date} || {time} BETWEEN ? AND ?", [from_moment, to_moment])])


def _any_of(column: str, vr: str, text: str) -> Term:
    """One term for one attribute: each of its values in turn (PS3.4 section C.2.2.2.8), which the list of UIDs is a case of."""
    values = list(dict.fromkeys(value.strip() for value in text.split("\\")))
    if vr == "UI":
        return is_among(column, values)
    if len(values) == 1:
        return _value_term(column, vr, values[0])
    # Where a search begins is decided already. The plus keeps SQLite from weighing indexes for each value: with two lists of hundreds
    # that took minutes.
    column = f"+{column}"
    exact = [found for value in values if (found := _exact(vr, value)) is not None]
    terms = [_value_term(column, vr, value) for value in values if _exact(vr, value) is None]
    return joined(" OR ", [*terms, is_among(_compared(column, vr), exact)] if exact else terms)


def _exact(vr: str, text: str) -> str | None:
    """What is equal to a value that matches alone (PS3.4 section C.2.2.2.1); None for a range or wildcards, and for a time: less
    precision means any value of it (PS3.5, VR TM).
    """
    if vr in _NUMBERS:
        return str(int(text)) if vr != "DS" and _INTEGER.fullmatch(text) else text
    if WILD.search(text) or (vr in _RANGES and (vr != "DA" or _is_range(text))):
        return None
    return _date(text) if vr == "DA" else text


def _compared(column: str, vr: str) -> str:
    return f"CAST({column} AS TEXT)" if vr in _NUMBERS else column


def _value_term(column: str, vr: str, text: str) -> Term:
    """PS3.4 section C.2.2.2.1 single value, .4 wildcard, .5 range."""
    text = text.strip()
    exact = _exact(vr, text)
    if exact is not None:
        return f"{_compared(column, vr)} = ?", [exact]
    if vr in _RANGES:
        clean = _date if vr == "DA" else _time
        if _is_range(text):
            low, _, high = text.partition("-")
            # A missing precision at the upper end means the whole of it: 1200 includes 12:00:59.
            return f"{column} BETWEEN ? AND ?", [clean(low) or "0", f"{clean(high)}~"]
        if not WILD.search(text):
            return f"{column} BETWEEN ? AND ?", [clean(text), f"{clean(text)}~"]
    return f"+{column} GLOB ?", [glob(text)]


def _item_term(level: Level, sequence: str, keys: dict[str, tuple[str, str]], may_be_empty: bool) -> Term:
    """One item meets all the keys (PS3.4 section C.2.2.2.6)."""
    terms: list[Term] = [("1", [])]
    for tag, (vr, text) in keys.items():
        place = f"item.value, '$.\"{tag}\".Value'"
        if may_be_empty and text == EMPTY:
            terms.append((f"json_extract({place}) IS NULL", []))
            continue
        found = _each("\\", text, other_name) if vr == "PN" else _any_of("one.value", vr, text)
        terms.append(_one_of(place, found))
    term, values = joined(" AND ", terms)
    return f"EXISTS (SELECT 1 FROM json_each({TABLE[level]}.attributes, '$.\"{sequence}\".Value') AS item WHERE {term})", values


def _is_empty(level: Level, tag: str) -> Term:
    if tag in _COLUMN:
        return (f"{_COLUMN[tag]} IS NULL", []) if tag in _NUMBERED else (f"{_COLUMN[tag]} = ''", [])
    return f"json_extract({_values(level, tag)}) IS NULL", []


def _one_of(values: str, term: Term) -> Term:
    """One of the values of an attribute, as `one.value`, meets the term."""
    return f"EXISTS (SELECT 1 FROM json_each({values}) AS one WHERE {term[0]})", term[1]


def _values(level: Level, tag: str) -> str:
    """The values of an attribute that has no column, as arguments of a JSON function."""
    return f"{TABLE[level]}.attributes, '$.\"{tag}\".Value'"


def _each(by: str, text: str, term: Callable[[str], Term]) -> Term:
    return joined(" OR ", [term(one) for one in text.split(by)])


def _date(text: str) -> str:
    """As DA is written; ACR-NEMA had dots."""
    return text.strip().replace(".", "")


def _time(text: str) -> str:
    return text.strip().replace(":", "")
