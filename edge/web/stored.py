"""What is answered to a store request: the Store Instances Response Module (PS3.18 annex I)."""

from __future__ import annotations

from edge.errors import OutpostError
from edge.model import UID, Identity, Json

OUT_OF_RESOURCES, MISMATCH, NOT_UNDERSTOOD, PROCESSING = 0xA700, 0xA900, 0xC000, 0x0110
"""Failure Reason (0008,1197), PS3.18 table I.2-2."""


class Report:
    """Collects what became of each part."""

    def __init__(self, base: str, study: UID | None) -> None:
        self.study = study
        """The study that the path names."""
        self.retry: OutpostError | None = None
        """Why it may go well another time; None when nothing failed for such a reason."""
        self._base = base
        self._studies: set[UID] = set()
        self._referenced: list[Json] = []
        self._failed: list[Json] = []
        self._other: list[Json] = []

    @property
    def stored(self) -> int:
        return len(self._referenced)

    @property
    def parts(self) -> int:
        return len(self._referenced) + len(self._failed) + len(self._other)

    @property
    def status(self) -> int:
        """PS3.18 table 10.5.3-1."""
        if not self.stored:
            return 409
        return 202 if self._failed or self._other else 200

    def took(self, identity: Identity) -> None:
        """An instance is durable."""
        self._studies.add(identity.study)
        address = f"{self._base}/studies/{identity.study}/series/{identity.series}/instances/{identity.sop_instance}"
        self._referenced.append(_reference(identity.sop_class, identity.sop_instance) | {"00081190": {"vr": "UR", "Value": [address]}})

    def failed(self, sop_class: str, sop_instance: str, reason: int, passing: OutpostError | None) -> None:
        """An instance was not stored; `passing` is an error that will not last."""
        self._failed.append(_reference(sop_class, sop_instance) | _reason(reason))
        if passing is not None:
            self.retry = passing

    def unreadable(self, reason: int) -> None:
        """A part does not even name an instance."""
        self._other.append(_reason(reason))

    def json(self) -> Json:
        """The module; sequences that would be empty are left out."""
        found: Json = {}
        studies = {self.study} if self.study is not None else self._studies
        if len(studies) == 1:
            found["00081190"] = {"vr": "UR", "Value": [f"{self._base}/studies/{next(iter(studies))}"]}
        for tag, items in (("00081198", self._failed), ("00081199", self._referenced), ("0008119A", self._other)):
            if items:
                found[tag] = {"vr": "SQ", "Value": items}
        return found


def _reference(sop_class: str, sop_instance: str) -> Json:
    return {"00081150": {"vr": "UI", "Value": [sop_class]}, "00081155": {"vr": "UI", "Value": [sop_instance]}}


def _reason(reason: int) -> Json:
    return {"00081197": {"vr": "US", "Value": [reason]}}
