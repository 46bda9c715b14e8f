"""The rows of series and instances: what is put into the catalogue of an instance that is durable in a pack.

Used inside a transaction of the catalogue; no method commits.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge.dataset.attributes import Description
from edge.model import UID, Identity, Json, PackId
from edge.store.fold import first
from edge.store.pack import Member
from edge.store.sql import json_text
from edge.store.studies import BIRTH_DATE, ISSUER, PATIENT_ID, Studies, patient_part

KNOWN_SERIES = 10_000


@dataclass(frozen=True, slots=True)
class Admission:
    """An instance that is durable in a pack, with what the catalogue is to hold of it."""

    identity: Identity
    description: Description
    transfer_syntax: UID
    pack: PackId
    member: Member
    received_at: float
    source_ae: str
    here: bool = True


class Instances:
    """Makes series and instance rows over the connection of the catalogue; patients and studies by `Studies`."""

    def __init__(self, connection: sqlite3.Connection, sql: Mapping[str, str], studies: Studies, issuer_of: Callable[[str], str]) -> None:
        """`issuer_of` is the Issuer of Patient ID of what a source sends without one; empty = none."""
        self._connection = connection
        self._sql = sql
        self._studies = studies
        self._issuer_of = issuer_of
        self._known: dict[tuple[UID, UID], tuple[str, str]] = {}
        """The patient ID and birth date that were last found to agree with a series' study. Until `forget` their rows stay: one look
        is enough.
        """

    def describe(self, admission: Admission) -> bool:
        """Patient, study and series of an instance stand when it returns; whether its patient can be that of its study."""
        identity, description = admission.identity, admission.description
        if self._known.get((identity.study, identity.series)) == _person(admission):
            return True
        patient = self.with_issuer(description.patient, admission.source_ae)
        self._studies.describe(patient, description.study, identity.study, admission.received_at)
        self.put_series(identity.study, identity.series, description.series)
        return self._studies.agrees(identity.study, description.patient)

    def remember(self, admission: Admission, agrees: bool) -> None:
        """What `describe` found is committed: it need not look again for the next instance of that series."""
        if len(self._known) >= KNOWN_SERIES:
            self._known.clear()
        if agrees:
            self._known[admission.identity.study, admission.identity.series] = _person(admission)

    def forget(self) -> None:
        """Series went: look again for the next instance of any."""
        self._known.clear()

    def put_series(self, study: UID, series: UID, attributes: Json) -> None:
        """A series as first seen; nothing changes when it is known."""
        self._connection.execute(
            self._sql["insert_series"],
            (series, first(attributes, "00080060"), number_of(attributes, "00200011"), json_text(attributes), study),
        )

    def with_issuer(self, patient: Json, source_ae: str) -> Json:
        """A Patient ID that comes without its issuer is of the issuer that is set for who sent it."""
        if first(patient, PATIENT_ID) and not first(patient, ISSUER) and (issuer := self._issuer_of(source_ae)):
            return patient | {ISSUER: {"vr": "LO", "Value": [issuer]}}
        return patient

    def insert(self, admission: Admission, agrees: bool) -> bool:
        """The instance itself. False, and nothing changes, when this digest of it is catalogued already, and not lost."""
        identity, member, description = admission.identity, admission.member, admission.description
        own = description.instance if agrees else patient_part(description.patient) | description.instance
        cursor = self._connection.execute(
            self._sql["insert_instance"],
            {
                "study": identity.study,
                "series": identity.series,
                "uid": identity.sop_instance,
                "class": identity.sop_class,
                "syntax": admission.transfer_syntax,
                "number": number_of(description.instance, "00200013"),
                "digest": member.digest,
                "stranger": int(not agrees),
                "fault": description.fault,
                "pack": admission.pack,
                "header_offset": member.header_offset,
                "dataset_offset": member.dataset_offset,
                "dataset_length": member.dataset_length,
                "here": int(admission.here),
                "received_at": admission.received_at,
                "source_ae": admission.source_ae,
                "attributes": json_text(own),
            },
        )
        return cursor.rowcount == 1


def number_of(attributes: Json, tag: str) -> int | None:
    """A whole number as SQLite holds one."""
    text = first(attributes, tag)
    # SQLite integers have 64 bits; an IS of PS3.5 fits 32.
    return int(text) if text.lstrip("+-").isascii() and text.lstrip("+-").isdigit() and len(text) <= 12 else None


def _person(admission: Admission) -> tuple[str, str]:
    patient = admission.description.patient
    return first(patient, PATIENT_ID), first(patient, BIRTH_DATE)
