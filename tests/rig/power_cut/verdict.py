"""What must hold of a state directory after any power cut: the sentences for what does not."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

import msgspec

from edge import startup
from edge.clock import SystemClock
from edge.config import Layout
from edge.errors import OutpostError
from edge.journal import Coded
from edge.journalfiles import JournalReader
from edge.model import PackId
from edge.store.files import Gone, PackFiles
from edge.store.site import SiteState
from edge.wall import Gate

InArchive = Callable[[PackId], bool]


@dataclass(frozen=True, slots=True)
class Promised:
    """What had been answered before the cut."""

    stored: set[tuple[str, str, str]]
    """Study, instance and digest of each C-STORE that was answered with 0000."""
    committed: set[tuple[str, str]]
    """Study and instance of what was reported as committed."""
    asked: set[str]
    """Transactions whose N-ACTION was answered with 0000."""


@dataclass(frozen=True, slots=True)
class Row:
    """An instance as the catalogue has it."""

    study: str
    uid: str
    digest: str
    here: bool
    pack: PackId
    offset: int
    length: int
    held: bool
    asked: str | None
    """The ask that ships its pack from the outbox, until it is held."""


def judge(layout: Layout, promised: Promised, in_archive: InArchive) -> list[str]:
    """Start the store as edge does, and look. `in_archive` says whether the archive had all of a pack when the power went."""
    faults: list[str] = []
    try:
        faults += _absent(layout)
        start(layout)
        faults += _sound(layout)
        with closing(sqlite3.connect(layout.catalogue)) as catalogue:
            rows = list(_rows(catalogue))
        faults += _instances(layout, rows, promised, in_archive)
        faults += _commitments(layout, promised)
        faults += _journals(layout)
        before = dict(_snapshot(layout))
        start(layout)
        after = dict(_snapshot(layout))
        faults += (f"a second start changed {name}" for name in sorted({*before, *after}) if before.get(name) != after.get(name))
    except (OutpostError, OSError, sqlite3.DatabaseError) as fault:
        faults.append(f"it does not start: {type(fault).__name__}: {fault}")
    return [*dict.fromkeys(faults)]


def start(layout: Layout) -> None:
    """What edge does before it serves anybody."""
    with closing(SiteState(layout.site)) as state:
        startup.open_catalogue(layout, state, SystemClock()).catalogue.close()


def _absent(layout: Layout) -> Iterator[str]:
    """Whatever else is wrong, what the catalogue counts on has a file, even before the start makes anything right."""
    with closing(sqlite3.connect(layout.catalogue)) as catalogue, PackFiles(layout) as files:
        for (pack,) in catalogue.execute("SELECT DISTINCT pack FROM instance WHERE here").fetchall():
            try:
                files.open(pack)
            except Gone:
                yield f"pack {pack} is counted on, and has no file"


def _sound(layout: Layout) -> Iterator[str]:
    for path in (layout.catalogue, layout.site, layout.ledger):
        with closing(sqlite3.connect(path)) as database:
            for check in ("integrity_check", "foreign_key_check"):
                found = database.execute(f"PRAGMA {check}").fetchall()
                if found not in ([("ok",)], []):
                    yield f"{path.name}: {check} says {found[:3]}"


def _rows(catalogue: sqlite3.Connection) -> Iterator[Row]:
    rows = catalogue.execute(
        "SELECT study.uid, instance.uid, digest, instance.here, instance.pack, dataset_offset, dataset_length, holding.pack NOT NULL, "
        "asked FROM instance JOIN pack USING (pack) JOIN series USING (series) JOIN study ON study.study = series.study "
        "LEFT JOIN holding ON holding.pack = instance.pack"
    )
    for study, uid, digest, here, pack, offset, length, held, asked in rows:
        yield Row(study, uid, digest, bool(here), PackId(pack), offset, length, bool(held), asked)


def _instances(layout: Layout, rows: Iterable[Row], promised: Promised, in_archive: InArchive) -> Iterator[str]:
    """Whatever the catalogue claims is true, and it claims whatever was answered."""
    with closing(sqlite3.connect(layout.ledger)) as ledger:
        holdings = {pack for (pack,) in ledger.execute("SELECT pack FROM packs WHERE state = 'held'")}
    true: set[tuple[str, str, str]] = set()
    with PackFiles(layout) as files:
        for row in rows:
            if row.held and not (row.pack in holdings and in_archive(row.pack)):
                yield f"pack {row.pack} is said to be held, and the archive did not have it"
            elif not row.here and not row.held and not _in_outbox(layout, row):
                yield f"instance {row.uid} {row.digest[:8]} is said to be nowhere"
            elif row.here and (read := _read(files, row)) != row.digest:
                yield f"instance {row.uid} {row.digest[:8]} is said to be in pack {row.pack}, where there is {read[:8]}"
            else:
                true.add((row.study, row.uid, row.digest))
    for study, uid, digest in sorted(promised.stored - true):
        yield f"LOST: instance {uid} {digest[:8]} of study {study} was acknowledged"
    known = {(study, uid) for study, uid, _ in true}
    for study, uid in sorted(promised.committed - known):
        yield f"LOST: instance {uid} of study {study} was committed to"


def _in_outbox(layout: Layout, row: Row) -> bool:
    """Whether all of its pack lies coded in the outbox, as the ask says."""
    if row.asked is None:
        return False
    ask = msgspec.json.decode(row.asked, type=Coded)
    paths = [(layout.outbox / row.pack / f"{part.number:06d}", part.digest) for part in ask.parts]
    return all(path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == digest for path, digest in paths)


def _read(files: PackFiles, row: Row) -> str:
    """The digest of the bytes where an instance is said to lie."""
    try:
        descriptor = files.open(row.pack)
    except Gone:
        return "no file"
    return hashlib.sha256(os.pread(descriptor, row.length, row.offset)).hexdigest()


def _commitments(layout: Layout, promised: Promised) -> Iterator[str]:
    with closing(sqlite3.connect(layout.site)) as site:
        known = {uid for (uid,) in site.execute("SELECT transaction_uid FROM commitment")}
        decided = site.execute("SELECT wanted, failed FROM commitment WHERE wanted IS NOT NULL AND failed IS NOT NULL").fetchall()
    for transaction in sorted(promised.asked - known):
        yield f"LOST: the request for storage commitment {transaction}"
    acknowledged = {uid for _, uid, _ in promised.stored}
    for wanted, failed in decided:
        success = {uid for _, uid in json.loads(wanted)} - {uid for _, uid, _ in json.loads(failed)}
        for uid in sorted(success - acknowledged):
            yield f"instance {uid} is to be reported as committed, and was not acknowledged"


def _journals(layout: Layout) -> Iterator[str]:
    """What each side has committed of the other's journal is still there, and whole."""
    with closing(sqlite3.connect(layout.catalogue)) as catalogue, closing(sqlite3.connect(layout.ledger)) as ledger:
        ((facts,),) = catalogue.execute("SELECT upto FROM facts").fetchall()
        ((asks,),) = ledger.execute("SELECT position FROM asks").fetchall()
    for directory, position in ((layout.facts, facts), (layout.asks, asks)):
        reader = JournalReader(Gate(directory), position)
        try:
            while reader.read():
                pass
        except OutpostError as fault:
            yield f"journal {directory.name} cannot be followed from {position}: {fault}"


def _snapshot(layout: Layout) -> Iterator[tuple[str, object]]:
    """Every row and every file of edge that a start may touch."""
    for path in (layout.catalogue, layout.site):
        with closing(sqlite3.connect(path)) as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'").fetchall()
            for (table,) in tables:
                yield f"table {table}", sorted(map(repr, database.execute(f"SELECT * FROM {table}")))
    for directory in (layout.cache, layout.heads, layout.quarantine):
        for path in sorted(directory.rglob("*")):
            yield str(path.relative_to(layout.edge)), hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
