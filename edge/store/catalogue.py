"""The catalogue: edge's index of what exists, and its only writer.

One connection, guarded by one lock, used by whichever thread commits. Reception commits without a flush (a pack proves its members by
itself); what ends a stage of a pack (closed, coded, held, evicted) commits with one.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

from edge import tarblock
from edge.errors import Corrupt, Exhausted, OutpostError, Refused, StoreFailed, StoreFull
from edge.link import LinkState
from edge.model import UID, Correction, Digest, Identity, Json, Located, PackId, Query, Urgency, parse_uid
from edge.store.fold import first
from edge.store.instances import Admission, Instances
from edge.store.packstate import PackState, pack_state
from edge.store.quarantine import About
from edge.store.search import answer, rows
from edge.store.sql import Database, connect, fault_of, mark_damaged, statements
from edge.store.studies import Studies
from edge.store.whereabouts import instances

SCHEMA_VERSION = Database.CATALOGUE.schema.version


class Catalogue:
    """Writes and reads `catalogue.db`. Safe to use from several threads."""

    def __init__(
        self,
        path: Path,
        issuer_of: Callable[[str], str] = lambda source_ae: "",
        full: Callable[[], None] = lambda: None,
        failed: Callable[[StoreFailed], None] = lambda fault: None,
    ) -> None:
        """Opens or makes the database. `issuer_of` is the Issuer of Patient ID of what a source sends without one; empty = none. `full` and
        `failed` are told when the disk does not take a change, before the error is raised; `failed` also when the file is
        found damaged: the next start makes it again.

        Raises Refused for a newer schema, Corrupt for a damaged file.
        """
        self._path = path
        self._full = full
        self._failed = failed
        try:
            self._connection = connect(path, Database.CATALOGUE)
        except Corrupt:
            mark_damaged(path)
            raise
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._sql = (
            statements("queries.sql")
            | statements("forward_queries.sql")
            | statements("reconcile_queries.sql")
            | statements("rebuild_queries.sql")
            | statements("scrub_queries.sql")
            | statements("capacity_queries.sql")
            | statements("retire_queries.sql")
        )
        self._lock = threading.RLock()
        self._studies = Studies(self._connection, self._sql)
        self._rows = Instances(self._connection, self._sql, self._studies, issuer_of)

    def close(self) -> None:
        """Fold the log into the database file and close it."""
        with self._lock:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.close()

    # Reception

    def open_pack(self, pack: PackId, urgency: Urgency, first_of: Admission) -> bool:
        """Record a new pack together with its first instance, as `admit` does."""
        with self._described(first_of) as agrees:
            self._run("insert_pack", pack, urgency, first_of.received_at, first_of.received_at, first_of.identity.study)
            admitted = self._rows.insert(first_of, agrees)
            self._run("touch_study", pack=pack)
            return admitted

    def admit(self, admission: Admission) -> bool:
        """Record an instance in a pack that is recorded. False, and nothing changes, when this digest of it is catalogued already."""
        with self._described(admission) as agrees:
            return self._rows.insert(admission, agrees)

    def digests(self, identity: Identity) -> list[Digest]:
        """The variants that are catalogued of an instance, the visible one first."""
        return [Digest(row[0]) for row in self._all("digests_of_instance", identity.study, identity.series, identity.sop_instance)]

    def quarantine(self, digest: Digest, about: About) -> None:
        """Record a dataset that was set aside. Idempotent by digest."""
        with self._transaction():
            self._run("insert_quarantined", digest, *astuple(about))

    # The life of a pack

    def close_pack(self, pack: PackId, closed_at: float, size: int, sha256: Digest) -> None:
        with self._transaction(flushed=True):
            self._run("close_pack", closed_at=closed_at, bytes=size, sha256=sha256, pack=pack)
            self._run("touch_study", pack=pack)

    def mark_coded(self, pack: PackId, coded_at: float, coded_bytes: int, asked: str, objects: int) -> None:
        """A pack lies coded in the outbox. `asked` is the ask that ships it, kept until the pack is held."""
        with self._transaction(flushed=True):
            self._run("mark_coded", coded_at, coded_bytes, asked, objects, pack)

    def evict(self, pack: PackId) -> None:
        """The bytes of a pack are no longer counted on; the caller unlinks them afterwards. Raises Refused without a holding."""
        try:
            with self._transaction(flushed=True):
                self._run("set_here", "no", pack)
                self._run("set_instances_here", 0, pack)
        except sqlite3.IntegrityError as fault:
            raise Refused(f"Pack {pack} is not evicted: {fault}.") from fault

    def begin_recall(self, pack: PackId) -> None:
        """From now on a sparse file may stand in the cache."""
        with self._transaction(flushed=True):
            self._run("set_here", "some", pack)

    def recalled(self, pack: PackId, dataset_offsets: Sequence[int]) -> None:
        """These instances are durable in the cache again. Nothing changes in a pack that was evicted meanwhile."""
        with self._transaction(flushed=True):
            self._connection.executemany(self._sql["set_instance_here"], [(pack, offset) for offset in dataset_offsets])

    def set_whole(self, pack: PackId) -> None:
        """The pack is, byte for byte, as it was closed. Nothing changes when it was evicted meanwhile."""
        with self._transaction(flushed=True):
            self._run("set_whole", pack)
            self._ship_damaged(pack)

    def lose(self, pack: PackId, header_offsets: Iterable[int]) -> None:
        """The pack file does not prove these instances that are catalogued in it."""
        with self._transaction(flushed=True):
            self._connection.executemany(self._sql["lose_instance"], [(pack, offset) for offset in header_offsets])

    def forget_empty(self, pack: PackId) -> None:
        with self._transaction():
            self._run("forget_empty_pack", pack)

    def touch(self, packs: Iterable[PackId], used_at: float) -> None:
        """These packs were retrieved from."""
        with self._transaction():
            self._connection.executemany(self._sql["touch_pack"], [(used_at, pack) for pack in packs])

    # Decisions

    def remember(self, corrections: Iterable[Correction]) -> None:
        """Apply what people decided, now and to whatever is catalogued later."""
        with self._transaction(flushed=True):
            for one in corrections:
                self._studies.correct(one)

    def arrived_anew(self, study: UID, patient: Json, attributes: Json, source_ae: str) -> None:
        """A study was sent again with other patient or study attributes. Inside `change`."""
        self._studies.arrived_anew(study, self._rows.with_issuer(patient, source_ae), attributes)

    # Facts

    @contextmanager
    def facts(self, upto: int) -> Iterator[None]:
        """One flushed transaction around the effects of facts, which also commits how far the journal is read."""
        with self._transaction(flushed=True):
            yield
            self._run("set_facts_upto", upto)

    @contextmanager
    def change(self) -> Iterator[None]:
        """One flushed transaction around changes that belong together."""
        with self._transaction(flushed=True):
            yield

    def restated(self, upto: int) -> bool:
        """Asks up to here, and all that was told because of them, are behind us; whether the one that asked for the holdings was among
        them: then what is held by nobody is coded again.
        """
        among = self._connection.execute(self._sql["restated"], (upto,)).rowcount == 1
        if among:
            self._run("code_unheld")
        return among

    def believe_archive(self, pack: PackId, sha256: str) -> None:
        """What the archive has of a pack is what was closed; where a file without its head differs, the head is wanted. Inside `facts`."""
        self._run("differs_from_archive", sha256=sha256, pack=pack)

    def hold(self, pack: PackId, held_at: float, sealed_bytes: int, origin: str = "", *, news: bool = False) -> None:
        """The archive provably has a pack. `origin` is the id of the site that shipped it, where that is another one; `news` when routes
        are to send on what that one shipped. Inside `facts`.
        """
        self._run("insert_holding", pack, held_at, sealed_bytes)
        self._run("set_origin", origin or None, news, pack)
        self._run("settle_pack", float(int(held_at)), pack)

    def hear_of(self, pack: PackId, study: Json, series: list[Json], sha256: str, instances: int, held_at: float) -> None:
        """A pack that only the archive has: its study and series answer from now on; instances follow with its head.

        Raises Corrupt when study or series have no UID.
        """
        identity = parse_uid(first(study, "0020000D"))
        if identity is None or not all(parse_uid(first(one, "0020000E")) for one in series):
            raise Corrupt(f"what was told of pack {pack} has no study or series instance UID")
        self._studies.describe(study, study, identity, held_at)
        for one in series:
            self._rows.put_series(identity, UID(first(one, "0020000E")), one)
        at = float(int(held_at))
        self._run("insert_archived_pack", pack, at, at, sha256, instances, at, at, identity)

    def settle_archived(self, pack: PackId) -> None:
        """A pack that was heard of is in the archive alone; the holding stands by now."""
        self._run("set_here", "no", pack)

    def retire(self, pack: PackId) -> None:
        """Nothing is known of a pack any more; the last one of a study takes the study with it, and its patient if that was the only one.
        Idempotent. Its files go by `eviction.clear`. Inside `facts`.
        """
        self._run("retire", pack=pack)
        rows = self._all("place_of_pack", pack=pack)
        if not rows:
            return
        ((study, patient),) = rows
        for name in ("retire_forwards", "retire_instances", "retire_holding", "retire_pack"):
            self._run(name, pack=pack)
        for name in ("retire_series", "retire_study", "class_left"):
            self._run(name, study=study)
        self._run("forget_patient", patient)
        self._rows.forget()

    def left(self, pack: PackId) -> None:
        """No file of a retired pack lies here any more."""
        with self._transaction():
            self._run("left", pack)

    def learn_head(self, admissions: Sequence[Admission], pack: PackId, coded_bytes: int, objects: int) -> None:
        """The instances of a held pack, from its head: `coded_bytes` in head and parts, `objects` of it in the archive."""
        with self._transaction(flushed=True):
            for admission in admissions:
                self._rows.insert(admission, self._rows.describe(admission))
            ends = (one.member.dataset_offset + one.member.dataset_length for one in admissions)
            size = max((end + tarblock.padding(end) for end in ends), default=0) + len(tarblock.ZERO_TAIL)
            self._run("set_head", bytes=size, coded_bytes=coded_bytes, objects=objects, pack=pack)
            self._run("settle_received", pack=pack)

    def mark_progress(self, pack: str, confirmed: int, total: int) -> None:
        self._run("mark_progress", confirmed, total, pack)

    def mark_stopped(self, pack: str, reason: str) -> None:
        self._run("mark_stopped", reason, pack)

    def archive_damaged(self, pack: PackId, reason: str) -> None:
        """The archive's copy of a pack is not whole. Where the cache has all of it, it is coded and shipped once more, and stays until
        then; else it is as soon as all of it is back. Inside `facts`.
        """
        self._run("mark_damaged", reason, pack)
        self._ship_damaged(pack)

    def _ship_damaged(self, pack: PackId) -> None:
        if self._connection.execute(self._sql["unhold_damaged"], (pack,)).rowcount == 1:
            self._run("code_again", pack)

    def set_verification(self, told: str) -> None:
        self._run("set_verification", told)

    def set_allowance(self, told: str) -> None:
        self._run("set_allowance", told)

    def set_link(self, link: LinkState) -> None:
        self._run("set_link", *astuple(link))

    def link(self) -> LinkState | None:
        """What cloudsync said last of the link; None before it said anything."""
        rows = self._all("link")
        return LinkState(*rows[0]) if rows else None

    # Reading

    def find(self, query: Query, link_up: bool) -> list[Json]:
        """The answers to a query, newest study first."""
        with self._reading():
            found = rows(query, lambda text, parameters: self._connection.execute(text, parameters).fetchall())
        return [answer(query, row, link_up) for row in found]

    def locate(self, query: Query) -> list[Located]:
        """The visible instances that a query matches, at whatever level it asks, in series and instance order."""
        with self._reading():
            return instances(query, lambda text, parameters: self._connection.execute(text, parameters).fetchall())

    def pack(self, pack: str) -> PackState | None:
        rows = self._all("pack_state", pack)
        return pack_state(rows[0]) if rows else None

    def rows(self, name: str, *parameters: object, **named: object) -> list[tuple[Any, ...]]:
        """The rows of a named query of queries.sql."""
        return self._all(name, *parameters, **named)

    def figure(self, name: str) -> Any:
        """The single value of a named query; None when it has no row."""
        rows = self._all(name)
        return rows[0][0] if rows else None

    @contextmanager
    def _described(self, admission: Admission) -> Iterator[bool]:
        """A transaction in which patient, study and series of an instance stand; whether its patient can be that of its study."""
        with self._lock:  # of what is remembered nothing is retired in between
            with self._transaction():
                agrees = self._rows.describe(admission)
                yield agrees
            self._rows.remember(admission, agrees)

    @contextmanager
    def _transaction(self, flushed: bool = False) -> Iterator[None]:
        with self._lock:
            if flushed:
                self._connection.execute("PRAGMA synchronous = FULL")
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                if flushed:
                    self._run("count_studies")
                self._connection.execute("COMMIT")
            except BaseException as fault:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                if isinstance(fault, sqlite3.DatabaseError):
                    raise self._refused(fault) from fault
                raise
            finally:
                if flushed:
                    self._connection.execute("PRAGMA synchronous = NORMAL")

    def _refused(self, fault: sqlite3.DatabaseError) -> OutpostError:
        """What a change that was not made means. A damaged catalogue is a failed disk: the next start finds out what is left of it."""
        named = fault_of(fault, "The catalogue")
        if isinstance(named, StoreFull):
            if not isinstance(named, Exhausted):
                self._full()
            return named
        return self._stop(named)

    def _stop(self, named: OutpostError) -> StoreFailed:
        if isinstance(named, Corrupt):
            mark_damaged(self._path)
        failed = StoreFailed(str(named))
        self._failed(failed)
        return failed

    def _run(self, name: str, *parameters: object, **named: object) -> None:
        self._connection.execute(self._sql[name], named or parameters)

    def _all(self, name: str, *parameters: object, **named: object) -> list[tuple[Any, ...]]:
        with self._reading():
            return self._connection.execute(self._sql[name], named or parameters).fetchall()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.DatabaseError as fault:
                named = fault_of(fault, "The catalogue")
                if isinstance(named, Corrupt):
                    self._stop(named)
                raise named from fault
