"""Site state: the decisions that a rebuilt box needs. Apart from the catalogue, which is derived; every commit is flushed."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import zstandard

from edge.durable import flush_directory, write_whole
from edge.errors import Corrupt
from edge.model import AETitle, Digest, Peer
from edge.store.sql import connect, statements

SCHEMA_VERSION = 1
COPY_MAX_BYTES = 64 << 20
RIGHTS = frozenset({"store", "find", "move", "get", "commit", "worklist"})


class SiteState:
    """Reads and writes `site.db`. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the database; errors as Catalogue."""
        self._connection = connect(path, "site.sql", SCHEMA_VERSION)
        self._connection.execute("PRAGMA synchronous = FULL")
        self._sql = statements("site_queries.sql")
        self._lock = threading.Lock()

    def close(self) -> None:
        with self._lock:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.close()

    def put_peer(self, peer: Peer) -> None:
        """Add a peer, or change the one with this AE title; in force for the next association."""
        with self._lock:
            self._connection.execute(
                self._sql["put_peer"],
                (
                    peer.ae_title,
                    peer.address,
                    peer.host,
                    peer.port,
                    json.dumps(sorted(peer.rights)),
                    peer.max_pdu_bytes,
                    peer.idle_seconds,
                    int(peer.accept_quarantined),
                ),
            )

    def remove_peer(self, ae_title: AETitle) -> bool:
        """False when there is no such peer."""
        with self._lock:
            return self._connection.execute(self._sql["remove_peer"], (ae_title,)).rowcount == 1

    def peers(self) -> list[Peer]:
        with self._lock:
            return [_peer(row) for row in self._connection.execute(self._sql["peers"])]

    def admit(self, calling_ae: AETitle, address: str) -> Peer | None:
        """The peer that calls from `address`, or None: deny by default."""
        peer = self.destination(calling_ae)
        if peer is None or not peer.address:
            return peer
        return peer if ipaddress.ip_address(address) in ipaddress.ip_network(peer.address, strict=False) else None

    def destination(self, ae_title: AETitle) -> Peer | None:
        with self._lock:
            row = self._connection.execute(self._sql["peer"], (ae_title,)).fetchone()
        return _peer(row) if row else None

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
    SiteState(fresh).close()
    fresh.rename(path)
    flush_directory(path.parent)


def _peer(row: tuple[str, str, str, int, str, int, float, int]) -> Peer:
    return Peer(
        ae_title=AETitle(row[0]),
        address=row[1],
        host=row[2],
        port=row[3],
        rights=frozenset(json.loads(row[4])),
        max_pdu_bytes=row[5],
        idle_seconds=row[6],
        accept_quarantined=bool(row[7]),
    )
