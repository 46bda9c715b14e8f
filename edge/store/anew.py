"""A catalogue in the making: rows in the order in which they came to be, and no flush before it is finished."""

from __future__ import annotations

import enum
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from edge.durable import disk_errors, flush_directory
from edge.model import Correction, Digest, PackId
from edge.store.instances import Admission, Instances
from edge.store.quarantine import About
from edge.store.sql import Database, connect, damage_mark, fault_of, statements
from edge.store.studies import Studies

_BESIDE = ("-wal", "-shm", "-journal")


class Standing(enum.Enum):
    """How a catalogue file was found."""

    MISSING = "was not there"
    EMPTY = "was empty"
    DAMAGED = "was damaged"
    GOOD = "could be opened"


@dataclass(frozen=True, slots=True)
class PackRow:
    """A pack, as far as its files tell: columns of the catalogue by their names."""

    pack: PackId
    opened_at: float
    closed_at: float | None
    bytes: int | None
    sha256: Digest | None
    coded_at: float | None
    coded_bytes: int | None
    asked: str | None
    objects: int
    here: str


def standing(path: Path) -> Standing:
    """How a catalogue is before it is opened for good. What is damaged inside shows when it is read, and is marked then."""
    if damage_mark(path).exists():
        return Standing.DAMAGED
    try:
        if not path.stat().st_size:
            return Standing.EMPTY
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            ((version,),) = connection.execute(statements("rebuild_queries.sql")["user_version"])
        return Standing.GOOD if version else Standing.EMPTY
    except FileNotFoundError:
        return Standing.MISSING
    except sqlite3.DatabaseError as fault:
        if fault.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            return Standing.DAMAGED
        raise fault_of(fault, path.name) from fault


class NewCatalogue:
    """Makes a catalogue file; it is whole, and durable, when `finish` returns. Raises StoreFull or StoreFailed throughout."""

    def __init__(self, path: Path, issuer_of: Callable[[str], str]) -> None:
        """Begins anew where an attempt was broken off. `issuer_of` as for the catalogue."""
        self._path = path
        _remove(path)
        self._connection = connect(path, Database.CATALOGUE)
        self._connection.execute("PRAGMA synchronous = OFF")
        self._sql = statements("queries.sql") | statements("rebuild_queries.sql")
        self._studies = Studies(self._connection, self._sql)
        self._instances = Instances(self._connection, self._sql, self._studies, issuer_of)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Everything is put and admitted inside one."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except sqlite3.DatabaseError as fault:
            raise fault_of(fault, "The new catalogue") from fault

    def put_pack(self, row: PackRow, first_of: Admission) -> None:
        """A pack, before its instances; `first_of` is the first of them."""
        self._instances.describe(first_of)
        self._connection.execute(self._sql["put_pack"], asdict(row) | {"study": first_of.identity.study})

    def admit(self, admission: Admission) -> None:
        """The instance that was received next."""
        agrees = self._instances.describe(admission)
        self._instances.insert(admission, agrees)
        self._instances.remember(admission, agrees)

    def correct(self, correction: Correction) -> None:
        """What a person said next."""
        self._studies.correct(correction)

    def set_aside(self, digest: Digest, about: About) -> None:
        """A file of quarantine, with what is known of it."""
        columns = (about.reason, about.bytes, about.syntax, about.sop_instance, about.source_ae, about.received_at)
        self._connection.execute(self._sql["insert_quarantined"], (digest, *columns))

    def finish(self) -> None:
        """Count, and flush."""
        with self.batch():
            for name in ("count_instances", "newest_receptions", "begin_restating"):
                self._connection.execute(self._sql[name])
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.close()
        with disk_errors():
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """Idempotent."""
        self._connection.close()


def swap(fresh: Path, path: Path) -> None:
    """Put a finished catalogue in the place of the one at `path`, which goes. Killed in between, there is none, and it is made again:
    the log of the one is never read with the file of the other.
    """
    old = path.with_name(f".{path.name}.old")
    with disk_errors():
        with suppress(FileNotFoundError):
            path.rename(old)
            flush_directory(path.parent)
        for suffix in _BESIDE:
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        flush_directory(path.parent)
        fresh.rename(path)
        damage_mark(path).unlink(missing_ok=True)
        flush_directory(path.parent)
        old.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    with disk_errors():
        for suffix in ("", *_BESIDE):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
