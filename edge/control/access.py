"""What is read over DICOMweb, for the audit trail."""

from __future__ import annotations

from edge.control.message import Message


class NoteAccess(Message, frozen=True, tag="note-access"):
    """Before anybody gets to see something: it is in the audit trail when this is answered. Fails with AuditFull's sentence."""

    service: str
    """QIDO-RS or WADO-RS."""
    address: str
    study: str
    """Empty for a search over all studies."""
    keys: list[str]
    """The tags that a search matches."""


Request = NoteAccess
