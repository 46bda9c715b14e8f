"""edge.store.leads: where a search begins, decided from counts alone."""

from __future__ import annotations

import json

import pytest

from edge.model import Level, Manner, Query
from edge.store.leads import FEW, IN_ORDER_OF_DATE, IN_ORDER_OF_NAME, Lead, Rows, enough, lead

DATE, NAME, PATIENT_ID, ACCESSION, BIRTH, MODALITIES = "00080020", "00100010", "00100020", "00080050", "00100030", "00080061"
LITERAL, FUZZY = Manner(), Manner(fuzzy=True)


def decided(query: Query, *told: Rows) -> Lead:
    """Where the search begins when its statements, one after the other, have these rows; it asks for exactly as many."""
    steps = lead(query)
    answers = list(told)
    try:
        next(steps)
        while True:
            steps.send(answers.pop(0))
    except StopIteration as end:
        assert not answers, "it asks for less"
        found: Lead = end.value
        return found


def study(limit: int | None = 20, manner: Manner = LITERAL, **keys: str) -> Query:
    tags = {
        "date": DATE,
        "name": NAME,
        "patient_id": PATIENT_ID,
        "accession": ACCESSION,
        "birth": BIRTH,
        "modalities": MODALITIES,
        "uid": "0020000D",
        "series": "0020000E",
    }
    return Query(Level.STUDY, {tags[key]: text for key, text in keys.items()}, limit, manner=manner)


def test_a_uid_is_where_to_begin_whatever_else_is_asked_for() -> None:
    found = decided(study(uid="1.2\\1.3", name="A*", date="2020-"))
    assert (found.level, found.term) == (Level.STUDY, ("study.uid IN (?, ?)", ["1.2", "1.3"]))
    image = Query(Level.IMAGE, {"00080018": "1.5", "0020000E": "1.4"})
    assert decided(image).term == ("series.uid IN (?)", ["1.4"])
    assert decided(study(series="1.4")) is IN_ORDER_OF_DATE  # a level below that of the query restricts nothing


@pytest.mark.parametrize("keys", [{}, {"name": "*"}, {"name": "*=*"}, {"accession": "*7"}, {"date": "2020*"}, {"birth": '""'}])
def test_without_a_key_that_an_index_knows_studies_are_tried_in_the_order_of_the_answer(keys: dict[str, str]) -> None:
    assert decided(study(**keys)) is IN_ORDER_OF_DATE


def test_dates_alone_are_both_where_to_begin_and_the_order() -> None:
    found = decided(study(date="20200101-20200131"))
    assert (found.index, found.term) == (IN_ORDER_OF_DATE.index, ("study.date BETWEEN ? AND ?", ["20200101", "20200131~"]))
    zoned = decided(study(date="20200101", manner=Manner(time_zone=3600)))
    assert zoned.term == ("study.date BETWEEN ? AND ?", ["20191231", "20200102~"])


def test_the_key_that_selects_the_fewest_rows_is_begun_with() -> None:
    query = study(date="2020-", accession="A1*", patient_id="P1", birth="19700101", modalities="MG")
    order = ["patient.birth_date", "patient.patient_id", "study.date", "study.accession", "study.study"]
    for place, column in enumerate(order):
        counts = [900] * 5
        counts[place] = 7
        assert decided(query, [counts]).term[0].startswith(column)


@pytest.mark.parametrize("count", [0, 1, 999])
def test_a_single_key_is_begun_with_when_it_selects_few_enough(count: int) -> None:
    assert decided(study(patient_id="0"), [[count]]).term == ("patient.patient_id = ?", ["0"])


def test_keys_that_select_too_much_are_only_tested() -> None:
    most = enough(20)
    assert decided(study(patient_id="0", modalities="CT"), [[most, most]]) is IN_ORDER_OF_DATE
    assert decided(study(patient_id="0", date="2020-"), [[most, most]]).term[0] == "study.date BETWEEN ? AND ?"


def test_a_name_is_looked_up_first_and_the_patients_who_have_it_are_begun_with() -> None:
    found = decided(study(name="Doe^J*"), [[3], [5]])
    assert found.level is Level.PATIENT
    assert json.loads(str(found.term[1][0])) == [3, 5]
    assert decided(study(name="Doe^J*"), []).term[1] == ["[]"]


def test_a_name_that_too_many_have_is_tested_in_the_order_of_the_answer() -> None:
    many = [[number] for number in range(enough(20))]
    assert decided(study(name="D*"), many) is IN_ORDER_OF_DATE
    assert decided(Query(Level.PATIENT, {NAME: "D*"}, 20), many) is IN_ORDER_OF_NAME


def test_names_are_not_looked_up_where_a_few_studies_can_be_tested() -> None:
    assert decided(study(name="*a*", date="20200101"), [[FEW]]).term[0] == "study.date = ?"
    assert decided(study(name="*a*", date="2020-"), [[FEW + 1]], [[3]]).level is Level.PATIENT
    assert decided(study(name="*a*", date="2020-"), [[900]], [[number] for number in range(950)]).level is Level.STUDY


def test_what_sounds_alike_is_looked_up_by_its_sound() -> None:
    steps = lead(study(name="Meier*", manner=FUZZY))
    assert "name_part MATCH" in next(steps)[0]
    steps = lead(study(name="Anna Meier", manner=FUZZY))
    assert next(steps)[0].startswith("SELECT patient FROM sounding WHERE sound = ? UNION ALL SELECT called.patient")


def test_the_fewer_answers_are_wanted_the_sooner_a_key_selects_too_much() -> None:
    limits = [enough(limit) for limit in (0, 1, 20, 1000, 10_001)]
    assert limits == sorted(limits)
    assert enough(None) == limits[-1] == 20_000
    assert limits[0] == 1000


def test_keys_of_studies_are_none_of_a_patient_search() -> None:
    assert decided(Query(Level.PATIENT, {DATE: "2020-", ACCESSION: "A1", MODALITIES: "CT"})) is IN_ORDER_OF_NAME
    assert decided(Query(Level.PATIENT, {PATIENT_ID: "P1", BIRTH: "1970-1980"}), [[800, 3]]).term[0] == "patient.patient_id = ?"
