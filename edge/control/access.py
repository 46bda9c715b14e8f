"""What is read over DICOMweb, for the audit trail."""

from __future__ import annotations

from edge.control.message import Message


class NoteAccess(Message, frozen=True, tag="note-access"):
    """Before anybody gets to see something: the audit trail has taken it when this is answered, and writes it at once. Fails with
    AuditFull's sentence.
    """

    service: str
    """QIDO-RS or WADO-RS."""
    address: str
    study: str
    """Empty for a search over all studies."""
    keys: list[str]
    """The tags that a search matches."""


Request = NoteAccess
