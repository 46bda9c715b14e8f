"""edge.conflicts and edge.setaside: people settle conflicts and clear quarantine; stored bytes are never changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from edge import audit
from edge.conflicts import Conflicts
from edge.control import quarantine
from edge.control.conflicts import Choose, Chosen, Conflict, ListConflicts, SharedId, ShowConflict, VariantRow
from edge.control.quarantine import DiscardQuarantined, ExportQuarantined, ListQuarantine, Quarantined, ReadmitQuarantined, ShowQuarantined
from edge.dataset.walk import EXPLICIT_LE
from edge.dimse.ports import Outcome
from edge.errors import Refused
from edge.model import AETitle, Level, Query
from edge.setaside import SetAside
from edge.store.decisions import Decisions
from edge.store.reconcile import reconcile
from edge.store.site import SiteState
from tests.dataset.datasets import dataset
from tests.dimse.fakes import FakeAudit
from tests.responses import answers
from tests.store.rows import admission, put
from tests.test_intake import Box


class Desk(Box):
    """What takes instances in, with those who answer people."""

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self.site = SiteState(self.layout.site)
        self.decisions = Decisions(self.site)
        self.trail = FakeAudit()
        self.conflicts = Conflicts(self.catalogue, self.decisions, self.trail, self.clock)
        self.aside = SetAside(self.layout, self.catalogue, self.intake, self.trail, AETitle("OUTPOST"))

    def ask(self, request: quarantine.Request, descriptor: int | None = None) -> list[Quarantined]:
        return answers(self.aside, request, 0, descriptor)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.catalogue.close()
    made.site.close()


def in_conflict(desk: Desk) -> None:
    """Two variants of an instance, classed as a conflict."""
    put(desk.catalogue, admission("a", received_at=10.0), admission("a", 4096, received_at=20.0, more={0x00280010: ("US", b"\1\0")}))
    rows = desk.catalogue.rows("variants_of", "1.2.3", "1.2.3.1", "1.2.3.1.1")
    desk.catalogue.rows("class_variant", 0, "conflict", "its pixels differ", rows[1][0])


@pytest.mark.parametrize(("keep", "kept"), [("first", 0), ("newest", 1)])
def test_a_conflict_is_listed_shown_and_decided(desk: Desk, keep: str, kept: int) -> None:
    in_conflict(desk)
    (conflict,) = answers(desk.conflicts, ListConflicts())
    assert conflict == Conflict(study="1.2.3", instances=1, since=20.0, reasons=["its pixels differ"])
    rows = [row for row in answers(desk.conflicts, ShowConflict(study="1.2.3")) if isinstance(row, VariantRow)]
    assert [(row.visible, row.standing, row.because) for row in rows] == [(True, None, None), (False, "conflict", "its pixels differ")]
    assert answers(desk.conflicts, Choose(study="1.2.3", keep=keep)) == [Chosen(instances=1)]  # type: ignore[arg-type]
    choice = desk.decisions.choice("1.2.3", "1.2.3.1", "1.2.3.1.1")
    assert choice is not None
    assert choice.digest == rows[kept].digest
    assert desk.catalogue.rows("unclassed", most=9) == [("1.2.3", "1.2.3.1", "1.2.3.1.1")]
    assert answers(desk.conflicts, ListConflicts()) == []
    assert desk.trail.events == [audit.Decided(user=0, study="1.2.3", change=f"kept {keep}", fields=[])]


def test_what_is_not_in_conflict_is_not_decided(desk: Desk) -> None:
    in_conflict(desk)
    with pytest.raises(Refused, match="No instance of study"):
        answers(desk.conflicts, Choose(study="1.2.9", keep="first"))
    with pytest.raises(Refused, match="is not in conflict"):
        answers(desk.conflicts, Choose(study="1.2.3", keep="first", instance="1.2.3.1.9"))
    assert desk.trail.events == []


def test_an_id_that_two_people_have_is_listed(desk: Desk) -> None:
    put(desk.catalogue, admission("a", more={0x00100030: ("DA", "19700101")}))
    put(desk.catalogue, admission("b", study="1.2.4", series="1.2.4.1", instance="1.2.4.1.1", more={0x00100030: ("DA", "19900101")}))
    assert answers(desk.conflicts, ListConflicts()) == [SharedId(patient_id="P1", issuer="", people=2)]


CONTRADICTORY = dataset(instance="1.2.3.1.7")
NAMELESS = b"\x08\x00\x05\x00CS\x00\x00" + b"junk" * 10


def test_quarantine_is_listed_and_shown_with_what_it_says_it_is(desk: Desk) -> None:
    assert desk.store(CONTRADICTORY) is Outcome.CONTRADICTORY
    desk.clock.time += 1
    assert desk.store(NAMELESS) is Outcome.UNIDENTIFIED
    newest, oldest = desk.ask(ListQuarantine())
    assert (newest.source_ae, oldest.source_ae, newest.identity) == ("CT99", "CT99", None)
    (shown,) = desk.ask(ShowQuarantined(digest=oldest.digest[:8]))
    assert shown.identity == ["1.2.840.10008.5.1.4.1.1.2", "1.2.3.1.7", "1.2.3.1", "1.2.3"]
    assert desk.ask(ShowQuarantined(digest=newest.digest))[0].identity is None
    for digest in ("", oldest.digest[:7], "0" * 64):
        with pytest.raises(Refused, match="names no dataset"):
            desk.ask(ShowQuarantined(digest=digest))


def test_what_identifies_itself_is_filed_as_it_is_and_leaves_quarantine(desk: Desk) -> None:
    desk.store(CONTRADICTORY)
    (one,) = desk.ask(ListQuarantine())
    desk.ask(ReadmitQuarantined(digest=one.digest))
    assert desk.ask(ListQuarantine()) == []
    assert list(desk.layout.quarantine.iterdir()) == []
    (located,) = desk.catalogue.locate(Query(Level.STUDY, {"0020000D": "1.2.3"}))
    assert (located.sop_instance, located.digest) == ("1.2.3.1.7", one.digest)
    assert desk.kept() == [CONTRADICTORY]
    assert [event.change for event in desk.trail.events if isinstance(event, audit.Decided)] == ["readmitted"]


def test_what_does_not_identify_itself_stays(desk: Desk) -> None:
    desk.store(NAMELESS)
    (one,) = desk.ask(ListQuarantine())
    with pytest.raises(Refused, match="does not say what it is"):
        desk.ask(ReadmitQuarantined(digest=one.digest))
    assert desk.ask(ListQuarantine()) == [one]
    assert desk.trail.events == []


def test_an_export_is_a_file_that_other_tools_open(desk: Desk, tmp_path: Path) -> None:
    desk.store(CONTRADICTORY)
    (one,) = desk.ask(ListQuarantine())
    with (tmp_path / "out.dcm").open("wb") as file:
        desk.ask(ExportQuarantined(digest=one.digest), file.fileno())
    exported = (tmp_path / "out.dcm").read_bytes()
    assert exported.endswith(CONTRADICTORY)
    read = pydicom.dcmread(BytesIO(exported))
    assert (read.file_meta.TransferSyntaxUID, read.SOPInstanceUID) == (EXPLICIT_LE, "1.2.3.1.7")
    with pytest.raises(Refused, match="No descriptor"):
        desk.ask(ExportQuarantined(digest=one.digest))


def test_a_discard_is_for_good_and_an_interrupted_one_is_ended_by_the_next_start(desk: Desk) -> None:
    desk.store(CONTRADICTORY)
    desk.store(NAMELESS)
    first, second = desk.ask(ListQuarantine())
    desk.ask(DiscardQuarantined(digest=first.digest))
    assert [one.digest for one in desk.ask(ListQuarantine())] == [second.digest]
    os.unlink(desk.layout.quarantine / second.digest)
    reconcile(desk.layout.cache, desk.layout.quarantine, desk.catalogue, desk.clock)
    assert desk.ask(ListQuarantine()) == []


def test_quarantine_outlives_the_catalogue(desk: Desk) -> None:
    desk.store(CONTRADICTORY)
    (one,) = desk.ask(ListQuarantine())
    desk.catalogue.rows("forget_quarantined", one.digest)
    reconcile(desk.layout.cache, desk.layout.quarantine, desk.catalogue, desk.clock)
    assert desk.ask(ListQuarantine()) == [one]
    desk.catalogue.rows("forget_quarantined", one.digest)
    (desk.layout.quarantine / f"{one.digest}.json").unlink()
    reconcile(desk.layout.cache, desk.layout.quarantine, desk.catalogue, desk.clock)
    (found,) = desk.ask(ShowQuarantined(digest=one.digest))
    assert (found.bytes, found.identity) == (one.bytes, ["1.2.840.10008.5.1.4.1.1.2", "1.2.3.1.7", "1.2.3.1", "1.2.3"])
    with pytest.raises(Refused, match="how it was sent is not known"):
        desk.ask(ReadmitQuarantined(digest=one.digest))
