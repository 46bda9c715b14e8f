"""Site state: the decisions that a rebuilt box needs. Apart from the catalogue, which is derived; every commit is flushed."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import zstandard

from edge.durable import disk_errors, flush_directory, write_whole
from edge.errors import Corrupt, OutpostError
from edge.model import AETitle, Commitment, Digest, Peer, Urgency
from edge.store.sql import Database, connect, fault_of, statements

SCHEMA_VERSION = Database.SITE.schema.version
COPY_MAX_BYTES = 64 << 20
RIGHTS = frozenset({"store", "find", "move", "get", "commit", "worklist"})


class SiteState:
    """Reads and writes `site.db`. Safe to use from several threads."""

    def __init__(self, path: Path, decided: Callable[[], None] = lambda: None) -> None:
        """Opens or makes the database; errors as `connect`, Corrupt too for damage anywhere in it: it is small, and read as a whole.
        `decided` is called, in any thread, when something that a person decided has changed and is flushed.
        """
        self._decided = decided
        self._connection = connect(path, Database.SITE, keep_old=True)
        try:
            _prove(self._connection, path.name)
        except OutpostError:
            self._connection.close()
            raise
        self._connection.execute("PRAGMA synchronous = FULL")
        self._sql = statements("site_queries.sql") | statements("commitment_queries.sql") | statements("route_queries.sql")
        self._lock = threading.Lock()

    def close(self) -> None:
        with self._lock:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.close()

    def put_peer(self, peer: Peer) -> None:
        """Add a peer, or change the one with this AE title; in force for the next association. Errors as `rows`."""
        self.decide("put_peer", **_columns(peer))

    def remove_peer(self, ae_title: AETitle) -> bool:
        """False when there is no such peer. Errors as `rows`."""
        return self.decide("remove_peer", ae_title) == 1

    def peers(self) -> list[Peer]:
        """Errors as `rows`."""
        return [_peer(row) for row in self.rows("peers")]

    def peer(self, ae_title: AETitle) -> Peer | None:
        """The peer of this AE title, whoever it is that uses it. Errors as `rows`."""
        rows = self.rows("peer", ae_title)
        return _peer(rows[0]) if rows else None

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
                raise _named(fault) from fault

    def change(self, name: str, /, *parameters: object, **named: object) -> int:
        """How many rows a named statement changed; they are flushed. For errands: what a person decided goes through `decide`. Errors as
        `rows`.
        """
        with self._lock:
            try:
                return self._connection.execute(self._sql[name], named or parameters).rowcount
            except sqlite3.DatabaseError as fault:
                raise _named(fault) from fault

    def decide(self, name: str, /, *parameters: object, **named: object) -> int:
        """As `change`, for what a person decided: a copy of it is wanted soon."""
        changed = self.change(name, *parameters, **named)
        if changed:
            self._decided()
        return changed

    def settings(self) -> dict[str, bytes]:
        """Files of the box that made the copy from which this one was rebuilt, by name; nothing on any other. Errors as `rows`."""
        return dict(self.rows("settings"))

    def copy(self, settings: Mapping[str, bytes] = MappingProxyType({})) -> bytes:
        """A consistent copy for the catalog, zstd-compressed: a pure function of what people decided, of the errands that are not done, and
        of `settings`: outpost.toml and the TLS files, by name.

        What an errand went through is left out: a rebuilt box looks at each as if it had just come. Errors as `rows`.
        """
        with self._lock:
            try:
                script = "\n".join(self._connection.iterdump())
            except sqlite3.DatabaseError as fault:
                raise _named(fault) from fault
        with closing(_in_memory(script)) as everything:
            for name in ("leave_out_ended", "leave_out_answered", "leave_out_attempts", "remove_settings"):
                everything.execute(self._sql[name])
            everything.executemany(self._sql["put_setting"], sorted(settings.items()))
            kept = "\n".join(everything.iterdump())
        with closing(_in_memory(kept)) as fresh:  # made anew: what was deleted leaves no trace in it
            fresh.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            return zstandard.ZstdCompressor(level=9).compress(fresh.serialize())


def _in_memory(script: str) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(script)
    return connection


def digest(copy: bytes) -> Digest:
    """By which a copy is named and proven."""
    return Digest(hashlib.sha256(copy).hexdigest())


def restore(path: Path, copy: bytes) -> None:
    """Make site.db from a copy; it appears whole or not at all. The caller proved where the copy comes from, and is alone on the directory.

    What was there before is kept beside it as `site.db.old`; killed in between, there is no site.db. Raises Corrupt when it is no copy,
    Refused when a newer Outpost made it, StoreFull or StoreFailed by the disk; nothing has changed then.
    """
    fresh = path.with_name(f".{path.name}.new")
    try:
        plain = zstandard.ZstdDecompressor().decompress(copy, max_output_size=COPY_MAX_BYTES)
    except zstandard.ZstdError as fault:
        raise Corrupt(f"The copy of the site state does not unpack: {fault}.") from fault
    with disk_errors():
        write_whole(fresh, plain, 0o600)
    SiteState(fresh).close()
    with disk_errors():
        for suffix in ("", "-wal", "-shm"):  # the log of the one is never read with the file of the other
            with suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(path.with_name(f"{path.name}.old{suffix}"))
        flush_directory(path.parent)
        fresh.rename(path)
        flush_directory(path.parent)


def _prove(connection: sqlite3.Connection, name: str) -> None:
    try:
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as fault:
        raise fault_of(fault, name, Database.SITE) from fault
    if found != "ok":
        raise Corrupt(f"{name} is damaged ({found}). {Database.SITE.cure}")


def _named(fault: sqlite3.DatabaseError) -> OutpostError:
    return fault_of(fault, "The site state", Database.SITE)


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
