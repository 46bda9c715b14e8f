"""Instances that come another way than by DIMSE."""

from __future__ import annotations

from edge.control.message import Message


class Admit(Message, frozen=True, tag="admit"):
    """Take in one dataset, from the descriptor that comes beside the request, from its position to its end. Answered by Admitted."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    calling_ae: str
    address: str


class Admitted(Message, frozen=True, tag="admitted"):
    """`outcome` is the name of an Outcome of edge.dimse.ports in lower case."""

    outcome: str


Request = Admit
Answer = Admitted
