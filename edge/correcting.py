"""Corrections as people make them: checked, a row of site state, in force at once, audited."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from edge import audit
from edge.audit import Audit
from edge.clock import Clock
from edge.control.corrections import CorrectionRow, CorrectStudy, ListCorrections
from edge.dataset.attributes import INTEREST
from edge.errors import Refused, Unknown
from edge.model import Correction, Json, parse_uid
from edge.responder import PEOPLE, Asker, Responder, at_once
from edge.store.catalogue import Catalogue
from edge.store.decisions import Decisions
from edge.store.studies import BIRTH_DATE, ISSUER, NAME, PATIENT_ID, SEX, is_dummy

_ACCESSION = "00080050"
_TAGS = {
    "patient_name": NAME,
    "patient_id": PATIENT_ID,
    "issuer": ISSUER,
    "birth_date": BIRTH_DATE,
    "sex": SEX,
    "accession": _ACCESSION,
}
_IDENTITY = (PATIENT_ID, ISSUER, NAME, BIRTH_DATE, SEX)
"""What a study takes over from the patient into whom it is merged."""
_LONGEST = {"LO": 64, "SH": 16, "PN": 64 * 3 + 2}
_FORMS = {
    "DA": (re.compile(r"(\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01]))?"), "a date as YYYYMMDD, or nothing"),
    "CS": (re.compile(r"[MFO]?"), "M, F, O, or nothing"),
}


class Correcting:
    """Answers what is asked about corrections; what cannot be is refused with the reason and the cure. Safe to use from several threads."""

    def __init__(self, catalogue: Catalogue, decisions: Decisions, trail: Audit, clock: Clock) -> None:
        self._catalogue = catalogue
        self._decisions = decisions
        self._audit = trail
        self._clock = clock

    def responders(self) -> Iterable[Responder]:
        return [at_once(ListCorrections, PEOPLE, self._list), at_once(CorrectStudy, PEOPLE, self._correct)]

    def _list(self, _request: ListCorrections, _asker: Asker) -> list[CorrectionRow]:
        return [_row(one) for one in self._decisions.corrections()]

    def _correct(self, request: CorrectStudy, asker: Asker) -> list[CorrectionRow]:
        study = parse_uid(request.study)
        if study is None or not self._catalogue.rows("study_row", study):
            raise Unknown(f"There is no study {request.study} here. `outpost studies ls` lists them.")
        before = self._decisions.correction(study) or Correction(study, {}, 0.0)
        if request.undo:
            after = Correction(study, {}, self._clock.now())
        else:
            right = self._merged(request) if request.merge_into is not None else _entered(request)
            if not right and request.rejected is None:
                raise Refused("Nothing was said to be corrected. `outpost studies correct --help` lists what can be.")
            rejected = before.rejected if request.rejected is None else request.rejected
            after = Correction(study, before.attributes | right, self._clock.now(), rejected)
        # Decided first: a start in between applies what stands in site state.
        self._decisions.put_correction(after)
        self._catalogue.remember([after])
        change = "rejected" if after.rejected and not before.rejected else "taken back" if request.undo else "corrected"
        self._audit.record(audit.Decided(user=asker.user, study=study, change=change, fields=sorted(after.attributes)))
        return [_row(after)]

    def _merged(self, request: CorrectStudy) -> Json:
        """The identity of the one patient who has the ID."""
        if request.merge_into == "" or is_dummy(request.merge_into or ""):
            raise Refused(f"{request.merge_into!r} is an ID that devices use when they know none. Correct the study itself.")
        found = self._catalogue.rows("patients_of_id", request.merge_into)
        people = [(issuer, attributes) for _, issuer, attributes, _ in found if request.issuer in {None, issuer}]
        if not people:
            raise Refused("There is no patient with this ID. Give the ID, and the issuer, as `outpost studies ls --show-phi` shows them.")
        if len(people) > 1:
            raise Refused(f"{len(people)} people have this ID. Say which with --issuer, or correct the study itself.")
        known = json.loads(people[0][1])
        return {tag: known.get(tag) or {"vr": INTEREST[int(tag, 16)][0]} for tag in _IDENTITY}


def _entered(request: CorrectStudy) -> Json:
    """What was entered as attributes. Raises Refused for what PS3.5 does not allow."""
    right: Json = {}
    for field, tag in _TAGS.items():
        text: str | None = getattr(request, field)
        if text is None:
            continue
        text = text.strip()
        vr = INTEREST[int(tag, 16)][0]
        what = field.replace("_", " ")
        if "\\" in text or any(not character.isprintable() for character in text):
            raise Refused(f"The {what} may have no backslash and nothing that cannot be printed.")
        form, sentence = _FORMS.get(vr, (None, ""))
        if form is not None and not form.fullmatch(text):
            raise Refused(f"The {what} is {sentence}.")
        if len(text) > _LONGEST.get(vr, len(text)) or (vr == "PN" and (text.count("=") > 2 or max(map(len, text.split("="))) > 64)):
            raise Refused(f"The {what} is too long for its value representation, {vr}.")
        right[tag] = {"vr": vr, "Value": [_name(text) if vr == "PN" else text]} if text else {"vr": vr}
    return right


def _name(text: str) -> Json:
    groups = zip(("Alphabetic", "Ideographic", "Phonetic"), text.split("="), strict=False)
    return {group: value for group, value in groups if value}


def _row(one: Correction) -> CorrectionRow:
    return CorrectionRow(study=one.study, attributes=one.attributes, corrected_at=one.corrected_at, rejected=one.rejected)
