"""A database's schema as values, so that two ways of making it can be compared."""

from __future__ import annotations

import re
import sqlite3
from typing import Any


def shape(connection: sqlite3.Connection) -> dict[str, Any]:
    """Tables, indexes, triggers and views with their text, whatever its spacing, comments and the order in which they were made; columns
    in their order; foreign keys.
    """
    named = connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite!_stat%' ESCAPE '!'"
    ).fetchall()
    tables = [name for kind, name, _, _ in named if kind == "table"]
    return {
        "text": {(kind, name, table): _plain(sql) for kind, name, table, sql in named},
        "columns": {table: connection.execute(f"PRAGMA table_xinfo({table})").fetchall() for table in tables},
        "keys": {table: sorted(connection.execute(f"PRAGMA foreign_key_list({table})").fetchall()) for table in tables},
        "strict": sorted(row[1:] for row in connection.execute("PRAGMA table_list") if row[0] == "main"),
        "rows": {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables if table != "sqlite_sequence"},
    }


def _plain(sql: str | None) -> str | None:
    """The text of a definition without comments; a table that was made anew under another name is quoted by SQLite."""
    if sql is None:
        return None
    return (
        re.sub(r"\s+", " ", re.sub(r"--[^\n]*", "", sql)).replace('"', "").replace(" )", ")").replace("( ", "(").replace(" ,", ",").strip()
    )
