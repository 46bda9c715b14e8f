"""Site state: the decisions that a rebuilt box needs. Apart from the catalogue, which is derived; every commit is flushed."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import zstandard

from edge.durable import flush_directory, write_whole
from edge.errors import Corrupt
from edge.model import AETitle, Commitment, Digest, Peer, Urgency
from edge.store.sql import Database, connect, fault_of, statements

SCHEMA_VERSION = Database.SITE.schema.version
COPY_MAX_BYTES = 64 << 20
RIGHTS = frozenset({"store", "find", "move", "get", "commit", "worklist"})


class SiteState:
    """Reads and writes `site.db`. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the database; errors as Catalogue."""
        self._connection = connect(path, Database.SITE, keep_old=True)
        self._connection.execute("PRAGMA synchronous = FULL")
        self._sql = statements("site_queries.sql") | statements("commitment_queries.sql") | statements("route_queries.sql")
        self._lock = threading.Lock()

    def close(self) -> None:
        with self._lock:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.close()

    def put_peer(self, peer: Peer) -> None:
        """Add a peer, or change the one with this AE title; in force for the next association."""
        with self._lock:
            self._connection.execute(self._sql["put_peer"], _columns(peer))

    def remove_peer(self, ae_title: AETitle) -> bool:
        """False when there is no such peer."""
        with self._lock:
            return self._connection.execute(self._sql["remove_peer"], (ae_title,)).rowcount == 1

    def peers(self) -> list[Peer]:
        with self._lock:
            return [_peer(row) for row in self._connection.execute(self._sql["peers"])]

    def peer(self, ae_title: AETitle) -> Peer | None:
        """The peer of this AE title, whoever it is that uses it."""
        with self._lock:
            row = self._connection.execute(self._sql["peer"], (ae_title,)).fetchone()
        return _peer(row) if row else None

    def issuer_of(self, source_ae: str) -> str:
        """The Issuer of Patient ID of what this AE title sends without one; empty = none."""
        peer = self.peer(AETitle(source_ae))
        return peer.default_issuer if peer else ""

    def destination(self, ae_title: AETitle) -> Peer | None:
        """The peer that may be called back under this title (it has a host), or None."""
        peer = self.peer(ae_title)
        return peer if peer is not None and peer.host else None

    def rows(self, name: str, /, *parameters: object, **named: object) -> list[tuple[Any, ...]]:
        """The rows of a named query. Raises StoreFull, StoreFailed or Corrupt."""
        with self._lock:
            try:
                return self._connection.execute(self._sql[name], named or parameters).fetchall()
            except sqlite3.DatabaseError as fault:
                raise fault_of(fault, "The site state") from fault

    def change(self, name: str, /, *parameters: object, **named: object) -> int:
        """How many rows a named statement changed; they are flushed. Errors as `rows`."""
        with self._lock:
            try:
                return self._connection.execute(self._sql[name], named or parameters).rowcount
            except sqlite3.DatabaseError as fault:
                raise fault_of(fault, "The site state") from fault

    @property
    def changes(self) -> int:
        """Rows changed since it was opened; grows with every decision."""
        return self._connection.total_changes

    def copy(self) -> bytes:
        """A consistent copy for the catalog, zstd-compressed: a pure function of what people decided."""
        with self._lock:
            script = "\n".join(self._connection.iterdump())
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
            fresh.executescript(script)
            fresh.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            return zstandard.ZstdCompressor(level=9).compress(fresh.serialize())


def digest(copy: bytes) -> Digest:
    """By which a copy is named and proven."""
    return Digest(hashlib.sha256(copy).hexdigest())


def restore(path: Path, copy: bytes) -> None:
    """Make site.db from a copy; it appears whole or not at all. The caller proved where the copy comes from.

    Raises Corrupt when it is no copy, Refused when a newer Outpost made it.
    """
    fresh = path.with_name(f".{path.name}.new")
    try:
        write_whole(fresh, zstandard.ZstdDecompressor().decompress(copy, max_output_size=COPY_MAX_BYTES), 0o600)
    except zstandard.ZstdError as fault:
        raise Corrupt(f"The site state from the archive does not unpack: {fault}.") from fault
    connect(fresh, Database.SITE).close()
    fresh.rename(path)
    flush_directory(path.parent)


def _columns(peer: Peer) -> dict[str, object]:
    columns = {field.name: getattr(peer, field.name) for field in fields(peer)}
    return {name: json.dumps(sorted(value)) if isinstance(value, frozenset) else value for name, value in columns.items()}


def _peer(row: tuple[Any, ...]) -> Peer:
    """From the columns in the order of the table, which is that of Peer."""
    ae_title, address, host, port, tls, tls_subject, user_name, passcode, rights, accept_syntaxes = row[:10]
    max_pdu_bytes, idle_seconds, max_associations, send_associations, issuer, charset, commitment = row[10:17]
    report_after, falls_back, urgency, skipped, accept_quarantined, retrieve_limit = row[17:]
    return Peer(
        ae_title=ae_title,
        address=address,
        host=host,
        port=port,
        tls=bool(tls),
        tls_subject=tls_subject,
        user_name=user_name,
        passcode=passcode,
        rights=frozenset(json.loads(rights)),
        accept_syntaxes=frozenset(json.loads(accept_syntaxes)),
        max_pdu_bytes=max_pdu_bytes,
        idle_seconds=idle_seconds,
        max_associations=max_associations,
        send_associations=send_associations,
        default_issuer=issuer,
        query_charset=charset,
        commitment=Commitment(commitment),
        report_after_seconds=report_after,
        commitment_falls_back=bool(falls_back),
        urgency=Urgency(urgency),
        send_skip_sop_classes=frozenset(json.loads(skipped)),
        accept_quarantined=bool(accept_quarantined),
        retrieve_limit_seconds=retrieve_limit,
    )
