"""How SQLite goes about the searches that are promised to be quick: by index, in the order of the answer, whatever the size."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edge.model import Level, Manner, Query
from edge.store import whereabouts
from edge.store.catalogue import Catalogue
from edge.store.leads import IN_ORDER_OF_DATE, IN_ORDER_OF_NAME, Lead, Rows, Statement
from edge.store.search import search, statement
from edge.store.sql import Database, connect, statements
from tests.store.rows import admission, close, hold, put

STUDY, SERIES, IMAGE, PATIENT = Level.STUDY, Level.SERIES, Level.IMAGE, Level.PATIENT
BIG = ("patient", "study", "series", "instance", "pack", "holding", "figures", "name", "called", "sounding", "s", "i", "m", "c")
"""Tables of which there is a row for each thing that the box has, and what queries call them."""


@pytest.fixture
def connection(tmp_path: Path) -> sqlite3.Connection:
    catalogue = Catalogue(tmp_path / "catalogue.db")
    put(catalogue, admission("a", study="1.1", series="1.1.1", instance="1.1.1.1"))
    put(catalogue, admission("b", study="1.2", series="1.2.1", instance="1.2.1.1"))
    close(catalogue, "a")
    hold(catalogue, "a")
    catalogue.close()
    return sqlite3.connect(f"file:{tmp_path / 'catalogue.db'}?mode=ro", uri=True)


def plans(connection: sqlite3.Connection, query: Query) -> list[list[str]]:
    """How each statement of a search is run."""
    found = []
    steps = search(query)
    try:
        step = next(steps)
        while True:
            found.append(plan(connection, step))
            step = steps.send(connection.execute(*step).fetchall())
    except StopIteration as end:
        return [*found, plan(connection, end.value)]


def plan(connection: sqlite3.Connection, one: Statement) -> list[str]:
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {one[0]}", one[1])]


def scanned(steps: list[str]) -> list[str]:
    return [step for step in steps for table in BIG if step == f"SCAN {table}" or step.startswith(f"SCAN {table} ")]


def key(text: str, tag: str) -> dict[str, str]:
    return {tag: text}


QUICK = {
    "patient id": Query(STUDY, key("P1", "00100020"), 20),
    "patient id and date": Query(STUDY, {"00100020": "P1", "00080020": "2020-"}, 20),
    "beginning of a patient id": Query(STUDY, key("P1*", "00100020"), 20),
    "birth date": Query(STUDY, key("19700101", "00100030"), 20),
    "study date": Query(STUDY, key("20240131", "00080020"), 10_001),
    "study dates": Query(STUDY, key("20240101-20240131", "00080020"), 20),
    "study date and modality": Query(STUDY, {"00080020": "20240131", "00080061": "CT"}, 20),
    "accession number": Query(STUDY, key("A1", "00080050"), 20),
    "beginning of an accession number": Query(STUDY, key("A1*", "00080050"), 20),
    "name": Query(STUDY, key("Doe^Jane", "00100010"), 20),
    "beginning of a name": Query(STUDY, key("Doe*", "00100010"), 20),
    "family name": Query(STUDY, key("Doe^*", "00100010"), 20),
    "short beginning of a name": Query(STUDY, key("D*", "00100010"), 20),
    "part of a name": Query(STUDY, key("*oe^J*", "00100010"), 20),
    "end of a name": Query(STUDY, key("*Jane", "00100010"), 20),
    "name and date": Query(STUDY, {"00100010": "*Jane", "00080020": "20240131"}, 20),
    "two groups": Query(STUDY, key("Doe*=山田*", "00100010"), 20),
    "patients of a name": Query(PATIENT, key("Doe*", "00100010"), 20),
    "patient": Query(PATIENT, key("P1", "00100020")),
    "study": Query(STUDY, key("1.1", "0020000D")),
    "series of a study": Query(SERIES, key("1.1", "0020000D")),
    "series": Query(SERIES, {"0020000D": "1.1", "0020000E": "1.1.1"}),
    "series alone": Query(SERIES, key("1.1.1", "0020000E")),
    "series of a day": Query(SERIES, {"00080020": "20240131", "00080060": "CT"}, 20),
    "instances of a series": Query(IMAGE, {"0020000D": "1.1", "0020000E": "1.1.1"}),
    "instance": Query(IMAGE, key("1.1.1.1", "00080018")),
    "what a name sounds like": Query(STUDY, key("Meier Anna", "00100010"), 20, manner=Manner(fuzzy=True)),
    "part of a word of a name": Query(STUDY, key("*eier*", "00100010"), 20, manner=Manner(fuzzy=True)),
    "rare modality": Query(STUDY, key("XX", "00080061"), 20),
    "dates in another time zone": Query(STUDY, key("20240131", "00080020"), 20, manner=Manner(time_zone=3600)),
    "over midnight": Query(STUDY, {"00080020": "20240130-20240131", "00080030": "22-03"}, 20, manner=Manner(combined=True)),
}


@pytest.mark.parametrize("name", QUICK)
def test_nothing_that_grows_is_gone_through_from_end_to_end(connection: sqlite3.Connection, name: str) -> None:
    for steps in plans(connection, QUICK[name]):
        assert scanned(steps) == []


RETRIEVED = {
    "patient": key("P1", "00100020"),
    "patient of an issuer": {"00100020": "P1", "00100021": "CLINIC"},
    "study": key("1.1", "0020000D"),
    "series": {"0020000D": "1.1", "0020000E": "1.1.1"},
    "series alone": key("1.1.1", "0020000E"),
    "instances": {"0020000D": "1.1", "0020000E": "1.1.1", "00080018": "1.1.1.1\\1.1.1.2"},
    "instance alone": key("1.1.1.1", "00080018"),
    "instance of a patient": {"00100020": "P1", "00080018": "1.1.1.1"},
}


@pytest.mark.parametrize("name", RETRIEVED)
def test_what_is_retrieved_is_found_by_index_whatever_key_names_it(connection: sqlite3.Connection, name: str) -> None:
    run: list[Statement] = []

    def noted(text: str, parameters: list[str | int]) -> Rows:
        run.append((text, parameters))
        # As if there were a pack without its head.
        return connection.execute(text, parameters).fetchall() or ([(1,)] if text.startswith("SELECT 1 FROM pack") else [])

    query = Query(IMAGE, RETRIEVED[name])
    whereabouts.instances(query, noted)
    assert whereabouts.any_rejected(query, noted) is False
    assert whereabouts.headless(query, noted) == []
    assert len(run) >= 4
    for one in run:
        # An index of those packs alone.
        assert [step for step in scanned(plan(connection, one)) if not step.endswith(" INDEX pack_headless")] == []


@pytest.mark.parametrize("text", ["*山*", "?", "*oe", "*a*b*"])
def test_for_less_than_three_characters_each_name_is_looked_at_once_and_nothing_else(connection: sqlite3.Connection, text: str) -> None:
    names, answers = plans(connection, Query(STUDY, key(text, "00100010"), 20))
    assert scanned(names) == ["SCAN name"]
    assert scanned(answers) == []


IN_ORDER = {
    "today": (Query(STUDY, key("20240131", "00080020"), 20), None),
    "this week": (Query(STUDY, key("20240125-", "00080020"), 20), None),
    "the newest": (Query(STUDY, {}, 20), None),
    "many who have a name": (Query(STUDY, key("D*", "00100010"), 20), IN_ORDER_OF_DATE),
    "the usual modality": (Query(STUDY, key("CT", "00080061"), 20), IN_ORDER_OF_DATE),
    "patients": (Query(PATIENT, {}, 20), None),
    "many patients": (Query(PATIENT, key("D*", "00100010"), 20), IN_ORDER_OF_NAME),
}


@pytest.mark.parametrize("name", IN_ORDER)
def test_a_first_page_is_read_in_its_order_and_not_sorted(connection: sqlite3.Connection, name: str) -> None:
    query, begin = IN_ORDER[name]
    steps = plan(connection, statement(query, begin)) if begin else plans(connection, query)[-1]
    assert [step for step in steps if "ORDER BY" in step] == []
    assert steps[0].startswith(
        ("SEARCH study USING INDEX study_by_date", "SCAN study USING INDEX study_by_date", "SCAN patient USING INDEX")
    )


@pytest.mark.parametrize("level", [SERIES, IMAGE])
def test_below_a_study_only_its_own_rows_are_sorted(connection: sqlite3.Connection, level: Level) -> None:
    steps = plans(connection, Query(level, key("20240131", "00080020"), 20))[-1]
    assert [step for step in steps if "ORDER BY" in step] == ["USE TEMP B-TREE FOR RIGHT PART OF ORDER BY"]


@pytest.mark.parametrize("begin", [Lead(level, ("1", []), "") for level in Level], ids=list(Level))
@pytest.mark.parametrize("level", Level)
def test_a_search_of_any_level_may_begin_at_any_level_above_it(connection: sqlite3.Connection, level: Level, begin: Lead) -> None:
    if list(Level).index(begin.level) <= list(Level).index(level):
        assert len(connection.execute(*statement(Query(level, {}), begin)).fetchall()) == (1 if level is PATIENT else 2)


WAITING = {
    "figures_to_count",
    "instance_by_variant",
    "pack_asked",
    "pack_damaged",
    "pack_headless",
    "pack_here_by_use",
    "pack_in_part",
    "pack_not_shipped",
    "pack_stopped",
    "patient_apart",
}
"""Indexes of what waits for something, or is in the cache."""
NEWEST = "SCAN study USING COVERING INDEX study_by_reception"
"""Left after as many as are wanted."""


@pytest.mark.parametrize("resource", ["queries.sql", "reconcile_queries.sql", "forward_queries.sql", "reader_queries.sql"])
def test_no_statement_goes_through_everything_that_was_ever_received(tmp_path: Path, resource: str) -> None:
    with closing(connect(tmp_path / "any.db", Database.CATALOGUE)) as connection:
        for name, text in statements(resource).items():
            places, names = text.count("?"), re.findall(r":(\w+)", text)
            given: object = [None] * places if places else dict.fromkeys(names)
            steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", given)]  # type: ignore[arg-type]
            whole = [step for step in scanned(steps) if step != NEWEST and not step.endswith(tuple(f" INDEX {index}" for index in WAITING))]
            assert whole == [], name
