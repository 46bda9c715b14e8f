"""edge.store.catalogue: the index keeps its own rules, whatever it is told."""

from __future__ import annotations

import re
import sqlite3
import threading
from pathlib import Path

import pytest

from edge.errors import Corrupt, Refused, StoreFailed
from edge.link import LinkState
from edge.model import Availability, Digest, Level, Query, Urgency
from edge.store.catalogue import SCHEMA_VERSION, Catalogue
from edge.store.quarantine import About
from edge.store.sql import Database, connect, statements
from tests.store.rows import admission, ask, close, hear, hold, pack_id, put, values

HEARD = {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}, "00100020": {"vr": "LO", "Value": ["P1"]}}


# The schema


def test_every_table_is_strict(catalogue: Catalogue, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "catalogue.db") as beside:
        tables = {name: strict for _, name, kind, _, _, strict in beside.execute("PRAGMA table_list") if kind == "table"}
    beside.close()
    ours = {name: strict for name, strict in tables.items() if not name.startswith("sqlite_")}
    assert {"instance", "pack", "study"} <= ours.keys()
    assert [name for name, strict in ours.items() if not strict] == []


@pytest.mark.parametrize(
    "resource",
    ["queries.sql", "forward_queries.sql", "reader_queries.sql", "site_queries.sql", "commitment_queries.sql", "route_queries.sql"],
)
def test_each_statement_is_one_that_sqlite_understands(resource: str, tmp_path: Path) -> None:
    database = Database.SITE if resource.startswith(("commitment", "route", "site")) else Database.CATALOGUE
    connection = connect(tmp_path / "any.db", database)
    named = statements(resource)
    assert len(named) > 3
    for name, text in named.items():
        count = text.count("?")
        parameters: object = [None] * count if count else dict.fromkeys(re.findall(r":(\w+)", text), None)
        connection.execute("EXPLAIN " + text.replace("/*where*/", "1"), parameters)  # type: ignore[arg-type]
        assert name
    connection.close()


def test_what_sits_in_a_column_has_its_type(catalogue: Catalogue) -> None:
    put(catalogue, admission())
    with pytest.raises(sqlite3.IntegrityError), catalogue.change():
        catalogue._run("close_pack", closed_at="now", bytes=10_000, sha256="0" * 64, pack=pack_id("a"))
    for closed_at, digest in ((1.0, "0" * 63), (1.0, None), (None, "0" * 64)):
        with pytest.raises(sqlite3.IntegrityError), catalogue.change():
            catalogue._run("close_pack", closed_at=closed_at, bytes=10, sha256=digest, pack=pack_id("a"))
    assert catalogue.pack(pack_id("a")).closed_at is None  # type: ignore[union-attr]


def test_a_database_of_a_newer_outpost_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    Catalogue(path).close()
    with sqlite3.connect(path) as beside:
        beside.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    beside.close()
    with pytest.raises(Refused, match="made by a newer Outpost"):
        Catalogue(path)


@pytest.mark.parametrize("damage", [b"no database at all, but long enough to be looked at" * 40, b"SQLite format 3\0" + b"\xff" * 4080])
def test_a_file_that_is_no_database_is_corrupt(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "catalogue.db"
    path.write_bytes(damage)
    with pytest.raises(Corrupt, match=r"catalogue\.db is damaged .* made again"):
        Catalogue(path)
    assert path.read_bytes() == damage


def test_a_database_that_is_damaged_inside_is_corrupt_to_readers_and_stops_reception(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    catalogue = Catalogue(path)
    put(catalogue, *(admission("a", number * 4096, instance=f"1.{number}", number=number) for number in range(50)))
    catalogue.close()
    with sqlite3.connect(path) as beside:
        pages = [
            page for (page,) in beside.execute("SELECT rootpage FROM sqlite_schema WHERE tbl_name IN ('instance', 'pack') AND rootpage > 0")
        ]
    beside.close()
    with path.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * 4096)
            file.write(b"\xa5" * 4096)
    damaged = Catalogue(path)
    for read in (lambda: ask(damaged, Level.IMAGE), lambda: damaged.locate(Query(Level.STUDY, {})), lambda: damaged.pack(pack_id("a"))):
        with pytest.raises(Corrupt, match="damaged"):
            read()
    with pytest.raises(StoreFailed, match="damaged"):
        damaged.admit(admission("a", 0, instance="1.99"))
    damaged.close()


def test_a_link_in_the_place_of_the_database_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "catalogue.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        Catalogue(tmp_path / "catalogue.db")
    assert not (tmp_path / "elsewhere").exists()


def test_what_was_committed_is_there_after_it_was_opened_again(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path / "catalogue.db")
    put(catalogue, admission())
    catalogue.close()
    again = Catalogue(tmp_path / "catalogue.db")
    assert len(ask(again, Level.IMAGE)) == 1
    again.close()


# Reception


def test_the_same_instance_again_changes_nothing(catalogue: Catalogue) -> None:
    put(catalogue, admission("a", 0))
    assert not catalogue.admit(admission("a", 4096))
    assert not catalogue.open_pack(pack_id("b"), Urgency.ROUTINE, admission("b", 0))
    assert len(catalogue.digests(admission().identity)) == 1
    assert catalogue.pack(pack_id("a")).instances == 1  # type: ignore[union-attr]
    catalogue.forget_empty(pack_id("b"))
    catalogue.forget_empty(pack_id("a"))
    assert catalogue.pack(pack_id("b")) is None
    assert catalogue.pack(pack_id("a")) is not None


def test_studies_of_one_patient_are_joined_by_id_and_issuer(catalogue: Catalogue) -> None:
    for number, (patient, issuer) in enumerate([("P1", ""), ("P1", ""), ("P1", "OTHER"), ("P2", "")]):
        more = {0x00100020: ("LO", patient), 0x00100021: ("LO", issuer)}
        put(catalogue, admission("abcd"[number], study=f"1.{number}", series=f"1.{number}.1", instance=f"1.{number}.1.1", more=more))
    found = ask(catalogue, Level.PATIENT)
    assert sorted((answer["00100020"]["Value"][0], answer["00201200"]["Value"][0]) for answer in found) == [("P1", 1), ("P1", 2), ("P2", 1)]
    assert len(ask(catalogue, Level.PATIENT, {"00100021": "OTHER"})) == 1


@pytest.mark.parametrize("dummy", ["", "0", "1", "TEST", "test", " Unknown ", "ANONYMOUS", "N/A"])
def test_empty_and_dummy_ids_never_join_studies(catalogue: Catalogue, dummy: str) -> None:
    for number in (1, 2):
        more = {0x00100020: ("LO", dummy)}
        put(catalogue, admission("ab"[number - 1], study=f"1.{number}", series=f"1.{number}.1", instance=f"1.{number}.1.1", more=more))
    assert values(ask(catalogue, Level.PATIENT), "00201200") == [1, 1]


def test_a_known_study_under_another_patient_id_stays_where_it_was_is_hidden_and_makes_no_patient(catalogue: Catalogue) -> None:
    put(catalogue, admission("a", 0), admission("a", 4096, instance="1.2.3.1.2", more={0x00100020: ("LO", "P2")}))
    assert values(ask(catalogue, Level.PATIENT), "00100020") == ["P1"]
    assert values(ask(catalogue, Level.PATIENT), "00201204") == [1]


def test_the_newest_reception_of_a_study_is_kept(catalogue: Catalogue) -> None:
    put(catalogue, admission("a", 0, received_at=500.0), admission("a", 4096, instance="1.2.3.1.2", received_at=400.0))
    assert catalogue.rows("studies_in_packs", study=None, most=9)[0][3] == 500.0


def test_quarantine_counts_each_digest_once(catalogue: Catalogue) -> None:
    for _ in range(2):
        catalogue.quarantine(Digest("0" * 64), About("why", 100, "1.2", "1.2.3.1.1", "CT99", 1.0))
    catalogue.quarantine(Digest("1" * 64), About("why", 50, "1.2", "1.2.3.1.2", "CT99", 2.0))
    assert sum(size for _, size in catalogue.rows("quarantined_bytes")) == 150
    assert [row[2] for row in catalogue.rows("quarantined")] == [50, 100]


def test_several_threads_admit_the_same_instance_once(catalogue: Catalogue) -> None:
    outcomes: list[bool] = []

    def admit(letter: str) -> None:
        for number in range(20):
            one = admission(letter, number * 4096, instance=f"1.{number}", number=number)
            outcomes.append(catalogue.open_pack(pack_id(letter), Urgency.ROUTINE, one))

    threads = [threading.Thread(target=admit, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(True) == 20
    assert values(ask(catalogue, Level.STUDY), "00201208") == [20]
    assert sum(len(catalogue.rows("offsets_in_pack", pack_id(letter))) for letter in "abcd") == 20


# The life of a pack


def test_a_pack_without_a_holding_is_not_evicted(catalogue: Catalogue) -> None:
    put(catalogue, admission())
    with pytest.raises(Refused, match="only copy"):
        catalogue.evict(pack_id("a"))
    close(catalogue, "a")
    with pytest.raises(Refused, match="only copy"):
        catalogue.evict(pack_id("a"))
    assert catalogue.pack(pack_id("a")).here == "whole"  # type: ignore[union-attr]
    assert values(ask(catalogue, Level.IMAGE), "00080056") == [Availability.ONLINE]
    hold(catalogue, "a")
    catalogue.evict(pack_id("a"))
    assert catalogue.pack(pack_id("a")).here == "no"  # type: ignore[union-attr]


def test_a_holding_stays_while_the_archive_has_the_only_copy(catalogue: Catalogue) -> None:
    put(catalogue, admission())
    close(catalogue, "a")
    hold(catalogue, "a")
    catalogue.evict(pack_id("a"))
    with pytest.raises(sqlite3.IntegrityError, match="only copy"), catalogue.change():
        catalogue._connection.execute("DELETE FROM holding")


def test_a_closed_pack_is_closed_once_and_coded_once(catalogue: Catalogue) -> None:
    put(catalogue, admission())
    close(catalogue, "a", closed_at=2000.0, size=100)
    close(catalogue, "a", closed_at=9999.0, size=999)
    state = catalogue.pack(pack_id("a"))
    assert state is not None
    assert (state.closed_at, state.bytes) == (2000.0, 100)
    catalogue.mark_coded(pack_id("a"), 2500.0, 70, "{}", 3)
    catalogue.mark_coded(pack_id("a"), 9999.0, 99, "[]", 9)
    assert catalogue.rows("asked_not_held") == [("{}",)]
    assert catalogue.figure("outbox_bytes") == 70


def test_an_open_pack_cannot_be_coded(catalogue: Catalogue) -> None:
    put(catalogue, admission())
    with pytest.raises(sqlite3.IntegrityError):
        catalogue.mark_coded(pack_id("a"), 2500.0, 70, "{}", 3)


def test_urgent_packs_are_coded_first_then_the_oldest_and_stopped_ones_not_at_all(catalogue: Catalogue) -> None:
    for number, (letter, urgency) in enumerate([("a", "routine"), ("b", "background"), ("c", "stat"), ("d", "routine"), ("e", "stat")]):
        one = admission(letter, study=f"1.{number}", series=f"1.{number}.1", instance=f"1.{number}.1.1")
        catalogue.open_pack(pack_id(letter), Urgency(urgency), one)
        close(catalogue, letter, closed_at=2000.0 - number)
    with catalogue.change():
        catalogue.mark_stopped(pack_id("e"), "why")
    order = []
    while rows := catalogue.rows("next_to_code", since=0.0):
        order.append(rows[0][0][0])
        catalogue.mark_coded(rows[0][0], 2500.0, 70, "{}", 3)
    assert order == ["c", "d", "a", "b"]


def test_a_held_pack_is_settled_and_may_be_told_again(catalogue: Catalogue) -> None:
    put(catalogue, admission())
    close(catalogue, "a")
    catalogue.mark_coded(pack_id("a"), 2500.0, 70, "{}", 3)
    with catalogue.facts(1):
        catalogue.mark_progress(pack_id("a"), 2, 3)
        catalogue.mark_progress(pack_id("a"), 1, 3)
        catalogue.mark_stopped(pack_id("a"), "it was refused")
    assert catalogue.rows("studies_in_packs", study=None, most=9)[0][11:13] == (2, 3)
    for upto in (2, 3):
        hold(catalogue, "a", upto)
    state = catalogue.pack(pack_id("a"))
    assert state is not None
    assert (state.held, state.stopped) == (True, None)
    assert catalogue.rows("asked_not_held") == []
    assert catalogue.figure("facts_upto") == 3


def test_facts_and_their_position_are_one_commit(catalogue: Catalogue) -> None:
    put(catalogue, admission())
    close(catalogue, "a")
    with pytest.raises(ZeroDivisionError), catalogue.facts(7):
        catalogue.hold(pack_id("a"), 1.0, 1)
        raise ZeroDivisionError
    assert catalogue.figure("facts_upto") == 0
    assert not catalogue.pack(pack_id("a")).held  # type: ignore[union-attr]


def test_the_last_word_about_the_link_counts(catalogue: Catalogue) -> None:
    with catalogue.facts(1):
        catalogue.set_link(LinkState("up", 1.0, 2.0, "Good.", 2.5, 7, 4.0))
        catalogue.set_link(LinkState("down", 3.0, 0.0, "Bad.", 2.5, 8, 5.0))
    assert catalogue.link() == LinkState("down", 3.0, 0.0, "Bad.", 2.5, 8, 5.0)


def test_the_figures_of_the_sentence(catalogue: Catalogue) -> None:
    assert catalogue.rows("counts") == [(0, 0, 0, None, 0, None, 0, 0)]
    for number, letter in enumerate("abc"):
        put(catalogue, admission(letter, study=f"1.{number % 2}", series=f"1.{number}.1", instance=f"1.{number}.1.1"))
        close(catalogue, letter, size=100)
    put(catalogue, admission("d", study="1.3", series="1.3.1", instance="1.3.1.1"))
    hold(catalogue, "b")
    with catalogue.change():
        catalogue.mark_stopped(pack_id("a"), "why")
        catalogue.mark_stopped(pack_id("c"), "why")
    open_bytes = admission("d", study="1.3", series="1.3.1", instance="1.3.1.1").member.dataset_length
    assert catalogue.rows("counts") == [(3, 2, 200 + open_bytes, 1000.0, 4, 3000.0, 1, 0)]


# What a rebuilt box hears


def test_hearing_of_a_pack_twice_is_harmless(catalogue: Catalogue) -> None:
    for _ in range(2):
        hear(catalogue, "h", HEARD, [{"0020000E": {"vr": "UI", "Value": ["1.2.3.1"]}}], 4)
    assert values(ask(catalogue, Level.STUDY), "00201208") == [4]
    assert catalogue.rows("headless", study="1.2.3") == [(pack_id("h"),)]


@pytest.mark.parametrize("study", [{}, {"0020000D": {"vr": "UI"}}, {"0020000D": {"vr": "UI", "Value": ["../x"]}}])
def test_a_pack_without_a_study_is_corrupt_and_leaves_nothing(catalogue: Catalogue, study: dict[str, object]) -> None:
    with pytest.raises(Corrupt, match="no study"):
        hear(catalogue, "h", study, [], 4)
    with pytest.raises(Corrupt, match="no study or series"):
        hear(catalogue, "h", HEARD, [{}], 4)
    assert ask(catalogue, Level.STUDY) == []
    assert catalogue.figure("facts_upto") == 0


def test_a_recalled_pack_counts_in_the_cache_with_the_size_that_its_head_proves(catalogue: Catalogue) -> None:
    hear(catalogue, "h", HEARD, [], 2)
    admissions = [admission("h", offset, instance=f"1.2.3.1.{offset}", here=False) for offset in (0, 2048)]
    catalogue.learn_head(admissions, pack_id("h"), 5000, 3)
    assert catalogue.figure("cached_bytes") == 0
    catalogue.begin_recall(pack_id("h"))
    catalogue.recalled(pack_id("h"), [1024])
    located = sorted(catalogue.locate(Query(Level.STUDY, {"0020000D": "1.2.3"})), key=lambda one: one.dataset_offset)
    assert [one.present for one in located] == [True, False]
    catalogue.recalled(pack_id("h"), [3072])
    catalogue.set_whole(pack_id("h"))
    end = 3072 + admissions[1].member.dataset_length
    assert catalogue.figure("cached_bytes") == -(-end // 512) * 512 + 1024
    assert values(ask(catalogue, Level.STUDY), "00080056") == ["ONLINE"]


def test_instances_are_located_in_series_and_instance_order(catalogue: Catalogue) -> None:
    for number in (3, 1, 2):
        put(catalogue, admission("a", number * 4096, instance=f"1.2.3.1.{number}", number=number))
    found = catalogue.locate(Query(Level.STUDY, {"0020000D": "1.2.3"}))
    assert [one.sop_instance for one in found] == ["1.2.3.1.1", "1.2.3.1.2", "1.2.3.1.3"]
    assert all(one.present and one.pack == pack_id("a") for one in found)
    assert catalogue.locate(Query(Level.IMAGE, {"00080018": "1.2.3.1.2"}))[0].dataset_offset == 2 * 4096 + 1024
    assert catalogue.locate(Query(Level.STUDY, {"0020000D": "9.9"})) == []
