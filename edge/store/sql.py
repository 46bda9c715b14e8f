"""SQL lives in .sql files: named statements, one schema and its migrations, and a refusal of what a newer Outpost made."""

from __future__ import annotations

import enum
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from functools import cache
from importlib.resources import files
from pathlib import Path

import msgspec

from edge.durable import disk_errors, flush_directory
from edge.errors import BrokenOff, Corrupt, Exhausted, OutpostError, Permanent, StoreFailed, StoreFull
from edge.schema import Schema, backup_of, load

SQLITE_VERSION = sqlite3.sqlite_version_info[:3]
"""Of the library that Python was built with."""
_STATEMENT = re.compile(r"^-- (\w+) --\n(?:--[^\n]*\n)+(.*?)(?=^-- \w+ --\n|\Z)", re.MULTILINE | re.DOTALL)
_HERE = Path(__file__).parent
_JSON = msgspec.json.Encoder()
_STEPS = 100_000
"""Of SQLite's machine, some milliseconds, between two looks at whether to go on with a migration."""


class Database(enum.Enum):
    """The databases of edge: each has its schema, and a directory of migrations."""

    CATALOGUE = ("schema.sql", "catalogue")
    SITE = ("site.sql", "site")

    @property
    def schema(self) -> Schema:
        return _schema(*self.value)

    @property
    def cure(self) -> str:
        """What to do when it is damaged."""
        if self is Database.SITE:
            return "Stop Outpost and run `outpost site restore`: it puts the newest copy in its place."
        return "It is made again from the packs when Outpost starts."


@cache
def statements(resource: str) -> dict[str, str]:
    """The named statements of a .sql file of this package: `-- name --`, a line of purpose, the statement."""
    text = files("edge.store").joinpath(resource).read_text("utf-8")
    return {name: body.strip().rstrip(";") for name, body in _STATEMENT.findall(text)}


def json_text(value: object) -> str:
    """A JSON value as a column holds it."""
    return _JSON.encode(value).decode()


def connect(path: Path, database: Database, *, keep_old: bool = False, go_on: Callable[[], bool] | None = None) -> sqlite3.Connection:
    """The one writing connection of a database file, made where it is new, brought up to date where an older Outpost made it: whole or
    not at all, however this ends. Autocommit; the caller begins transactions.

    With `keep_old` a copy as it was is made beside it first, durable before anything changes; it replaces the one of the time before.
    `go_on` is asked before it is made or brought up to date, and every few milliseconds meanwhile; False breaks that off, which raises
    BrokenOff: it is as it was.
    Raises NewerDatabase, Corrupt for a file that is no database of this kind, StoreFull or StoreFailed by the disk.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA busy_timeout = 5000")
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        script = database.schema.script(found, path.name)
        if found and script and keep_old:
            _back_up(connection, backup_of(path))
        if script:
            if go_on is not None:
                if not go_on():
                    raise BrokenOff
                connection.set_progress_handler(lambda: not go_on(), _STEPS)
            _bring_up(connection, script, database.schema.version, path.name)
            if go_on is not None:
                connection.set_progress_handler(None, 0)
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.DatabaseError as fault:
        connection.close()
        raise fault_of(fault, path.name, database) from fault
    except OutpostError:
        connection.close()
        raise
    return connection


def fault_of(fault: sqlite3.DatabaseError, name: str, database: Database = Database.CATALOGUE) -> OutpostError:
    """What a fault that SQLite found in a database or its disk means to the caller. A broken constraint or a wrong call is raised again."""
    if type(fault) not in {sqlite3.DatabaseError, sqlite3.OperationalError}:
        raise fault
    code = fault.sqlite_errorcode & 0xFF
    if code == sqlite3.SQLITE_INTERRUPT:
        return BrokenOff()
    if code == sqlite3.SQLITE_FULL:
        return StoreFull()
    if code == sqlite3.SQLITE_CANTOPEN and _is_exhausted():
        return Exhausted()
    if code in {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG}:
        return Permanent(f"{name} does not take that statement ({fault}): it is Outpost's. Please report it.")
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return Corrupt(f"{name} is damaged ({fault}). {database.cure}")
    return StoreFailed(f"{name} cannot be used: {fault}. Check the disk; Outpost re-reads what it admitted.")


def _is_exhausted() -> bool:
    """Whether no file can be opened now for want of a descriptor: SQLite does not say why one could not be."""
    try:
        with disk_errors():
            os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except Exhausted:
        return True
    return False


def damage_mark(path: Path) -> Path:
    """An empty file: who read the catalogue found it damaged, and the next start makes it again."""
    return path.with_name(f"{path.name}.damaged")


def mark_damaged(path: Path) -> None:
    with suppress(OSError):  # a disk that takes no mark has more to say, and says it elsewhere
        damage_mark(path).touch(0o600)


@cache
def _schema(whole: str, migrations: str) -> Schema:
    return load(_HERE / whole, _HERE / "migrations" / migrations)


def _bring_up(connection: sqlite3.Connection, script: str, version: int, name: str) -> None:
    """One transaction. A migration may make a table anew, so foreign keys are looked at when all is done."""
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {version};")
    if connection.execute("PRAGMA foreign_key_check").fetchone():
        connection.execute("ROLLBACK")
        raise Corrupt(f"{name} contradicts itself and cannot be brought up to this version of Outpost. Install the one before again.")
    connection.execute("COMMIT")


def _back_up(connection: sqlite3.Connection, target: Path) -> None:
    fresh = target.with_name(f".{target.name}.new")
    with disk_errors():
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with closing(sqlite3.connect(fresh, isolation_level=None)) as copy:
                connection.backup(copy)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fresh.rename(target)
        flush_directory(target.parent)
