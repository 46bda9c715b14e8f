"""Searches of C-FIND and QIDO-RS as SQL: a pure function from Query to statement, and from row to answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from edge.model import Availability, Json, Level, Query, availability
from edge.store.matching import CLASSES_IN_STUDY, LEVELS, MODALITIES_IN_STUDY, TABLE, conditions_of

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
_ALSO = {
    CLASSES_IN_STUDY: "(SELECT json_group_array(DISTINCT class) FROM instance JOIN series AS s USING (series)"
    " WHERE s.study = study.study AND visible = 1)",
    **dict(zip(("00201200", "00201202", "00201204"), _FIGURES[Level.PATIENT], strict=False)),
}
"""What is answered of a study only when it is wanted, because it is costly."""


def statement(query: Query) -> tuple[str, list[str | int]]:
    """The SELECT for a query and its parameters."""
    depth = LEVELS.index(query.level) + 1
    columns = (
        [f"{TABLE[level]}.attributes" for level in LEVELS[:depth]] + list(_FIGURES[query.level]) + [_ALSO[tag] for tag in _also(query)]
    )
    conditions, parameters = conditions_of(query)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    text = f"SELECT {', '.join(columns)} FROM {_FROM[query.level]}{where} ORDER BY {_ORDER[query.level]} LIMIT ? OFFSET ?"
    return text, [*parameters, -1 if query.limit is None else query.limit, query.offset]


def _also(query: Query) -> list[str]:
    return [tag for tag in _ALSO if tag in query.also] if query.level is Level.STUDY else []


def answer(query: Query, row: Sequence[Any], link_up: bool) -> Json:
    """One row as the dataset that answers the query: everything held at its level and above, with counts and Instance Availability."""
    level = query.level
    depth = LEVELS.index(level) + 1
    found: Json = {}
    for attributes in row[:depth]:
        found.update(json.loads(attributes))
    figures = row[depth:]
    if level is Level.PATIENT:
        studies, series, instances, away = figures
        found.update(_counts({"00201200": studies, "00201202": series, "00201204": instances}))
    elif level is Level.STUDY:
        modalities, series, instances, away, *more = figures
        found[MODALITIES_IN_STUDY] = {"vr": "CS", "Value": sorted(json.loads(modalities))}
        found.update(_counts({"00201206": series, "00201208": instances}))
        also = dict(zip(_also(query), more, strict=True))
        if CLASSES_IN_STUDY in also:
            found[CLASSES_IN_STUDY] = {"vr": "UI", "Value": sorted(json.loads(also.pop(CLASSES_IN_STUDY)))}
        found.update(_counts(also))
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
