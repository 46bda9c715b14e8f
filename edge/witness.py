"""Keeps in the audit trail what edge-web shows."""

from __future__ import annotations

from collections.abc import Iterable

from edge.audit import Accessed, Audit
from edge.control.access import NoteAccess
from edge.control.message import Message
from edge.responder import PEOPLE, Asker, Responder, at_once


class Witness:
    """Answers requests. Safe to use from several threads."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def responders(self) -> Iterable[Responder]:
        return [at_once(NoteAccess, PEOPLE, self._note)]

    def _note(self, request: NoteAccess, _asker: Asker) -> list[Message]:
        self._audit.demand()
        self._audit.record(Accessed(service=request.service, address=request.address, study=request.study, keys=request.keys))
        return []
