"""Instances that edge-web was sent: into the intake, as those that come by DIMSE."""

from __future__ import annotations

import os
from collections.abc import Iterable

from edge.control.instances import Admit, Admitted
from edge.dimse.ports import Arrival
from edge.errors import Refused
from edge.intake import PackIntake
from edge.model import AETitle, Peer, parse_ae_title, parse_uid
from edge.responder import PEOPLE, Asker, Responder, at_once

_PIECE = 1 << 18


class Admitting:
    """Takes in what comes beside requests. Safe to use from several threads."""

    def __init__(self, intake: PackIntake, called_ae: AETitle) -> None:
        self._intake = intake
        self._called = called_ae

    def responders(self) -> Iterable[Responder]:
        return [at_once(Admit, PEOPLE, self._admit)]

    def _admit(self, request: Admit, asker: Asker) -> list[Admitted]:
        descriptor = asker.beside()
        sop_class, sop_instance, syntax = (parse_uid(text) for text in (request.sop_class, request.sop_instance, request.transfer_syntax))
        calling = parse_ae_title(request.calling_ae)
        if not (sop_class and sop_instance and syntax and calling):
            raise Refused("SOP class, SOP instance and transfer syntax must be UIDs, the calling AE an AE title.")
        reception = self._intake.begin(Arrival(sop_class, sop_instance, syntax, calling, self._called, request.address, Peer(calling)))
        try:
            buffer = bytearray(_PIECE)
            view = memoryview(buffer)
            while count := os.readv(descriptor, [buffer]):
                reception.write(view[:count])
            return [Admitted(outcome=reception.commit().value)]
        finally:
            reception.abort()
