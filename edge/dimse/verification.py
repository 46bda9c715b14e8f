"""Verification (PS3.4 annex A): C-ECHO."""

from __future__ import annotations

from edge.dimse.association import Association, Message
from edge.dimse.command import answer
from edge.dimse.status import SUCCESS


def respond(association: Association, message: Message) -> None:
    """Yes, we are here."""
    association.send(message.context, answer(message.command, SUCCESS))
