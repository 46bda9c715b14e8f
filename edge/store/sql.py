"""SQL lives in .sql files: named statements, one schema, and a refusal of what a newer Outpost made."""

from __future__ import annotations

import os
import re
import sqlite3
from functools import cache
from importlib.resources import files
from pathlib import Path

from edge.errors import Corrupt, OutpostError, Refused, StoreFailed, StoreFull

_STATEMENT = re.compile(r"^-- (\w+) --\n(?:--[^\n]*\n)+(.*?)(?=^-- \w+ --\n|\Z)", re.MULTILINE | re.DOTALL)


@cache
def statements(resource: str) -> dict[str, str]:
    """The named statements of a .sql file of this package: `-- name --`, a line of purpose, the statement."""
    text = files("edge.store").joinpath(resource).read_text("utf-8")
    return {name: body.strip().rstrip(";") for name, body in _STATEMENT.findall(text)}


def connect(path: Path, schema: str, version: int) -> sqlite3.Connection:
    """The one writing connection of a database file, made with `schema` where it is new. Autocommit; the caller begins transactions.

    Raises Refused for a database that a newer Outpost made, Corrupt for a file that is no database, StoreFull or StoreFailed by the disk.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA busy_timeout = 5000")
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found > version:
            raise Refused(
                f"{path.name} was made by a newer Outpost (schema {found}, this one knows {version}). Install that version again."
            )
        if found == 0:
            script = files("edge.store").joinpath(schema).read_text("utf-8")
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {version};\nCOMMIT;")
    except sqlite3.DatabaseError as fault:
        connection.close()
        raise fault_of(fault, path.name) from fault
    except Refused:
        connection.close()
        raise
    return connection


def fault_of(fault: sqlite3.DatabaseError, name: str) -> OutpostError:
    """What a fault that SQLite found in a database or its disk means to the caller. A broken constraint or a wrong call is raised again."""
    if type(fault) not in {sqlite3.DatabaseError, sqlite3.OperationalError}:
        raise fault
    code = fault.sqlite_errorcode & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StoreFull()
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return Corrupt(f"{name} is damaged ({fault}). Move it away; `outpost run` makes the catalogue again from the packs.")
    return StoreFailed(f"{name} cannot be used: {fault}. Check the disk; Outpost re-reads what it admitted.")
