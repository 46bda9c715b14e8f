"""What a catalogue says, by natural keys: two of them can be compared whatever the numbers of their rows."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

NOT_DERIVED = {"allowance", "caller", "facts", "forward", "forwarding", "link", "rotten", "scrub", "figures", "total"}
"""Tables that schema.sql says are not derived, or that hold positions; and what is kept counted, for which the counting view is taken."""
COUNTED = "study_count"
KEYS = {
    "name": "name.text",
    "patient": "patient.identity",
    "study": "study.uid",
    "series": "study.uid || ' ' || series.uid",
    "instance": "study.uid || ' ' || series.uid || ' ' || instance.uid || ' ' || instance.digest",
}
JOINS = {
    "called": "called JOIN name USING (name) JOIN patient USING (patient)",
    COUNTED: "study_count JOIN study USING (study)",
    "patient": "patient",
    "study": "study JOIN patient USING (patient)",
    "series": "series JOIN study USING (study)",
    "instance": "instance JOIN series USING (series) JOIN study USING (study)",
    "pack": "pack JOIN study USING (study)",
}
REPLACED = {
    ("called", "name"): "name.text",
    ("called", "patient"): "patient.identity",
    (COUNTED, "study"): "study.uid",
    ("study", "patient"): "patient.identity",
    ("series", "study"): "study.uid",
    ("instance", "series"): "study.uid || ' ' || series.uid",
    ("pack", "study"): "study.uid",
}
LAST_USE = {("pack", "used_at")}


def dump(path: Path, *, but: frozenset[tuple[str, str]] = frozenset()) -> dict[str, list[dict[str, Any]]]:
    """Each table's rows, sorted; without row numbers, last-use times, and the columns named in `but`."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")} - NOT_DERIVED
        tables = [*sorted(name for name in names if not name.startswith(("sqlite_", "name_part"))), COUNTED]
        return {table: _rows(connection, table, LAST_USE | but) for table in tables}


def _rows(connection: sqlite3.Connection, table: str, but: set[tuple[str, str]] | frozenset[tuple[str, str]]) -> list[dict[str, Any]]:
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if (table, row[1]) not in but]
    if table in KEYS:
        columns.remove(table)
    said = ", ".join(f"{REPLACED.get((table, column), f'{table}.{column}')} AS {column}" for column in columns)
    key = f"{KEYS[table]} AS key, " if table in KEYS else ""
    rows = connection.execute(f"SELECT {key}{said} FROM {JOINS.get(table, table)}")
    return sorted((dict(row) for row in rows), key=lambda row: [str(value) for value in row.values()])
