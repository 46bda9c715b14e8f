"""What is right of a study whose datasets say it wrong."""

from __future__ import annotations

from typing import Any

from edge.control.message import Message


class CorrectStudy(Message, frozen=True, tag="correct-study"):
    """Say what is right of a study, on top of what was said before; None says nothing. Answered by the CorrectionRow as it is now."""

    study: str
    patient_name: str | None = None
    """Component groups joined by =."""
    patient_id: str | None = None
    issuer: str | None = None
    birth_date: str | None = None
    sex: str | None = None
    accession: str | None = None
    merge_into: str | None = None
    """The Patient ID of the patient of whom the study is; `issuer` says which, where several have it."""
    rejected: bool | None = None
    undo: bool = False
    """Everything that was said of the study is taken back."""


class ListCorrections(Message, frozen=True, tag="list-corrections"):
    """Answered by a CorrectionRow for each, newest first."""


class CorrectionRow(Message, frozen=True, tag="correction"):
    """What a person decided of a study: the attributes that are answered instead (DICOM JSON Model, PS3.18 Annex F), and whether it is not
    to be used.
    """

    study: str
    attributes: dict[str, Any]
    corrected_at: float
    rejected: bool


Request = CorrectStudy | ListCorrections
Answer = CorrectionRow
