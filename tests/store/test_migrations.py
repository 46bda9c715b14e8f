"""Migrations: what an older Outpost made is brought up to date, whole or not at all, and keeps its rows."""

from __future__ import annotations

import itertools
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from cloudsync.ledger import database as ledger
from edge.errors import BrokenOff, Corrupt, Refused
from edge.model import AETitle, Level, Manner, Peer, Query
from edge.schema import NewerDatabase, Schema, backup_of, load
from edge.store.catalogue import Catalogue
from edge.store.site import SiteState
from edge.store.sql import Database, connect
from tests.schemas import shape
from tests.store.rows import admission, ask, close, hold, pack_id, put, values

SCHEMAS = {"catalogue": Database.CATALOGUE.schema, "site": Database.SITE.schema, "ledger": ledger.SCHEMA}
ROOT = Path(__file__).parents[2]


@contextmanager
def made_by(path: Path, *scripts: str, version: int = 1) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for script in scripts:
            connection.executescript(script)
        connection.execute(f"PRAGMA user_version = {version}")
        yield connection


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_new_database_is_the_sum_of_the_migrations(name: str) -> None:
    schema = SCHEMAS[name]
    with (
        made_by(Path(":memory:"), schema.whole) as whole,
        made_by(Path(":memory:"), *(text for _, text in schema.steps)) as summed,
    ):
        assert shape(whole) == shape(summed)


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_migration_says_what_it_is_for(name: str) -> None:
    assert [number for number, text in SCHEMAS[name].steps if not text.startswith("-- ")] == []
    assert [number for number, _ in SCHEMAS[name].steps] == sorted({number for number, _ in SCHEMAS[name].steps})


def first_catalogue(path: Path) -> None:
    """A catalogue as the first release left it: two studies in two packs, one of them held, something in quarantine."""
    today = path.with_name("today.db")
    catalogue = Catalogue(today)
    put(catalogue, admission("a", 0), admission("a", 4096, instance="1.2.3.1.2", number=2))
    put(catalogue, admission("b", 0, study="1.2.4", series="1.2.4.1", instance="1.2.4.1.1"))
    close(catalogue, "a")
    hold(catalogue, "a")
    catalogue.close()
    carry_over(today, path, Database.CATALOGUE.schema)


def carry_over(source: Path, target: Path, schema: Schema) -> None:
    """The rows of a database of today in tables of version 1, as far as those have the columns."""
    with made_by(target, schema.steps[0][1]) as old:
        old.execute("PRAGMA foreign_keys = OFF")
        old.execute("ATTACH ? AS today", (str(source),))
        for (table,) in old.execute(
            "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
        ).fetchall():
            known = {row[1] for row in old.execute(f"PRAGMA today.table_info({table})")}
            columns = ", ".join(row[1] for row in old.execute(f"PRAGMA main.table_info({table})") if row[1] in known)
            old.execute(f"DELETE FROM main.{table}")
            if columns:
                old.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM today.{table}")
        assert old.execute("PRAGMA foreign_key_check").fetchall() == []


def test_a_catalogue_of_the_first_release_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    first_catalogue(path)
    catalogue = Catalogue(path)
    assert values(ask(catalogue, Level.STUDY), "0020000D") == ["1.2.4", "1.2.3"]
    assert len(ask(catalogue, Level.IMAGE, {"0020000D": "1.2.3"})) == 2
    for pattern in ("DOE*", "*e^j*", "*ja*"):
        assert len(ask(catalogue, Level.STUDY, {"00100010": pattern})) == 2
    assert len(catalogue.find(Query(Level.STUDY, {"00100010": "jain doe"}, manner=Manner(fuzzy=True)), True)) == 2
    assert values(ask(catalogue, Level.STUDY), "00201208") == [1, 2]
    assert catalogue.rows("counts")[0][:2] == (2, 1)
    assert catalogue.rows("counts")[0][4] == 3
    assert catalogue.figure("cached_bytes") == 10_000
    state = catalogue.pack(pack_id("a"))
    assert state is not None
    assert state.held
    catalogue.close()
    with closing(sqlite3.connect(path)) as beside, closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(Database.CATALOGUE.schema.whole)
        made, new = shape(beside), shape(fresh)
        assert beside.execute("PRAGMA user_version").fetchone() == (Database.CATALOGUE.schema.version,)
    assert {part: made[part] for part in ("columns", "keys", "text")} == {part: new[part] for part in ("columns", "keys", "text")}


def test_site_state_of_the_first_release_keeps_its_rows_and_a_copy_of_what_it_was(tmp_path: Path) -> None:
    SiteState(tmp_path / "today.db").close()
    state = SiteState(tmp_path / "today.db")
    state.put_peer(Peer(AETitle("CT99"), address="10.0.0.8"))
    peers = state.peers()
    state.close()
    path = tmp_path / "site.db"
    carry_over(tmp_path / "today.db", path, Database.SITE.schema)
    again = SiteState(path)
    assert again.peers() == peers
    again.close()
    assert backup_of(path).exists() == (Database.SITE.schema.version > 1)


# The mechanism, with migrations of its own

FIRST = "-- What the first release knew.\nCREATE TABLE thing (thing INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;"
SECOND = "-- Things have a weight.\nALTER TABLE thing ADD COLUMN weight REAL;\nUPDATE thing SET weight = thing * 2.5;"
WHOLE = "CREATE TABLE thing (thing INTEGER PRIMARY KEY, name TEXT NOT NULL, weight REAL) STRICT;"


class Kind:
    """What `connect` needs of a database."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema


def test_numbers_and_names_of_migrations_are_read_strictly(tmp_path: Path) -> None:
    (tmp_path / "whole.sql").write_text(WHOLE)
    steps = tmp_path / "steps"
    steps.mkdir()
    with pytest.raises(Corrupt, match="no migration"):
        load(tmp_path / "whole.sql", steps)
    (steps / "0001_first.sql").write_text(FIRST)
    (steps / "0002_weight.sql").write_text(SECOND)
    assert load(tmp_path / "whole.sql", steps) == Schema(WHOLE, ((1, FIRST), (2, SECOND)))
    for name in ("0002_again.sql", "3_short.sql", "0003.sql"):
        (steps / name).write_text(SECOND)
        with pytest.raises(Corrupt, match="Install Outpost again"):
            load(tmp_path / "whole.sql", steps)
        (steps / name).unlink()


def test_only_what_is_missing_is_run_and_a_newer_database_is_refused() -> None:
    schema = Schema(WHOLE, ((1, FIRST), (2, SECOND)))
    assert [schema.script(found, "x") for found in range(3)] == [WHOLE, SECOND, ""]
    with pytest.raises(NewerDatabase, match=r"x was made by a newer Outpost \(schema 3, this one knows 2\)"):
        schema.script(3, "x")
    assert issubclass(NewerDatabase, Refused)


PROGRAM = """
import functools, os, signal, sqlite3, sys
from pathlib import Path
from edge.schema import Schema
from edge.store.sql import connect
class Kind: schema = Schema("", ((1, ""), (2, sys.argv[2])))
left = int(sys.argv[3])
def tick():
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
class Mortal(sqlite3.Connection):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        if left:
            self.set_progress_handler(tick, 10)
sqlite3.connect = functools.partial(sqlite3.connect, factory=Mortal)
connect(Path(sys.argv[1]), Kind, keep_old=True).close()
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "thing.db"
    with made_by(path, FIRST) as connection:
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO thing VALUES (?, 'n')", [(number,) for number in range(2000)])
        connection.execute("COMMIT")
    return path


def bring_up(path: Path, script: str, ticks: int = 0) -> int:
    """The exit code of a process that migrates; with `ticks`, it kills itself after so many tens of steps of SQLite's machine."""
    command = [sys.executable, "-c", PROGRAM, str(path), script, str(ticks)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode


def version_and_columns(path: Path) -> tuple[int, int, int]:
    with closing(sqlite3.connect(path)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (rows,) = connection.execute("SELECT count(*) FROM thing").fetchone()
        return version, len(connection.execute("PRAGMA table_info(thing)").fetchall()), rows


def test_a_migration_that_fails_changes_nothing_and_the_copy_is_whole(old: Path) -> None:
    assert bring_up(old, SECOND + "\nINSERT INTO thing VALUES (1, 'taken', 0);") != 0
    assert version_and_columns(old) == (1, 2, 2000)
    assert version_and_columns(backup_of(old)) == (1, 2, 2000)
    assert bring_up(old, SECOND) == 0
    assert version_and_columns(old) == (2, 3, 2000)
    assert version_and_columns(backup_of(old)) == (1, 2, 2000)
    assert sorted(path.name for path in old.parent.iterdir()) == ["thing.db", "thing.db.before"]


@pytest.mark.parametrize("asked", [1, 3])
def test_a_migration_that_is_broken_off_changes_nothing(tmp_path: Path, asked: int) -> None:
    path = tmp_path / "catalogue.db"
    first_catalogue(path)
    with closing(sqlite3.connect(path)) as beside:
        beside.executescript(
            "WITH RECURSIVE more(n) AS (VALUES (100) UNION ALL SELECT n + 1 FROM more LIMIT 20000) "
            "INSERT INTO patient SELECT n, 'ID' || n, 'ID' || n, '', 'name' || n, '', '', '', '{}' FROM more;"
        )
        before = shape(beside)
    answers = iter([True] * (asked - 1))
    with pytest.raises(BrokenOff):
        connect(path, Database.CATALOGUE, go_on=lambda: next(answers, False))
    assert next(answers, None) is None
    with closing(sqlite3.connect(path)) as beside:
        assert beside.execute("PRAGMA user_version").fetchone() == (1,)
        assert beside.execute("SELECT count(*) FROM patient WHERE patient >= 100").fetchone() == (20000,)
        assert shape(beside) == before


def test_a_migration_that_leaves_a_row_without_what_it_refers_to_changes_nothing(old: Path) -> None:
    script = "CREATE TABLE part (part INTEGER PRIMARY KEY, thing INTEGER NOT NULL REFERENCES thing);\nINSERT INTO part VALUES (1, 9999);"
    assert bring_up(old, script) != 0
    assert version_and_columns(old) == (1, 2, 2000)


def test_killed_anywhere_it_is_the_old_database_or_the_new_one(old: Path) -> None:
    seen = []
    for ticks in itertools.count(1, 160):
        code = bring_up(old, SECOND, ticks)
        seen.append(version_and_columns(old))
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert len(seen) > 5
    assert set(seen[:-1]) == {(1, 2, 2000)}
    assert seen[-1] == (2, 3, 2000)
