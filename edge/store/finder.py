"""Searches beside the catalogue's writer: a long one keeps no reception from committing (SQLite, WAL, mode=ro)."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from edge.model import Json, Query
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
        with self._connection() as connection:
            # All rows at once: what reads slowly must not keep the log of the database from being folded.
            found = rows(query, lambda text, parameters: connection.execute(text, parameters).fetchall())
        for row in found:
            yield answer(query, row, link_up)

    def close(self) -> None:
        """When nobody searches any more."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

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
