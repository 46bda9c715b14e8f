"""edge.store.names: who has a name is found by an index, and is who matches, whatever the name and the pattern."""

from __future__ import annotations

import random
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edge.model import UID, Correction, Json, Level, Manner, Query
from edge.store.catalogue import Catalogue
from edge.store.fold import GROUPS, fold
from edge.store.leads import IN_ORDER_OF_DATE, IN_ORDER_OF_NAME
from edge.store.names import who_is_called
from edge.store.search import answer, statement
from edge.store.sound import sound as sound_of
from edge.store.sound import words
from edge.store.terms import beginning
from tests.store.rows import ask, values

NAME = "00100010"
LITERAL, FUZZY = Manner(), Manner(fuzzy=True)


def person(name: str) -> Json:
    return {"vr": "PN", "Value": [dict(zip(GROUPS, name.split("="), strict=False))]}


def called(catalogue: Catalogue, names: list[str]) -> None:
    """A patient with a study for each name."""
    for number, name in enumerate(names):
        study = UID(f"1.{number}")
        with catalogue.facts(1):
            catalogue.hear_of(PACK[number], {"0020000D": {"vr": "UI", "Value": [study]}, NAME: person(name)}, [], "1" * 64, 1, 5.0)


PACK = [f"{number:026}".translate(str.maketrans("0123456789", "abcdefghij")) for number in range(1000)]


def numbers(found: list[Json]) -> list[int]:
    return sorted(int(str(uid).split(".")[1]) for uid in values(found, "0020000D"))


def matches(name: str, pattern: str) -> bool:
    """The rule in other words: one of the component groups is what the pattern says, without case and accents; a delimiter before a last
    * may be missing. Wildcards and delimiters alone match any name.
    """
    asked = fold(pattern)
    forms = [asked, asked.removesuffix("^*")] if asked.endswith("^*") else [asked]
    as_regex = ["".join({"*": ".*", "?": "."}.get(one, re.escape(one)) for one in form) for form in forms]
    groups = [fold(group) for group in name.split("=") if fold(group)]
    return not asked.strip("*^") or any(re.fullmatch(form, group, re.DOTALL) for form in as_regex for group in groups)


ALPHABETS = ["abAB^ ", "äéß^a-", "山田太^", "김이박^", "ab^山[]'\""]


@pytest.mark.parametrize("seed", range(25))
def test_who_matches_is_found_by_any_way_of_looking(catalogue: Catalogue, seed: int) -> None:
    draw = random.Random(seed)
    alphabet = draw.choice(ALPHABETS)

    def text(least: int, wild: str = "") -> str:
        return "".join(draw.choice(alphabet + wild) for _ in range(draw.randrange(least, 8)))

    names = ["=".join(text(0) for _ in range(draw.choice([1, 1, 2, 3]))) for _ in range(40)]
    called(catalogue, names)
    patterns = [text(1, wild) for wild in ("", "*", "**?", "?") for _ in range(12)]
    patterns += [f"{text(1)}*" for _ in range(6)] + [f"*{text(3)}*" for _ in range(6)] + [f"*{draw.choice(alphabet)}*" for _ in range(3)]
    patterns += [f"*{name.split('=')[-1][place : place + 3]}*" for name in names for place in range(2)]
    for pattern in patterns:
        expected = [number for number, name in enumerate(names) if matches(name, pattern)]
        assert numbers(ask(catalogue, Level.STUDY, {NAME: pattern})) == expected, (pattern, names)
        assert numbers(in_order(catalogue, pattern)) == expected, (pattern, names)
        meant = catalogue.find(Query(Level.STUDY, {NAME: pattern}, manner=FUZZY), True)
        assert set(numbers(meant)) >= set(expected), (pattern, names)
        assert meant == in_order(catalogue, pattern, FUZZY), (pattern, names)


def in_order(catalogue: Catalogue, pattern: str, manner: Manner = LITERAL) -> list[Json]:
    """As where too many have such a name."""
    query = Query(Level.STUDY, {NAME: pattern}, manner=manner)
    with catalogue._reading():
        return [answer(query, row, True) for row in catalogue._connection.execute(*statement(query, IN_ORDER_OF_DATE))]


@pytest.fixture
def scripts(catalogue: Catalogue) -> Catalogue:
    called(
        catalogue,
        [
            "Müller^Jürgen",
            "Muller-Lüdenscheidt^A",
            "Wang^Wei=王^伟",
            "Li^Na=李^娜",
            "李",
            "Hong^Gildong=洪^吉洞=홍^길동",
            "이",
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
            "高",
            "NGUYỄN^Thị Ánh",
            "O'Brien^Seán",
            "Đặng^An",
        ],
    )
    return catalogue


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("王*", [2]),
        ("王^伟", [2]),
        ("*伟", [2]),
        ("李", [4]),
        ("李*", [3, 4]),
        ("*李*", [3, 4]),
        ("?", [4, 6, 8]),
        ("이", [6]),
        ("*길*", [5]),
        ("홍*", [5]),
        ("*田^太*", [7]),
        ("*まだ*", [7]),
        ("山田*=やまだ*", [7]),
        ("Yamada*=*=やまだ*", [7]),
        ("高*", [8]),
        ("*ü*", [0, 1, 7, 9]),
        ("*denscheidt*", [1]),
        ("*lüdensch*", [1]),
        ("nguyen*", [9]),
        ("*thi anh*", [9]),
        ("*'br*", [10]),
        ("*sean", [10]),
        ("Wang^Wei=王^娜", []),
        ("wang^*=王^*", [2]),
        ("W*i", [2]),
        ("w*伟", []),
        ("*i=王*", [2]),
        ("li^na=李^娜", [3]),
        ("zzz*", []),
        ("*zzz*", []),
        ("*鿿*", []),
    ],
)
def test_names_of_any_script_are_found_by_their_groups(scripts: Catalogue, pattern: str, expected: list[int]) -> None:
    assert numbers(ask(scripts, Level.STUDY, {NAME: pattern})) == expected
    assert numbers(in_order(scripts, pattern)) == expected


@pytest.mark.parametrize("level", [Level.PATIENT, Level.STUDY])
def test_a_limit_and_an_offset_hold_where_names_are_looked_up(scripts: Catalogue, level: Level) -> None:
    whole = [found[NAME] for found in ask(scripts, level, {NAME: "*a*"})]
    assert len(whole) > 3
    assert [found[NAME] for found in ask(scripts, level, {NAME: "*a*"}, limit=2, offset=1)] == whole[1:3]


def test_patients_come_in_the_order_of_their_names(scripts: Catalogue) -> None:
    query = Query(Level.PATIENT, {NAME: "*a*"})
    with scripts._reading():
        in_order = [answer(query, row, True) for row in scripts._connection.execute(*statement(query, IN_ORDER_OF_NAME))]
    assert ask(scripts, Level.PATIENT, {NAME: "*a*"}) == in_order


@pytest.mark.parametrize(
    ("pattern", "by"),
    [
        ("doe^jane", "name.text = ?"),
        ("doe*", "name.text >= ? AND name.text < ?"),
        ("doe^*", "name.text >= ? AND name.text < ?"),
        ("d*", "name.text >= ? AND name.text < ?"),
        ("山*", "name.text >= ? AND name.text < ?"),
        ("d*jane", "name_part MATCH ?"),
        ("*jane*", "name_part MATCH ?"),
        ("*ja?ne*", "+name.text GLOB ?"),
        ("*山*", "+name.text GLOB ?"),
        ("*=doe*", "name.text >= ? AND name.text < ?"),
        ("*山*=doe^jane", "name.text = ?"),
    ],
)
def test_the_best_index_for_a_pattern_is_taken(pattern: str, by: str) -> None:
    term = who_is_called(pattern)
    assert term is not None
    assert term[0].split(" WHERE ")[1].startswith((by, f"({by}"))


def test_any_name_is_no_name_to_look_up() -> None:
    assert [who_is_called(pattern) for pattern in ("", "*", "**", "*=*", "=", "^^^", "*^*", "^*")] == [None] * 8


@pytest.mark.parametrize("text", ["a", "ab", "z", "é", "\ud7ff", "\uffff", "\U0010ffff", "a\U0010ffff"])
def test_what_begins_with_a_text_lies_in_the_range_of_it_and_nothing_else(text: str) -> None:
    term = beginning("value", text)
    assert term is not None
    others = ["", "a", "aa", "ab", "abc", "b", "z", "é", "éa", "ê", "\ud7ff", "\ud7ffa", "\ue000", "\uffff", "\U00010000"]
    others += ["\U0010ffff", "\U0010ffff\U0010ffff", "a\U0010ffff", "a\U0010ffffb", "b\U0010ffff", text, f"{text}x"]
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE thing (value TEXT)")
        connection.executemany("INSERT INTO thing VALUES (?)", [(one,) for one in others])
        found = [row[0] for row in connection.execute(f"SELECT value FROM thing WHERE {term[0]}", term[1])]
    assert sorted(found) == sorted(one for one in others if one.startswith(text))


def index(path: Path) -> set[tuple[str, str]]:
    """Each name with the ID of who has it; the index of parts agrees with the names."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as beside:
        texts = {text for (text,) in beside.execute("SELECT text FROM name")}
        for text in texts:
            if len(text) >= 3:
                part = '"' + text[:3].replace('"', '""') + '"'
                assert text in {row[0] for row in beside.execute("SELECT text FROM name_part WHERE name_part MATCH ?", [part])}
        rows = set(beside.execute("SELECT text, patient_id FROM called JOIN name USING (name) JOIN patient USING (patient)"))
        assert {text for text, _ in rows} == texts
        sounds = {(sound, who) for text, who in rows for sound in map(sound_of, words(text))}
        assert set(beside.execute("SELECT sound, patient_id FROM sounding JOIN patient USING (patient)")) == sounds
        return rows


def test_a_name_that_nobody_has_any_more_is_forgotten(catalogue: Catalogue, tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    for number in (1, 2):
        study = {"0020000D": {"vr": "UI", "Value": [f"1.{number}"]}, "00100020": {"vr": "LO", "Value": [f"P{number}"]}}
        with catalogue.facts(number):
            catalogue.hear_of(PACK[number], {**study, NAME: person('Dœ^"J\\ane"\n=山田^太郎')}, [], "1" * 64, 1, 5.0)
    quoted, family = fold('Dœ^"J\\ane"'), "山田^太郎"
    assert index(path) == {(quoted, "P1"), (quoted, "P2"), (family, "P1"), (family, "P2")}
    right = {NAME: person("Doe^Jane=山田^太郎")}
    catalogue.remember([Correction(UID("1.1"), right, 5.0)])
    assert index(path) == {("doe^jane", "P1"), (quoted, "P2"), (family, "P1"), (family, "P2")}
    catalogue.remember([Correction(UID("1.2"), {**right, "00100020": {"vr": "LO", "Value": ["P1"]}}, 6.0)])
    assert index(path) == {("doe^jane", "P1"), (family, "P1")}
    assert len(ask(catalogue, Level.STUDY, {NAME: "*jane*"})) == 2
    assert ask(catalogue, Level.STUDY, {NAME: '*"j*'}) == []
    catalogue.remember([Correction(UID("1.1"), {}, 7.0), Correction(UID("1.2"), {}, 7.0)])
    assert index(path) == {(quoted, "P1"), (quoted, "P2"), (family, "P1"), (family, "P2")}
