"""Quarantine as people clear it: look, export, take in what identifies itself after all, discard. Stored bytes are never changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from edge import audit
from edge.audit import Audit
from edge.config import Layout
from edge.control.quarantine import DiscardQuarantined, ExportQuarantined, ListQuarantine, Quarantined, ReadmitQuarantined, ShowQuarantined
from edge.dataset.look import look
from edge.dataset.part10 import file_meta
from edge.dataset.source import PackSource
from edge.dataset.walk import EXPLICIT_LE, Malformed
from edge.dimse.ports import Arrival, Outcome
from edge.durable import disk_errors, write_all
from edge.errors import Permanent, Refused, Unknown
from edge.intake import PackIntake
from edge.model import UID, AETitle, Digest, Identity, Peer, parse_ae_title, parse_uid
from edge.responder import PEOPLE, Asker, Responder, at_once
from edge.store.catalogue import Catalogue
from edge.store.quarantine import discard

_PIECE = 1 << 18
_LEAST = 8
"""Digits of a digest that name it."""


class SetAside:
    """Answers what is asked about quarantine; what cannot be is refused with the reason and the cure. Safe to use from several threads."""

    def __init__(self, layout: Layout, catalogue: Catalogue, intake: PackIntake, trail: Audit, called_ae: AETitle) -> None:
        self._layout = layout
        self._catalogue = catalogue
        self._intake = intake
        self._audit = trail
        self._called = called_ae

    def responders(self) -> Iterable[Responder]:
        return [
            at_once(ListQuarantine, PEOPLE, self._list),
            at_once(ShowQuarantined, PEOPLE, self._show),
            at_once(ExportQuarantined, PEOPLE, self._export),
            at_once(ReadmitQuarantined, PEOPLE, self._readmit),
            at_once(DiscardQuarantined, PEOPLE, self._discard),
        ]

    def _list(self, _request: ListQuarantine, _asker: Asker) -> list[Quarantined]:
        return [_row(row, None) for row in self._catalogue.rows("quarantined")]

    def _show(self, request: ShowQuarantined, _asker: Asker) -> list[Quarantined]:
        return [self._one(request.digest)]

    def _export(self, request: ExportQuarantined, asker: Asker) -> list[Quarantined]:
        one, descriptor = self._one(request.digest), asker.beside()
        self._write(one, descriptor)
        self._tell(asker, "exported", one)
        return [one]

    def _readmit(self, request: ReadmitQuarantined, asker: Asker) -> list[Quarantined]:
        one = self._one(request.digest)
        self._file(one)
        self._tell(asker, "readmitted", one)
        return [one]

    def _discard(self, request: DiscardQuarantined, asker: Asker) -> list[Quarantined]:
        one = self._one(request.digest)
        self._forget(one)
        self._tell(asker, "discarded", one)
        return [one]

    def _one(self, digest: str) -> Quarantined:
        row = self._find(digest)
        return _row(row, self._identity(row))

    def _find(self, digest: str) -> tuple[Any, ...]:
        found = [row for row in self._catalogue.rows("quarantined") if len(digest) >= _LEAST and row[0].startswith(digest)]
        if len(found) != 1:
            raise Unknown(f"{digest!r} names no dataset in quarantine. `outpost quarantine ls` lists them by their digests.")
        return found[0]

    def _identity(self, row: tuple[Any, ...]) -> Identity | None:
        with self._path(row[0]).open("rb") as file:
            try:
                return look(PackSource(file.fileno(), 0, row[2]), row[3] or EXPLICIT_LE)[1]
            except Malformed:
                return None

    def _write(self, one: Quarantined, descriptor: int) -> None:
        """As a Part 10 file, whose meta says what is known."""
        known = [UID(uid) for uid in one.identity or [""] * 4]
        with disk_errors():
            write_all(descriptor, file_meta(Identity(*known), UID(one.transfer_syntax or EXPLICIT_LE), one.source_ae, Digest(one.digest)))
            self._copy(one, lambda piece: write_all(descriptor, piece))
            os.fsync(descriptor)

    def _file(self, one: Quarantined) -> None:
        calling, syntax = parse_ae_title(one.source_ae), parse_uid(one.transfer_syntax)
        if one.identity is None or calling is None or syntax is None:
            raise Refused(
                "It does not say what it is, or how it was sent is not known any more, so it cannot be filed. Export it, have it sent "
                "again by a device that identifies it, and discard it here."
            )
        sop_class, sop_instance = UID(one.identity[0]), UID(one.identity[1])
        reception = self._intake.begin(Arrival(sop_class, sop_instance, syntax, calling, self._called, "", Peer(calling)))
        try:
            self._copy(one, lambda piece: reception.write(memoryview(piece)))
            outcome = reception.commit()
        finally:
            reception.abort()
        if outcome not in {Outcome.STORED, Outcome.VARIANT, Outcome.DUPLICATE}:
            raise Permanent("It was set aside again. Export it to look at it.")
        self._forget(one)

    def _forget(self, one: Quarantined) -> None:
        """The file first: what is left of an interrupted discard is a row, which the next start forgets."""
        discard(self._layout.quarantine, one.digest)
        with self._catalogue.change():
            self._catalogue.rows("forget_quarantined", one.digest)

    def _copy(self, one: Quarantined, take: Callable[[bytes], object]) -> None:
        with self._path(one.digest).open("rb") as file:
            while piece := file.read(_PIECE):
                take(piece)

    def _path(self, digest: str) -> Path:
        return self._layout.quarantine / digest

    def _tell(self, asker: Asker, change: str, one: Quarantined) -> None:
        self._audit.record(
            audit.Decided(user=asker.user, study=one.identity[3] if one.identity else "", change=change, fields=[one.digest])
        )


def _row(row: tuple[Any, ...], identity: Identity | None) -> Quarantined:
    digest, reason, size, syntax, source_ae, received_at = row
    return Quarantined(
        digest=digest,
        reason=reason,
        bytes=size,
        transfer_syntax=syntax,
        source_ae=source_ae,
        received_at=received_at,
        identity=None if identity is None else [identity.sop_class, identity.sop_instance, identity.series, identity.study],
    )
