"""Matching of C-FIND (PS3.4 C.2.2.2) and QIDO-RS (PS3.18 8.3.4) as SQL: a pure function from Query to statement, and from row to answer."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from edge.dataset.attributes import INTEREST
from edge.model import Availability, Json, Level, Query, availability
from edge.store.fold import GROUPS, fold_groups

LEVELS = (Level.PATIENT, Level.STUDY, Level.SERIES, Level.IMAGE)
_TABLE = {Level.PATIENT: "patient", Level.STUDY: "study", Level.SERIES: "series", Level.IMAGE: "instance"}
_COLUMN = {
    "00100010": "patient.name",
    "00100020": "patient.patient_id",
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
_FROM = {
    Level.PATIENT: "patient",
    Level.STUDY: "study JOIN patient USING (patient)",
    Level.SERIES: "series JOIN study USING (study) JOIN patient USING (patient)",
    Level.IMAGE: "instance JOIN series USING (series) JOIN study USING (study) JOIN patient USING (patient)",
}
_ORDER = {
    Level.PATIENT: "patient.name, patient.patient",
    Level.STUDY: "study.date DESC, study.time DESC, study.study DESC",
    Level.SERIES: "study.date DESC, study.time DESC, study.study DESC, series.number, series.series",
    Level.IMAGE: "study.date DESC, study.time DESC, study.study DESC, series.number, series.series, instance.number, instance.instance",
}
_STUDIES = "(SELECT study FROM study AS s WHERE s.patient = patient.patient)"
_USED = "(SELECT study FROM study AS s WHERE s.patient = patient.patient AND s.rejected = 0)"
_LOST = "NOT EXISTS (SELECT 1 FROM holding WHERE holding.pack = {0}.pack)"
_FURTHEST = f"coalesce(max(1 + {_LOST.format('i')}), 0)"
_HEADLESS = "has_head = 0 AND here != 'whole'"
_FIGURES = {
    # patient: studies, series, instances, how far away the furthest of them is: 0 here, 1 in the archive, 2 rejected or lost
    Level.PATIENT: (
        f"(SELECT count(*) FROM {_STUDIES})",
        f"(SELECT count(*) FROM series WHERE study IN {_STUDIES})",
        f"(SELECT count(*) FROM instance JOIN series USING (series) WHERE study IN {_STUDIES} AND visible = 1)"
        f" + (SELECT coalesce(sum(instances), 0) FROM pack WHERE study IN {_STUDIES} AND has_head = 0 AND here != 'whole')",
        f"max((SELECT {_FURTHEST} FROM instance AS i JOIN series USING (series) WHERE study IN {_USED} AND visible = 1 AND here = 0),"
        f" EXISTS (SELECT 1 FROM pack WHERE study IN {_USED} AND {_HEADLESS}))",
    ),
    # study: modalities, series, instances, how far away. Packs that are known without their heads count by their own number.
    Level.STUDY: (
        "(SELECT json_group_array(DISTINCT modality) FROM series AS s WHERE s.study = study.study AND modality != '')",
        "(SELECT count(*) FROM series AS s WHERE s.study = study.study)",
        "(SELECT count(*) FROM instance AS i JOIN series AS s USING (series) WHERE s.study = study.study AND i.visible = 1)"
        " + (SELECT coalesce(sum(instances), 0) FROM pack WHERE pack.study = study.study AND has_head = 0 AND here != 'whole')",
        f"iif(study.rejected, 2, max((SELECT {_FURTHEST} FROM instance AS i JOIN series AS s USING (series)"
        " WHERE s.study = study.study AND i.visible = 1 AND i.here = 0),"
        f" EXISTS (SELECT 1 FROM pack WHERE pack.study = study.study AND {_HEADLESS})))",
    ),
    # series: instances, how far away; a series that is known without its heads has no instance rows
    Level.SERIES: (
        "(SELECT count(*) FROM instance AS i WHERE i.series = series.series AND i.visible = 1)",
        f"iif(study.rejected, 2, (SELECT {_FURTHEST} FROM instance AS i WHERE i.series = series.series AND i.visible = 1 AND i.here = 0))",
    ),
    # instance: transfer syntax, how far away
    Level.IMAGE: ("instance.syntax", f"iif(study.rejected, 2, iif(instance.here, 0, 1 + {_LOST.format('instance')}))"),
}
_RANGES = frozenset({"DA", "TM", "DT"})
_WILD = re.compile(r"[*?]")
_INTEGER = re.compile(r" *[+-]?[0-9]{1,12} *")


def statement(query: Query) -> tuple[str, list[Any]]:
    """The SELECT for a query and its parameters. An attribute that the catalogue does not hold restricts nothing (PS3.4 C.2.2.1.3)."""
    depth = LEVELS.index(query.level) + 1
    columns = [f"{_TABLE[level]}.attributes" for level in LEVELS[:depth]] + list(_FIGURES[query.level])
    conditions, parameters = conditions_of(query)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    text = f"SELECT {', '.join(columns)} FROM {_FROM[query.level]}{where} ORDER BY {_ORDER[query.level]} LIMIT ? OFFSET ?"
    return text, [*parameters, -1 if query.limit is None else query.limit, query.offset]


def conditions_of(query: Query) -> tuple[list[str], list[Any]]:
    """The WHERE terms of a query at its level, and their parameters."""
    conditions = ["instance.visible = 1"] if query.level is Level.IMAGE else []
    parameters: list[Any] = []
    allowed = LEVELS[: LEVELS.index(query.level) + 1]
    for tag, text in query.matching.items():
        if text in {"", "*"}:
            continue
        if tag == "00080061" and query.level is not Level.PATIENT:
            term, values = _any_of("modality", "CS", text)
            conditions.append(
                f"EXISTS (SELECT 1 FROM series AS m WHERE m.study = study.study AND {term.replace('modality', 'm.modality')})"
            )
            parameters += values
            continue
        vr, level = INTEREST.get(int(tag, 16), ("", None))
        if level not in allowed or level is None:
            continue
        if column := _COLUMN.get(tag):
            term, values = _any_of(column, vr, text)
        else:  # one of its values matches
            term, values = _any_of("one.value", vr, text)
            term = f"EXISTS (SELECT 1 FROM json_each({_TABLE[level]}.attributes, '$.\"{int(tag, 16):08X}\".Value') AS one WHERE {term})"
        conditions.append(term)
        parameters += values
    return conditions, parameters


def answer(level: Level, row: Sequence[Any], link_up: bool) -> Json:
    """One row as the dataset that answers the query: everything held at its level and above, with counts and Instance Availability."""
    depth = LEVELS.index(level) + 1
    found: Json = {}
    for attributes in row[:depth]:
        found.update(json.loads(attributes))
    figures = row[depth:]
    if level is Level.PATIENT:
        studies, series, instances, away = figures
        found.update(_counts({"00201200": studies, "00201202": series, "00201204": instances}))
    elif level is Level.STUDY:
        modalities, series, instances, away = figures
        found["00080061"] = {"vr": "CS", "Value": sorted(json.loads(modalities))}
        found.update(_counts({"00201206": series, "00201208": instances}))
    elif level is Level.SERIES:
        instances, away = figures
        found.update(_counts({"00201209": instances}) if instances else {})
        away = away or int(instances == 0)
    else:
        syntax, away = figures
        found["00083002"] = {"vr": "UI", "Value": [syntax]}
    reached = Availability.UNAVAILABLE if away == 2 else availability(not away, link_up)
    found["00080056"] = {"vr": "CS", "Value": [str(reached)]}
    return found


def _counts(values: dict[str, int]) -> Json:
    return {tag: {"vr": "IS", "Value": [count]} for tag, count in values.items()}


def _any_of(column: str, vr: str, text: str) -> tuple[str, list[Any]]:
    """One term for one attribute: PS3.4 C.2.2.2.1 single value, .2 list of UIDs, .4 wildcard, .5 range."""
    if vr == "UI":
        uids = [uid.strip() for uid in text.split("\\")]
        return f"{column} IN ({', '.join('?' * len(uids))})", uids
    if vr in _RANGES and "-" in text:
        low, _, high = text.partition("-")
        # A missing precision at the upper end means the whole of it: 1200 includes 12:00:59.
        return f"{column} BETWEEN ? AND ?", [low.strip() or "0", f"{high.strip()}~" if high.strip() else "~"]
    if vr in {"IS", "US", "DS"}:
        return f"CAST({column} AS TEXT) = ?", [str(int(text)) if vr != "DS" and _INTEGER.fullmatch(text) else text.strip()]
    if vr == "PN":
        return _patient_name(column, text) if column == "patient.name" else _other_name(column, text)
    values = [value.strip() for value in text.split("\\")]
    terms = [f"{column} GLOB ?" if _WILD.search(value) else f"{column} = ?" for value in values]
    return f"({' OR '.join(terms)})", [_glob(value) if _WILD.search(value) else value for value in values]


def _patient_name(column: str, text: str) -> tuple[str, list[Any]]:
    pattern = _glob(fold_groups(text.split("=")))
    if not pattern:
        return "1", []
    # Each component group may match alone: the folded groups are joined by =.
    patterns = [pattern, f"{pattern}=*", f"*={pattern}", f"*={pattern}=*"]
    return f"({' OR '.join([f'{column} GLOB ?'] * 4)})", patterns


def _other_name(column: str, text: str) -> tuple[str, list[Any]]:
    """Names of other people are kept as they arrived: matched without the case of A to Z. A single group matches any group of the name."""
    groups = {name: f"lower(coalesce({column} ->> '$.{name}', '')) GLOB ?" for name in GROUPS}
    asked = [_glob(_lower(group.rstrip("^ "))) for group in text.split("=")]
    if len(asked) == 1:
        return f"({' OR '.join(groups.values())})", asked * 3
    wanted = [(groups[name], pattern) for name, pattern in zip(GROUPS, asked, strict=False) if pattern]
    return f"({' AND '.join(term for term, _ in wanted) or '1'})", [pattern for _, pattern in wanted]


def _lower(text: str) -> str:
    """As SQLite's lower()."""
    return "".join(character.lower() if character.isascii() else character for character in text)


def _glob(text: str) -> str:
    return text.replace("[", "[[]")
