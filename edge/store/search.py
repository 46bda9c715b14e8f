"""Searches of C-FIND and QIDO-RS as SQL: a pure function from Query to statement, and from row to answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from typing import Any

from edge.model import Availability, Json, Level, Query, availability
from edge.store.leads import Lead, Rows, Statement, lead
from edge.store.matching import CLASSES_IN_STUDY, LEVELS, MODALITIES_IN_STUDY, TABLE, conditions_of

ORDER = {
    Level.PATIENT: "patient.name, patient.patient",
    Level.STUDY: "study.date DESC, study.time DESC, study.study DESC",
    Level.SERIES: "study.date DESC, study.time DESC, study.study DESC, series.number, series.series",
    Level.IMAGE: "study.date DESC, study.time DESC, study.study DESC, series.number, series.series, instance.number, instance.instance",
}
_LOST = "NOT EXISTS (SELECT 1 FROM holding WHERE holding.pack = {0}.pack)"
_FURTHEST = f"coalesce(max(1 + {_LOST.format('i')}), 0)"


def _counted(figure: str) -> str:
    """A figure of a study: as it was counted, or counted now."""
    return f"iif(figures.counted, figures.{figure}, (SELECT {figure} FROM study_count WHERE study_count.study = figures.study))"


def _over_studies(aggregate: str, condition: str = "") -> str:
    return (
        f"(SELECT coalesce({aggregate}, 0) FROM study AS s JOIN figures ON figures.study = s.study"
        f" WHERE s.patient = patient.patient{condition})"
    )


_FIGURES = {
    # patient: studies, series, instances, how far away the furthest of them is: 0 here, 1 in the archive, 2 rejected or lost
    Level.PATIENT: (
        _over_studies("count(*)"),
        _over_studies(f"sum({_counted('series')})"),
        _over_studies(f"sum({_counted('instances')})"),
        _over_studies(f"max({_counted('away')})", " AND s.rejected = 0"),
    ),
    # study: modalities, series, instances, how far away
    Level.STUDY: (
        _counted("modalities"),
        _counted("series"),
        _counted("instances"),
        f"iif(study.rejected, 2, {_counted('away')})",
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


def search(query: Query) -> Generator[Statement, Rows, Statement]:
    """The SELECT for a query and its parameters. Yields statements before, and is sent the rows of each."""
    return statement(query, (yield from lead(query)))


def rows(query: Query, run: Callable[[str, list[str | int]], Rows]) -> Rows:
    """The rows of a search."""
    return run_each(search(query), run)


def run_each(steps: Generator[Statement, Rows, Statement], run: Callable[[str, list[str | int]], Rows]) -> Rows:
    """The rows of the last of statements that are run one after the other."""
    try:
        step = next(steps)
        while True:
            step = steps.send(run(*step))
    except StopIteration as end:
        return run(*end.value)


def statement(query: Query, begin: Lead) -> Statement:
    """The SELECT for a query that begins where it says, and its parameters."""
    depth = LEVELS.index(query.level) + 1
    columns = (
        [f"{TABLE[level]}.attributes" for level in LEVELS[:depth]] + list(_FIGURES[query.level]) + [_ALSO[tag] for tag in _also(query)]
    )
    conditions, parameters = conditions_of(query)
    where = " AND ".join([begin.term[0], *conditions])
    text = f"SELECT {', '.join(columns)} FROM {source(query.level, begin)} WHERE {where} ORDER BY {ORDER[query.level]} LIMIT ? OFFSET ?"
    return text, [*begin.term[1], *parameters, -1 if query.limit is None else query.limit, query.offset]


def source(level: Level, begin: Lead) -> str:
    """The tables of a level and those above it, from the one to begin with on: up first, then down."""
    first = LEVELS.index(begin.level)
    depth = LEVELS.index(level) + 1
    tables = [TABLE[one] for one in LEVELS]
    joined = [f"{tables[first]} {begin.index}".strip()]
    joined += [f"{tables[step]} USING ({tables[step]})" for step in reversed(range(first))]
    joined += [f"{tables[step]} USING ({tables[step - 1]})" for step in range(first + 1, depth)]
    return " CROSS JOIN ".join([*joined, *(["figures USING (study)"] if level is Level.STUDY else [])])


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
        found[MODALITIES_IN_STUDY] = {"vr": "CS", "Value": json.loads(modalities)}
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
