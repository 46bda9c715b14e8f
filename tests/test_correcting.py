"""edge.correcting: what people say is right of a study is checked, kept, in force at once, and audited without its values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge import audit
from edge.control.corrections import CorrectStudy, ListCorrections
from edge.correcting import Correcting
from edge.errors import Refused
from edge.model import Level
from edge.store import site
from edge.store.catalogue import Catalogue
from edge.store.decisions import Decisions
from edge.store.site import SiteState
from tests.dimse.fakes import FakeAudit
from tests.responses import answers
from tests.store.rows import Clock, admission, ask, put, values


@dataclass(frozen=True, slots=True)
class Desk:
    catalogue: Catalogue
    state: SiteState
    audit: FakeAudit
    correcting: Correcting

    def say(self, study: str = "1.2.3", **said: object) -> None:
        answers(self.correcting, CorrectStudy(study=study, **said))  # type: ignore[arg-type]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    catalogue, state, trail = Catalogue(tmp_path / "catalogue.db"), SiteState(tmp_path / "site.db"), FakeAudit()
    put(catalogue, admission("a"))
    yield Desk(catalogue, state, trail, Correcting(catalogue, Decisions(state), trail, Clock()))
    catalogue.close()
    state.close()


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"patient_name": "A\\B"}, "backslash"),
        ({"patient_name": "A\x1bB"}, "cannot be printed"),
        ({"patient_name": "A" * 65}, "too long"),
        ({"patient_name": "A=B=C=D"}, "too long"),
        ({"patient_id": "1" * 65}, "too long"),
        ({"accession": "1" * 17}, "too long"),
        ({"birth_date": "31.12.1970"}, "YYYYMMDD"),
        ({"birth_date": "19701332"}, "YYYYMMDD"),
        ({"sex": "X"}, "M, F, O"),
        ({}, "Nothing was said"),
        ({"study": "1.2.9", "accession": "A"}, "no study 1.2.9"),
        ({"study": "../1", "accession": "A"}, "no study"),
        ({"merge_into": "P9"}, "no patient with this ID"),
        ({"merge_into": "TEST"}, "when they know none"),
    ],
)
def test_what_cannot_be_right_is_refused_and_changes_nothing(desk: Desk, said: dict[str, str], sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        desk.say(**said)
    assert answers(desk.correcting, ListCorrections()) == []
    assert values(ask(desk.catalogue, Level.STUDY), "00100020") == ["P1"]
    assert desk.audit.events == []


def test_one_correction_adds_to_the_one_before_and_an_empty_text_empties(desk: Desk) -> None:
    desk.say(patient_name="Roe^Richard=山田^太郎", accession="A7")
    desk.say(accession="", sex="M")
    (found,) = ask(desk.catalogue, Level.STUDY)
    assert found["00100010"]["Value"] == [{"Alphabetic": "Roe^Richard", "Ideographic": "山田^太郎"}]
    assert (found["00080050"], found["00100040"]) == ({"vr": "SH"}, {"vr": "CS", "Value": ["M"]})
    (row,) = answers(desk.correcting, ListCorrections())
    assert sorted(row.attributes) == ["00080050", "00100010", "00100040"]


def test_a_study_is_merged_into_the_one_patient_who_has_the_id(desk: Desk) -> None:
    more = {0x00100020: ("LO", "P2"), 0x00100010: ("PN", "Roe^Richard"), 0x00100030: ("DA", "19610203")}
    put(desk.catalogue, admission("b", study="1.2.4", series="1.2.4.1", instance="1.2.4.1.1", more=more))
    desk.say(merge_into="P2")
    (patient,) = ask(desk.catalogue, Level.PATIENT)
    assert (patient["00201200"]["Value"], patient["00100030"]["Value"]) == ([2], ["19610203"])
    born_later = more | {0x00100030: ("DA", "19900101")}
    put(desk.catalogue, admission("c", study="1.2.5", series="1.2.5.1", instance="1.2.5.1.1", more=born_later))
    with pytest.raises(Refused, match="2 people have this ID"):
        desk.say(merge_into="P2")


def test_rejection_and_correction_do_not_undo_each_other(desk: Desk) -> None:
    desk.say(accession="A7")
    desk.say(rejected=True)
    desk.say(rejected=False)
    assert values(ask(desk.catalogue, Level.STUDY), "00080050") == ["A7"]
    assert values(ask(desk.catalogue, Level.STUDY), "00080056") == ["ONLINE"]
    desk.say(undo=True)
    assert answers(desk.correcting, ListCorrections()) == []


def test_the_audit_trail_names_what_was_changed_and_no_value(desk: Desk) -> None:
    desk.say(patient_name="Roe^Richard")
    desk.say(rejected=True)
    desk.say(undo=True)
    assert desk.audit.events == [
        audit.Decided(user=0, study="1.2.3", change="corrected", fields=["00100010"]),
        audit.Decided(user=0, study="1.2.3", change="rejected", fields=["00100010"]),
        audit.Decided(user=0, study="1.2.3", change="taken back", fields=[]),
    ]


def test_the_copy_of_site_state_carries_corrections(desk: Desk, tmp_path: Path) -> None:
    desk.say(accession="A7")
    site.restore(tmp_path / "rebuilt.db", desk.state.copy())
    rebuilt = SiteState(tmp_path / "rebuilt.db")
    assert Decisions(rebuilt).corrections() == Decisions(desk.state).corrections() != []
    rebuilt.close()
