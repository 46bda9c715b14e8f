"""edge.store.studies: a corrected study is answered as it is right, whoever asks and however, and can be taken back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.model import UID, Correction, Json, Level, Query
from edge.store.catalogue import Catalogue
from edge.store.studies import Person
from tests.store.rows import admission, ask, close, hear, hold, pack_id, put, values

NAME, ID, BIRTH, ACCESSION, STUDY, AVAILABILITY = "00100010", "00100020", "00100030", "00080050", "0020000D", "00080056"


def name(text: str) -> Json:
    return {"vr": "PN", "Value": [{"Alphabetic": text}]}


def text(vr: str, value: str) -> Json:
    return {"vr": vr, "Value": [value]}


def correction(study: str = "1.2.3", rejected: bool = False, **attributes: Json) -> Correction:
    tags = {"name": NAME, "id": ID, "accession": ACCESSION, "birth": BIRTH, "issuer": "00100021"}
    return Correction(UID(study), {tags[key]: value for key, value in attributes.items()}, 5000.0, rejected)


RIGHT = correction(name=name("Roe^Richard"), id=text("LO", "P2"), accession=text("SH", "A7"))


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    made = Catalogue(tmp_path / "catalogue.db")
    yield made
    made.close()


def other_study(instance: str = "1.2.4.1.1", **more: tuple[str, str]) -> object:
    tags = {"patient_id": 0x00100020, "name": 0x00100010, "birth": 0x00100030, "sex": 0x00100040}
    study = instance.rsplit(".", 2)[0]
    return admission("b", study=study, series=f"{study}.1", instance=instance, more={tags[key]: value for key, value in more.items()})


@pytest.mark.parametrize("level", list(Level))
def test_every_level_answers_and_matches_what_is_right(catalogue: Catalogue, level: Level) -> None:
    put(catalogue, admission("a"))
    catalogue.remember([RIGHT])
    (found,) = ask(catalogue, level)
    assert (found[NAME], found[ID]) == (RIGHT.attributes[NAME], RIGHT.attributes[ID])
    if level is not Level.PATIENT:
        assert found[ACCESSION] == RIGHT.attributes[ACCESSION]
        assert len(ask(catalogue, level, {ACCESSION: "A7"})) == 1
    assert [len(ask(catalogue, level, {NAME: pattern})) for pattern in ("roe*", "doe*")] == [1, 0]
    assert [len(ask(catalogue, level, {ID: one})) for one in ("P2", "P1")] == [1, 0]


def test_what_is_located_carries_its_patch_and_lies_where_it_lay(catalogue: Catalogue) -> None:
    put(catalogue, admission("a"))
    (before,) = catalogue.locate(Query(Level.STUDY, {STUDY: "1.2.3"}))
    catalogue.remember([RIGHT])
    (after,) = catalogue.locate(Query(Level.STUDY, {STUDY: "1.2.3"}))
    assert before.correction is None
    assert after.correction == RIGHT
    assert (after.pack, after.dataset_offset, after.digest) == (before.pack, before.dataset_offset, before.digest)


def test_another_study_of_the_patient_stays_as_it_is(catalogue: Catalogue) -> None:
    put(catalogue, admission("a"), other_study())  # type: ignore[arg-type]
    assert len(ask(catalogue, Level.PATIENT)) == 1
    catalogue.remember([correction(name=name("Roe^Richard"))])
    assert values(ask(catalogue, Level.STUDY, {STUDY: "1.2.4"}), NAME) == [{"Alphabetic": "Doe^Jane"}]
    assert values(ask(catalogue, Level.STUDY, {STUDY: "1.2.3"}), NAME) == [{"Alphabetic": "Roe^Richard"}]
    assert len(ask(catalogue, Level.PATIENT, {ID: "P1"})) == 2


def test_a_study_goes_to_the_patient_it_is_of_and_leaves_nobody_behind(catalogue: Catalogue) -> None:
    put(catalogue, admission("a"), other_study(patient_id=("LO", "P2"), name=("PN", "Roe^Richard")))  # type: ignore[arg-type]
    catalogue.remember([RIGHT])
    (patient,) = ask(catalogue, Level.PATIENT)
    assert patient["00201200"]["Value"] == [2]


@pytest.mark.parametrize("together", [False, True])
def test_taken_back_it_is_as_it_was(catalogue: Catalogue, together: bool) -> None:
    put(catalogue, admission("a"))
    if together:
        put(catalogue, other_study())  # type: ignore[arg-type]
    before = [ask(catalogue, level) for level in Level]
    for change in (RIGHT, correction(name=name("Roe^R")), correction(name=name("Doe^Jane")), correction(rejected=True), correction()):
        catalogue.remember([change])
    assert [ask(catalogue, level) for level in Level] == before
    assert catalogue.locate(Query(Level.STUDY, {STUDY: "1.2.3"}))[0].correction is None


def test_the_archive_is_told_what_arrived(catalogue: Catalogue) -> None:
    put(catalogue, admission("a"))
    ((before_patient, before_study),) = catalogue.rows("study_of_pack", pack_id("a"))
    catalogue.remember([RIGHT])
    ((patient, study),) = catalogue.rows("study_of_pack", pack_id("a"))
    assert (json.loads(patient), json.loads(study)) == (json.loads(before_patient), json.loads(before_study))


def test_a_correction_waits_for_a_study_that_is_catalogued_later(catalogue: Catalogue) -> None:
    catalogue.remember([RIGHT, correction("1.2.9", rejected=True)])
    put(catalogue, admission("a"))
    put(catalogue, admission("a", 2048, series="1.2.3.2", instance="1.2.3.2.1"))
    assert values(ask(catalogue, Level.SERIES), ID) == ["P2", "P2"]
    hear(catalogue, "b", {STUDY: text("UI", "1.2.9"), ID: text("LO", "P9")}, [{"0020000E": text("UI", "1.2.9.1")}], 3)
    assert values(ask(catalogue, Level.STUDY, {STUDY: "1.2.9"}), AVAILABILITY) == ["UNAVAILABLE"]


def test_a_rejected_study_is_unavailable_and_not_sent(catalogue: Catalogue) -> None:
    put(catalogue, admission("a"))
    catalogue.remember([correction(rejected=True)])
    for level in (Level.STUDY, Level.SERIES, Level.IMAGE):
        assert values(ask(catalogue, level), AVAILABILITY) == ["UNAVAILABLE"]
    assert catalogue.locate(Query(Level.STUDY, {STUDY: "1.2.3"})) == []


def test_what_is_neither_here_nor_held_is_unavailable(catalogue: Catalogue) -> None:
    put(catalogue, admission("a"), admission("b", study="1.2.4", series="1.2.4.1", instance="1.2.4.1.1"))
    close(catalogue, "a")
    close(catalogue, "b")
    hold(catalogue, "b")
    catalogue.evict(pack_id("b"))
    catalogue.lose(pack_id("a"), [0])
    for level in (Level.STUDY, Level.SERIES, Level.IMAGE):
        found = {one[STUDY]["Value"][0]: one[AVAILABILITY]["Value"][0] for one in ask(catalogue, level)}
        assert found == {"1.2.3": "UNAVAILABLE", "1.2.4": "NEARLINE"}


# People


@pytest.mark.parametrize(
    ("birth", "sex", "said", "apart"),
    [
        ("19700101", "F", "Doe^Jane", False),
        ("", "", "Smith^Ann", False),
        ("19700102", "F", "Doe^Jane", True),
        ("19700101", "M", "Doe^Jane", False),
        ("19700101", "F", "Smith^Ann", False),
        ("19700101", "M", "Smith^John", True),
    ],
)
def test_one_id_is_one_patient_unless_birth_date_or_sex_and_name_say_otherwise(
    catalogue: Catalogue, birth: str, sex: str, said: str, apart: bool
) -> None:
    put(catalogue, admission("a", more={0x00100030: ("DA", "19700101"), 0x00100040: ("CS", "F")}))
    put(catalogue, other_study(birth=("DA", birth), sex=("CS", sex), name=("PN", said)))  # type: ignore[arg-type]
    assert len(ask(catalogue, Level.PATIENT, {ID: "P1"})) == 1 + apart
    assert catalogue.rows("people_apart") == ([("P1", "", 2)] if apart else [])
    put(catalogue, *[admission("c", study="1.2.5", series="1.2.5.1", instance="1.2.5.1.1", more={0x00100030: ("DA", birth)})])
    assert len(ask(catalogue, Level.PATIENT, {ID: "P1"})) == 1 + apart


def test_a_person_of_whom_nothing_was_said_may_be_anybody() -> None:
    assert Person("", "", "").may_be(Person("doe^jane", "19700101", "F"))


@pytest.mark.parametrize("dummy", ["", "0", "TEST", "unknown", "N/A"])
def test_a_dummy_id_never_joins_studies(catalogue: Catalogue, dummy: str) -> None:
    put(catalogue, admission("a", more={0x00100020: ("LO", dummy)}), other_study(patient_id=("LO", dummy)))  # type: ignore[arg-type]
    assert len(ask(catalogue, Level.PATIENT)) == 2
    assert catalogue.rows("people_apart") == []
