"""Searches beside the catalogue's writer: a long one keeps no reception from committing (SQLite, WAL, mode=ro)."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from edge.model import Json, Located, PackId, Query
from edge.store import whereabouts
from edge.store.leads import Rows
from edge.store.search import answer, rows
from edge.store.sql import fault_of


class Finder:
    """Reads `catalogue.db`, which is there. Safe to use from several threads, each of which searches on a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()

    def find(self, query: Query, link_up: bool) -> Iterator[Json]:
        """The answers to a query as the catalogue was when it began, newest study first. Raises Corrupt or StoreFailed by the disk."""
        with self._reading() as run:
            found = rows(query, run)
        for row in found:
            yield answer(query, row, link_up)

    def instances(self, query: Query) -> list[Located]:
        """The visible instances that a query matches, at whatever level it asks, but for those of rejected studies."""
        with self._reading() as run:
            return whereabouts.instances(query, run)

    def any_rejected(self, query: Query) -> bool:
        """Whether a query matches instances of studies that a person rejected."""
        with self._reading() as run:
            return whereabouts.any_rejected(query, run)

    def headless(self, query: Query) -> list[tuple[PackId, int]]:
        """Packs in which there may be more of what a query matches than is catalogued, with how many instances of each are not."""
        with self._reading() as run:
            return whereabouts.headless(query, run)

    def people(self, patient_id: str, issuer: str) -> int:
        """How many patients have this ID, of this issuer; of whichever when that is empty."""
        with self._reading() as run:
            return whereabouts.people(patient_id, issuer, run)

    def close(self) -> None:
        """When nobody searches any more."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    @contextmanager
    def _reading(self) -> Iterator[whereabouts.Run]:
        with self._connection() as connection:

            def run(text: str, parameters: list[str | int]) -> Rows:
                # All rows at once: what reads slowly must not keep the log of the database from being folded.
                found: Rows = connection.execute(text, parameters).fetchall()
                return found

            yield run

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        try:
            connection = connection or self._open()
            yield connection
        except sqlite3.DatabaseError as fault:
            if connection is not None:
                connection.close()
            raise fault_of(fault, "The catalogue") from fault
        with self._lock:
            self._idle.append(connection)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(f"file:{quote(str(self._path))}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA busy_timeout = 5000")
        return connection
