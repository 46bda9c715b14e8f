"""edge.store.finder: searches beside the writer see what is committed, and neither waits for the other."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from edge.errors import Corrupt, Exhausted
from edge.model import Level, Query
from edge.store.catalogue import Catalogue
from edge.store.finder import Finder
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
