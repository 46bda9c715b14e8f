"""Where the instances lie that a retrieve asks for, as SQL that begins at the key that an index finds, whichever level that is of."""

from __future__ import annotations

from collections.abc import Callable, Generator

from edge.model import Level, Located, PackId, Query
from edge.store.leads import Rows, Statement, lead
from edge.store.located import located
from edge.store.matching import conditions_of
from edge.store.search import ORDER, run_each, source

Run = Callable[[str, list[str | int]], Rows]
"""Runs a statement with its parameters."""

_SERIES, _SOP_INSTANCE = "0020000E", "00080018"
_COLUMNS = (
    "class, instance.uid, series.uid, study.uid, syntax, pack, dataset_offset, dataset_length, digest, here, correction, corrected_at"
)
_UNKNOWN = "max(0, pack.instances - (SELECT count(*) FROM instance WHERE instance.pack = pack.pack))"
_HEADLESS = "has_head = 0 AND here != 'whole'"


def instances(query: Query, run: Run) -> list[Located]:
    """The visible instances that a query matches, at whatever level it asks, but for those of rejected studies: newest study first, in
    series and instance order.
    """
    select = _select(Query(Level.IMAGE, query.matching), _COLUMNS, "", "study.rejected = 0", f"ORDER BY {ORDER[Level.IMAGE]}")
    return [located(tuple(row)) for row in run_each(select, run)]


def any_rejected(query: Query, run: Run) -> bool:
    """Whether a query matches instances of studies that a person rejected."""
    return bool(run_each(_select(Query(Level.IMAGE, query.matching), "1", "", "study.rejected = 1", "LIMIT 1"), run))


def headless(query: Query, run: Run) -> list[tuple[PackId, int]]:
    """Packs in which there may be more of what a query matches than is catalogued, because their heads are not here yet, with how many
    instances of each are not.
    """
    if not run(f"SELECT 1 FROM pack WHERE {_HEADLESS} LIMIT 1", []):  # as it is but for the first hours of a rebuilt box
        return []
    above = {tag: text for tag, text in query.matching.items() if tag != _SOP_INSTANCE and text}
    if not above:
        rows = run(f"SELECT pack, {_UNKNOWN} FROM pack WHERE {_HEADLESS}", [])
    else:
        packs = Query(Level.SERIES if _SERIES in above else Level.STUDY, above)
        rows = run_each(_select(packs, f"DISTINCT pack.pack, {_UNKNOWN}", "CROSS JOIN pack USING (study)", _HEADLESS, ""), run)
    return [(PackId(pack), count) for pack, count in rows]


def people(patient_id: str, issuer: str, run: Run) -> int:
    """How many patients have this ID, of this issuer; of whichever when that is empty."""
    ((count,),) = run("SELECT count(*) FROM patient WHERE patient_id = ?1 AND (?2 = '' OR issuer = ?2)", [patient_id, issuer])
    return int(count)


def _select(query: Query, columns: str, further: str, where: str, end: str) -> Generator[Statement, Rows, Statement]:
    """One SELECT over what a query matches at its level. Yields statements before, and is sent the rows of each."""
    begin = yield from lead(query)
    conditions, parameters = conditions_of(query)
    wanted = " AND ".join([begin.term[0], *conditions, where])
    return f"SELECT {columns} FROM {source(query.level, begin)} {further} WHERE {wanted} {end}", [*begin.term[1], *parameters]
