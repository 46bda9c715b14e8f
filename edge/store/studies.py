"""The rows of patients and studies: as they arrived, and as people corrected them (docs/formats.md, "Identity").

Used inside a transaction of the catalogue; no method commits.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from edge.dataset.attributes import INTEREST
from edge.model import UID, Correction, Json, Level
from edge.store.fold import first, folded_name
from edge.store.sound import sounds
from edge.store.sql import json_text

PATIENT_ID, ISSUER, NAME, BIRTH_DATE, SEX = "00100020", "00100021", "00100010", "00100030", "00100040"
_DUMMY_IDS = frozenset({"", "0", "00", "000", "1", "123", "TEST", "UNKNOWN", "UNKNOW", "ANON", "ANONYMOUS", "NONE", "N/A", "NA", "NULL"})
_STUDY_OWN = frozenset(f"{tag:08X}" for tag, (_, level) in INTEREST.items() if level is Level.STUDY)
"""Among them the Patient Study module attributes of group 0010: they belong to the study."""


@dataclass(frozen=True, slots=True)
class Person:
    """What tells people apart who have the same Patient ID; the name is folded."""

    name: str
    birth_date: str
    sex: str

    @classmethod
    def of(cls, patient: Json) -> Person:
        return cls(folded_name(patient, NAME), first(patient, BIRTH_DATE), first(patient, SEX))

    def may_be(self, other: Person) -> bool:
        """False for another birth date, or another sex and name. What was not said tells nobody apart."""
        birth, sex, name = (
            bool(mine and theirs and mine != theirs)
            for mine, theirs in ((self.birth_date, other.birth_date), (self.sex, other.sex), (self.name, other.name))
        )
        return not birth and not (sex and name)


def contradicts(known: Json, patient: Json) -> bool:
    """Whether these patient attributes cannot be of the study that has the known ones: another ID, or another birth date."""
    before, after = first(known, PATIENT_ID), first(patient, PATIENT_ID)
    other_id = before != after and not is_dummy(before) and not is_dummy(after)
    births = {first(known, BIRTH_DATE), first(patient, BIRTH_DATE)} - {""}
    return other_id or len(births) == 2


def is_dummy(patient_id: str) -> bool:
    """An ID that devices use when they know none: it never joins studies."""
    return patient_id.upper() in _DUMMY_IDS


def patient_part(attributes: Json) -> Json:
    """The attributes that belong to the patient."""
    return {tag: value for tag, value in attributes.items() if tag.startswith("0010") and tag not in _STUDY_OWN}


@lru_cache(maxsize=1024)
def correction_of(study: UID, attributes: str, corrected_at: float) -> Correction:
    """What the instances of a study are patched with, from its row."""
    return Correction(study, json.loads(attributes), corrected_at)


class Studies:
    """Makes and changes patient and study rows over the connection of the catalogue."""

    def __init__(self, connection: sqlite3.Connection, sql: Mapping[str, str]) -> None:
        self._connection = connection
        self._sql = sql
        self._corrections: dict[UID, Correction] = {}

    def remember(self, corrections: Iterable[Correction]) -> None:
        """Corrections that stand, for studies that are catalogued later."""
        self._corrections |= {one.study: one for one in corrections}

    def describe(self, patient: Json, study: Json, uid: UID, received_at: float) -> None:
        """A study as first seen; nothing changes when it is known."""
        if self._rows("study_row", uid):
            return
        own = patient_part(patient)
        rest = {tag: value for tag, value in study.items() if tag not in own}
        self._run("insert_study", self._patient_row(own, uid), *_columns(rest), json_text(rest), uid, received_at)
        if correction := self._corrections.get(uid):
            self.correct(correction)

    def agrees(self, uid: UID, patient: Json) -> bool:
        """Whether an instance with these patient attributes can belong to the study, as it arrived or as it was corrected."""
        (row,) = self._rows("study_row", uid)
        known = [json.loads(row["patient_attributes"])]
        if row["arrived"]:
            known.append(json.loads(row["arrived"])["patient"])
        return not all(contradicts(one, patient) for one in known)

    def correct(self, correction: Correction) -> bool:
        """Answer a study as it was corrected from now on; empty attributes take earlier ones back. False when it is not catalogued."""
        self.remember([correction])
        rows = self._rows("study_row", correction.study)
        if rows:
            patient, study = _arrived(rows[0])
            self._settle(rows[0], patient, study, correction)
        return bool(rows)

    def arrived_anew(self, uid: UID, patient: Json, study: Json) -> None:
        """A study was sent again with other patient or study attributes: what is newest is what arrived. The patient whom it may be of is
        answered as it says from now on, with all studies: when that is found out makes no difference.
        """
        (row,) = self._rows("study_row", uid)
        own = patient_part(patient)
        rest = {tag: value for tag, value in study.items() if tag not in own}
        if (own, rest) == _arrived(row):
            return
        if uid not in self._corrections and (known := self._same_patient(row, own)):
            self._run("change_patient", known["identity"], *_patient_columns(own), known["patient"])
            (row,) = self._rows("study_row", uid)
        self._settle(row, own, rest, self._corrections.get(uid))

    def _settle(self, row: sqlite3.Row, patient: Json, study: Json, correction: Correction | None) -> None:
        """Put a study under the patient that it is of, with what is answered for it."""
        right = correction.attributes if correction else {}
        own = patient | patient_part(right)
        rest = study | {tag: value for tag, value in right.items() if tag not in own}
        place = self._exact_row(row, own)
        self._run(
            "settle_study",
            place,
            *_columns(rest),
            json_text(rest),
            json_text({"patient": patient, "study": study}) if right else None,
            json_text(right) if right else None,
            correction.corrected_at if correction else None,
            int(correction is not None and correction.rejected),
            row["study"],
        )
        self._run("forget_patient", row["patient"])

    def _patient_row(self, patient: Json, uid: UID) -> int:
        """The patient of a new study: the first one of this ID and issuer whom it may be of."""
        key, person = _key(patient, uid), Person.of(patient)
        known = self._rows("patients_of_key", key=key)
        for row in known:
            if Person(row["name"], row["birth_date"], row["sex"]).may_be(person):
                return int(row["patient"])
        return self._insert(key if not known else f"{key}\x1f{uid}", patient)

    def _same_patient(self, row: sqlite3.Row, patient: Json) -> sqlite3.Row | None:
        """The patient of a study, if these attributes may be of the same."""
        known = (one for one in self._rows("patients_of_key", key=_key(patient, row["uid"])) if one["patient"] == row["patient"])
        return next((one for one in known if Person(one["name"], one["birth_date"], one["sex"]).may_be(Person.of(patient))), None)

    def _exact_row(self, row: sqlite3.Row, patient: Json) -> int:
        """The patient of a corrected study: nobody but one who is answered in the same words, or one of its own."""
        uid = row["uid"]
        key = _key(patient, uid)
        known = self._rows("patients_of_key", key=key)
        for one in known:
            if _words(json.loads(one["attributes"])) == _words(patient):
                return int(one["patient"])
        taken = {one["identity"]: one["patient"] for one in known}
        identity = key if taken.get(key, row["patient"]) == row["patient"] else f"{key}\x1f{uid}"
        if row["studies"] == 1:
            self._run("change_patient", identity, *_patient_columns(patient), row["patient"])
            return int(row["patient"])
        # The row that others of its former patient keep may be the one that has the plain key.
        return self._insert(identity if identity not in taken else f"{key}\x1f{uid}", patient)

    def _insert(self, identity: str, patient: Json) -> int:
        ((row,),) = self._connection.execute(self._sql["insert_patient"], (identity, *_patient_columns(patient))).fetchall()
        return int(row)

    def _run(self, name: str, *parameters: object) -> None:
        self._connection.execute(self._sql[name], parameters)

    def _rows(self, name: str, *parameters: object, **named: object) -> list[sqlite3.Row]:
        cursor = self._connection.execute(self._sql[name], named or parameters)
        return [sqlite3.Row(cursor, row) for row in cursor.fetchall()]


def _key(patient: Json, study: UID) -> str:
    """A patient is (Patient ID, issuer); an empty or dummy ID is a study's own."""
    patient_id = first(patient, PATIENT_ID)
    return f"study {study}" if is_dummy(patient_id) else f"id {patient_id}\x1f{first(patient, ISSUER)}"


def _words(patient: Json) -> list[Any]:
    return [patient.get(tag, {}).get("Value") for tag in (NAME, PATIENT_ID, ISSUER, BIRTH_DATE, SEX)]


def _patient_columns(patient: Json) -> tuple[str, ...]:
    name = folded_name(patient, NAME)
    return (
        first(patient, PATIENT_ID),
        first(patient, ISSUER),
        name,
        sounds(name),
        first(patient, BIRTH_DATE),
        first(patient, SEX),
        json_text(patient),
    )


def _columns(study: Json) -> tuple[str, ...]:
    return tuple(first(study, tag) for tag in ("00080020", "00080030", "00080050", "00200010"))


def _arrived(row: sqlite3.Row) -> tuple[Json, Json]:
    if row["arrived"]:
        arrived = json.loads(row["arrived"])
        return arrived["patient"], arrived["study"]
    return json.loads(row["patient_attributes"]), json.loads(row["study_attributes"])
