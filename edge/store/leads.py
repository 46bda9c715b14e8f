"""Where a search begins: the smallest set of rows that an index knows to hold every match, or the order in which matches are answered.

SQLite keeps no statistics here: how many rows a key selects is counted up to a limit before the search, which costs less than a wrong
guess by far.
"""

from __future__ import annotations

import json
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from edge.model import Level, Query
from edge.store.matching import EMPTY, LEVELS, MODALITIES_IN_STUDY, dates
from edge.store.names import who_is_called, who_may_be_meant
from edge.store.terms import WILD, Term, beginning, is_among

Statement = tuple[str, list[str | int]]
Rows = Sequence[Sequence[Any]]

FEW = 500
"""So many rows are looked at one by one sooner than anything else is counted."""
_LEAST, _MOST = 1000, 20_000


@dataclass(frozen=True, slots=True)
class Lead:
    """Rows of the table of a level among which every match is, and the index that finds them."""

    level: Level
    term: Term
    index: str
    counted: str = ""
    """FROM and WHERE that count those rows, or as many as matter, with the parameters of the term."""


IN_ORDER_OF_DATE = Lead(Level.STUDY, ("1", []), "INDEXED BY study_by_date")
IN_ORDER_OF_NAME = Lead(Level.PATIENT, ("1", []), "INDEXED BY patient_by_name")

_UIDS = {Level.STUDY: ("0020000D", "study.uid"), Level.SERIES: ("0020000E", "series.uid"), Level.IMAGE: ("00080018", "instance.uid")}


def lead(query: Query) -> Generator[Statement, Rows, Lead]:
    """Where to begin. Yields statements, and is sent the rows of each."""
    in_order = IN_ORDER_OF_NAME if query.level is Level.PATIENT else IN_ORDER_OF_DATE
    if by_uid := _by_uid(query):
        return by_uid
    known, called = _by_column(query), _called(query)
    if not called and all(one.level is Level.STUDY and one.index == in_order.index for one in known):
        return known[0] if known else in_order
    most = enough(query.limit)
    counts = yield from _counts(known, most)
    count, best = min(zip(counts, known, strict=True), key=lambda pair: pair[0], default=(most, in_order))
    if called and count > FEW:
        text, values = called
        patients = yield f"{text} LIMIT ?", [*values, most]
        # A patient has some studies, which are then to be sorted.
        if len(patients) < min(most, count):
            return _among(patients)
    return best if count < most else next((one for one in known if one.index == in_order.index), in_order)


def enough(limit: int | None) -> int:
    """From so many rows on it is better to try them in the order in which they are answered, until there are as many as are wanted:
    the fewer are wanted, the sooner those are found.
    """
    return _MOST if limit is None else min(_MOST, max(_LEAST, 300 * math.isqrt(limit)))


def _counts(known: Sequence[Lead], most: int) -> Generator[Statement, Rows, list[int]]:
    if not known:
        return []
    parts = ", ".join(f"(SELECT count(*) FROM (SELECT 1 FROM {one.counted} LIMIT ?))" for one in known)
    ((*counts,),) = yield f"SELECT {parts}", [value for one in known for value in (*one.term[1], most)]
    return counts


def _by_uid(query: Query) -> Lead | None:
    for level in LEVELS[1 : LEVELS.index(query.level) + 1]:
        tag, column = _UIDS[level]
        uids = [uid.strip() for uid in query.matching.get(tag, "").split("\\")]
        if query.matching.get(tag, "") not in {"", "*", EMPTY}:
            return Lead(level, is_among(column, uids), "")
    return None


def _by_column(query: Query) -> list[Lead]:
    found: list[Lead] = []
    if term := dates(query, "00100030"):
        found.append(Lead(Level.PATIENT, term, "INDEXED BY patient_by_birth_date", f"patient WHERE {term[0]}"))
    if term := _sought("patient.patient_id", query.matching.get("00100020", "")):
        found.append(Lead(Level.PATIENT, term, "INDEXED BY patient_by_id", f"patient WHERE {term[0]}"))
    if query.level is Level.PATIENT:
        return found
    if term := dates(query, "00080020"):
        found.append(Lead(Level.STUDY, term, IN_ORDER_OF_DATE.index, f"study WHERE {term[0]}"))
    if term := _sought("study.accession", query.matching.get("00080050", "")):
        found.append(Lead(Level.STUDY, term, "INDEXED BY study_by_accession", f"study WHERE {term[0]}"))
    if term := _sought("series.modality", query.matching.get(MODALITIES_IN_STUDY, "")):
        text, values = term
        some = f"study.study IN (SELECT series.study FROM series WHERE {text})", values
        found.append(Lead(Level.STUDY, some, "NOT INDEXED", f"series WHERE {text}"))
    return found


def _sought(column: str, text: str) -> Term | None:
    """What an index can find of a single value or the beginning of one."""
    text = text.strip()
    if text in {"", EMPTY} or "\\" in text:
        return None
    found = WILD.search(text)
    return (f"{column} = ?", [text]) if found is None else beginning(column, text[: found.start()])


def _called(query: Query) -> Term | None:
    text = query.matching.get("00100010", "")
    if text in {"", "*", EMPTY} or "\\" in text:
        return None
    return who_may_be_meant(text) if query.manner.fuzzy else who_is_called(text)


def _among(patients: Rows) -> Lead:
    numbers = json.dumps([row[0] for row in patients])
    return Lead(Level.PATIENT, ("patient.patient IN (SELECT value FROM json_each(?))", [numbers]), "NOT INDEXED")
