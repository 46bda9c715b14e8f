"""edge.store.finder: searches beside the writer see what is committed, and neither waits for the other."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from edge.errors import Corrupt, Exhausted, Permanent
from edge.model import Level, Located, Query
from edge.store.catalogue import Catalogue
from edge.store.finder import Finder
from edge.store.sql import fault_of
from tests.limits import no_descriptors
from tests.store.rows import admission, put

STUDIES = Query(Level.STUDY, {})


def test_a_search_finds_what_the_catalogue_finds_and_what_was_committed_since(tmp_path: Path) -> None:
    catalogue, finder = Catalogue(tmp_path / "catalogue.db"), Finder(tmp_path / "catalogue.db")
    assert list(finder.find(STUDIES, link_up=True)) == []
    for number, letter in enumerate("abc", 1):
        put(catalogue, admission(letter, study=f"1.{number}"))
        assert list(finder.find(STUDIES, link_up=True)) == catalogue.find(STUDIES, link_up=True)
        assert len(list(finder.find(STUDIES, link_up=True))) == number
    finder.close()
    catalogue.close()


def test_searches_and_the_writer_do_not_wait_for_each_other(tmp_path: Path) -> None:
    catalogue, finder = Catalogue(tmp_path / "catalogue.db"), Finder(tmp_path / "catalogue.db")
    put(catalogue, admission("a", study="1.1"))
    with catalogue.change():  # holds the writer's lock, and a transaction
        found: list[int] = []
        threads = [threading.Thread(target=lambda: found.append(len(list(finder.find(STUDIES, link_up=True))))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert found == [1, 1, 1, 1]
    answers = finder.find(STUDIES, link_up=True)
    next(answers)
    put(catalogue, admission("b", study="1.2"))  # an answer that is not taken yet holds nothing
    assert list(answers) == []
    finder.close()
    catalogue.close()


def test_what_is_retrieved_is_looked_up_while_the_writer_is_busy(tmp_path: Path) -> None:
    catalogue, finder = Catalogue(tmp_path / "catalogue.db"), Finder(tmp_path / "catalogue.db")
    put(catalogue, admission("a"))
    query = Query(Level.IMAGE, {"00080018": "1.2.3.1.1"})
    with catalogue.change():
        found: list[Located] = []
        thread = threading.Thread(target=lambda: found.extend(finder.instances(query)))
        thread.start()
        thread.join(10)
        assert [one.sop_instance for one in found] == ["1.2.3.1.1"]
    assert catalogue.locate(query) == found
    finder.close()
    catalogue.close()


def test_a_damaged_catalogue_is_named(tmp_path: Path) -> None:
    (tmp_path / "catalogue.db").write_bytes(b"no database" * 1000)
    with pytest.raises(Corrupt, match="damaged"):
        list(Finder(tmp_path / "catalogue.db").find(STUDIES, link_up=True))


def test_a_search_that_finds_no_descriptor_may_be_asked_again(tmp_path: Path) -> None:
    catalogue, finder = Catalogue(tmp_path / "catalogue.db"), Finder(tmp_path / "catalogue.db")
    put(catalogue, admission("a", study="1.1"))
    with no_descriptors(), pytest.raises(Exhausted):
        list(finder.find(STUDIES, link_up=True))
    assert len(list(finder.find(STUDIES, link_up=True))) == 1
    finder.close()
    catalogue.close()


@pytest.mark.parametrize("count", [99, 101, 1001, 50_000])
def test_a_list_of_uids_may_be_as_long_as_it_likes(tmp_path: Path, count: int) -> None:
    catalogue, finder = Catalogue(tmp_path / "catalogue.db"), Finder(tmp_path / "catalogue.db")
    put(catalogue, admission("a", study="1.1"), admission("b", study="1.2"))
    uids = [f"9.{number}" for number in range(count - 1)] + ["1.2"]
    query = Query(Level.STUDY, {"0020000D": "\\".join(uids)})
    for answers in (list(finder.find(query, link_up=True)), catalogue.find(query, link_up=True)):
        assert [answer["0020000D"]["Value"] for answer in answers] == [["1.2"]]
    assert [one.study for one in catalogue.locate(query)] == ["1.2"]
    finder.close()
    catalogue.close()


@pytest.mark.parametrize("tag", ["00080050", "00100010", "00080061", "00081030"])
def test_a_thousand_values_of_anything_else_are_looked_for(tmp_path: Path, tag: str) -> None:
    catalogue, finder = Catalogue(tmp_path / "catalogue.db"), Finder(tmp_path / "catalogue.db")
    put(catalogue, admission("a", study="1.1", more={0x00080050: ("SH", b"A7"), 0x00081030: ("LO", b"A7")}))
    query = Query(Level.STUDY, {tag: "\\".join(f"A{number}" for number in range(1000))})
    assert len(list(finder.find(query, link_up=True))) == int(tag in {"00080050", "00081030"})
    finder.close()
    catalogue.close()


def test_a_statement_that_sqlite_does_not_take_says_nothing_about_the_disk() -> None:
    with closing(sqlite3.connect(":memory:")) as connection, pytest.raises(sqlite3.OperationalError) as raised:
        connection.execute(f"SELECT {'(' * 2000}1{')' * 2000}")
    assert type(fault_of(raised.value, "The catalogue")) is Permanent
