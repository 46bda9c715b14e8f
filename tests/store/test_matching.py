"""The matching that has to be asked for (PS3.4 section C.5.1.1), and matching inside sequences."""

from __future__ import annotations

import struct

import pytest

from edge.dataset.moments import in_zone, offset_seconds
from edge.model import Json, Level, Manner, Query
from edge.store.catalogue import Catalogue
from edge.store.sound import sound
from tests.store.rows import admission, put, values

PLAIN = Manner()
CHEST = {0x00180015: ("CS", "CHEST"), 0x00080060: ("CS", "CT")}


def item(**elements: str) -> bytes:
    """An explicit VR item of LO and SH elements; keyword names are tags."""
    content = b""
    for name, value in sorted(elements.items()):
        tag = int(name[1:], 16)
        data = value.encode() + b" " * (len(value) % 2)
        content += struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, b"SH", len(data)) + data
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(content)) + content


def found(catalogue: Catalogue, level: Level, matching: dict[str, str], manner: Manner = PLAIN, **more: frozenset[str]) -> list[Json]:
    return catalogue.find(Query(level, matching, manner=manner, **more), link_up=True)


def studies(answers: list[Json]) -> list[object]:
    return sorted(map(str, values(answers, "0020000D")))


@pytest.fixture
def ordered(catalogue: Catalogue) -> Catalogue:
    """Two series, each with two orders."""
    for letter, orders in (("a", (("RP1", "S1"), ("RP2", "S2"))), ("b", (("RP1", "S2"), ("RP3", "")))):
        sequence = b"".join(item(x00401001=procedure, x00400009=step) for procedure, step in orders)
        put(catalogue, admission(letter, study=f"1.{ord(letter)}", series=f"2.{ord(letter)}", more={0x00400275: ("SQ", sequence)}))
    return catalogue


@pytest.mark.parametrize(
    ("keys", "series"),
    [
        ({"00400275.00401001": "RP1"}, "2.97 2.98"),
        ({"00400275.00401001": "RP3"}, "2.98"),
        ({"00400275.00401001": "RP?", "00400275.00400009": "S2"}, "2.97 2.98"),
        ({"00400275.00401001": "RP1", "00400275.00400009": "S2"}, "2.98"),
        ({"00400275.00401001": "RP1", "00400275.00189999": "unknown"}, "2.97 2.98"),
        ({"00400275.00401001": "RP4"}, ""),
        ({"00189999.00401001": "RP4"}, "2.97 2.98"),
    ],
)
def test_one_item_of_a_sequence_has_to_meet_all_the_keys(ordered: Catalogue, keys: dict[str, str], series: str) -> None:
    assert sorted(map(str, values(found(ordered, Level.SERIES, keys), "0020000E"))) == series.split()


def test_items_are_answered_as_far_as_they_are_of_interest(ordered: Catalogue) -> None:
    answer = found(ordered, Level.SERIES, {"00400275.00401001": "RP3"})[0]
    assert answer["00400275"]["Value"] == [
        {"00400009": {"vr": "SH", "Value": ["S2"]}, "00401001": {"vr": "SH", "Value": ["RP1"]}},
        {"00400009": {"vr": "SH"}, "00401001": {"vr": "SH", "Value": ["RP3"]}},
    ]


@pytest.fixture
def people(catalogue: Catalogue) -> Catalogue:
    names = ["Meier^Hans-Peter", "MAYER^Peter", "Müller^Anna", "O'Brien^Sean", "Иванов^Пётр", "Schmidt^Otto"]
    for number, name in enumerate(names):
        charset = {0x00080005: ("CS", "ISO_IR 192"), 0x00080090: ("PN", b"Gross^Ada")}
        put(
            catalogue,
            admission(
                "abcdef"[number], study=f"1.{number}", more={**charset, 0x00100010: ("PN", name.encode()), 0x00100020: ("LO", f"P{number}")}
            ),
        )
    return catalogue


@pytest.mark.parametrize(
    ("text", "found_in"),
    [
        ("maier", "1.0 1.1"),
        ("peter meyer", "1.0 1.1"),
        ("Hans Maier", "1.0"),
        ("mueller^anna", "1.2"),
        ("an* muller", "1.2"),
        ("obrien", "1.3"),
        ("иванов", "1.4"),
        ("Иванов Петр", "1.4"),
        ("smith", "1.5"),
        ("schmitt^otto", "1.5"),
        ("M*", "1.0 1.1 1.2"),
        ("nobody", ""),
    ],
)
def test_fuzzy_names_match_by_word_and_sound_in_any_order(people: Catalogue, text: str, found_in: str) -> None:
    assert studies(found(people, Level.STUDY, {"00100010": text}, Manner(fuzzy=True))) == found_in.split()


def test_fuzzy_names_of_other_people_match_by_word(people: Catalogue) -> None:
    assert len(found(people, Level.STUDY, {"00080090": "ada gross"}, Manner(fuzzy=True))) == 6
    assert not found(people, Level.STUDY, {"00080090": "ada gross"})
    assert not found(people, Level.STUDY, {"00080090": "ada klein"}, Manner(fuzzy=True))


@pytest.mark.parametrize(
    "alike", [("meier", "mayer", "maier", "meyr"), ("schmidt", "schmitt", "smith"), ("filip", "philipp"), ("kuhn", "cohen")]
)
def test_spellings_that_sound_alike_have_one_key(alike: tuple[str, ...]) -> None:
    assert len(set(map(sound, alike))) == 1


@pytest.mark.parametrize("word", ["ae", "o", "iou", "h", "'"])
def test_no_word_has_an_empty_key(word: str) -> None:
    assert sound(word)


@pytest.fixture
def nights(catalogue: Catalogue) -> Catalogue:
    """Studies of three nights; the last ones say their time zone."""
    for number, (date, time, zone) in enumerate(
        [
            ("20240301", "2230", ""),
            ("20240302", "0130", ""),
            ("20240302", "120000.5", ""),
            ("20240302", "2330", "-0500"),
            ("20240303", "003000", "+0100"),
        ]
    ):
        more = {0x00080020: ("DA", date), 0x00080030: ("TM", time), **({0x00080201: ("SH", zone)} if zone else {})}
        put(catalogue, admission("abcde"[number], study=f"1.{number}", more=more))
    return catalogue


@pytest.mark.parametrize(
    ("dates", "times", "combined", "found_in"),
    [
        ("20240301-20240302", "2200-0600", True, "1.0 1.1"),
        ("20240301-20240302", "2200-0600", False, ""),
        ("20240301-20240302", "2200-1200", True, "1.0 1.1 1.2"),
        ("20240301-", "2300-", True, "1.1 1.2 1.3 1.4"),
        ("-20240302", "-0130", True, "1.0 1.1"),
        ("20240302", "0000-0600", True, "1.1"),
        ("20240301-20240303", "", True, "1.0 1.1 1.2 1.3 1.4"),
    ],
)
def test_a_date_range_and_a_time_range_are_one_range_where_it_was_agreed(
    nights: Catalogue, dates: str, times: str, combined: bool, found_in: str
) -> None:
    keys = {"00080020": dates, "00080030": times}
    assert studies(found(nights, Level.STUDY, keys, Manner(combined=combined))) == found_in.split()


@pytest.mark.parametrize(
    ("dates", "times", "zone", "found_in"),
    [
        ("20240303", "", "-0500", "1.4"),
        ("20240302", "", "-0500", "1.1 1.2 1.3 1.4"),
        ("20240303", "", "+0000", "1.3"),
        ("20240303", "043000", "+0000", "1.3"),
        ("20240302", "2330", "+0000", "1.4"),
        ("20240302-20240303", "2300-0500", "+0000", "1.3 1.4"),
        ("2024*", "", "+0000", "1.0 1.1 1.2 1.3 1.4"),
    ],
)
def test_dates_are_meant_in_the_zone_of_the_query(nights: Catalogue, dates: str, times: str, zone: str, found_in: str) -> None:
    manner = Manner(combined="-" in times, time_zone=offset_seconds(zone))
    keys = {"00080020": dates, "00080030": times}
    if zone == "-0500" and dates == "20240303":
        keys["0020000D"] = "1.4"
        found_in = ""
    assert studies(found(nights, Level.STUDY, keys, manner)) == found_in.split()


def test_an_answer_is_given_in_another_zone_where_the_study_says_its_own(nights: Catalogue) -> None:
    first, last = (found(nights, Level.STUDY, {"0020000D": study})[0] for study in ("1.0", "1.3"))
    assert in_zone(first, 0) == first
    moved = in_zone(last, 3600)
    assert [moved[tag]["Value"] for tag in ("00080020", "00080030", "00080201")] == [["20240303"], ["0530"], ["+0100"]]


@pytest.mark.parametrize("text", ["", "+1", "0100", "+01:00", "x"])
def test_what_is_no_offset_is_none(text: str) -> None:
    assert offset_seconds(text) is None


def test_an_empty_value_is_found_where_it_was_agreed(catalogue: Catalogue) -> None:
    put(catalogue, admission("a", study="1.1", more={0x00080050: ("SH", ""), 0x00080090: ("PN", "")}))
    put(catalogue, admission("b", study="1.2", more={0x00080050: ("SH", "A"), 0x00080090: ("PN", "B")}))
    for tag in ("00080050", "00080090", "00081080"):
        expected = ["1.1", "1.2"] if tag == "00081080" else ["1.1"]
        assert studies(found(catalogue, Level.STUDY, {tag: '""'}, Manner(empty=True))) == expected
        assert not found(catalogue, Level.STUDY, {tag: '""'})
    assert not found(catalogue, Level.STUDY, {"00100020": '""'}, Manner(empty=True))


@pytest.fixture
def mixed(catalogue: Catalogue) -> Catalogue:
    """One study with a CT series of the chest and an MR series of the head, one with an MR series of the chest."""
    put(catalogue, admission("a", study="1.1", series="2.1", instance="3.1", more=CHEST))
    put(
        catalogue,
        admission("a", 5000, study="1.1", series="2.2", instance="3.2", more={0x00180015: ("CS", "HEAD"), 0x00080060: ("CS", "MR")}),
    )
    put(catalogue, admission("b", study="1.2", series="2.3", instance="3.3", more={**CHEST, 0x00080060: ("CS", "MR")}))
    return catalogue


@pytest.mark.parametrize(
    ("level", "keys", "found_in"),
    [
        (Level.STUDY, {"00080060": "MR"}, "1.1 1.2"),
        (Level.STUDY, {"00080060": "MR", "00180015": "CHEST"}, "1.2"),
        (Level.STUDY, {"00080018": "3.2"}, "1.1"),
        (Level.STUDY, {"00080060": "CT", "00080018": "3.2"}, ""),
        (Level.STUDY, {"00080060": "US"}, ""),
        (Level.SERIES, {"00080018": "3.3"}, "1.2"),
    ],
)
def test_keys_of_levels_below_restrict_a_relational_query_together(
    mixed: Catalogue, level: Level, keys: dict[str, str], found_in: str
) -> None:
    assert studies(found(mixed, level, keys, Manner(relational=True))) == found_in.split()


def test_a_patient_is_found_by_what_was_done_where_the_query_is_relational(mixed: Catalogue) -> None:
    for keys, count in (
        ({"00080060": "CT"}, 1),
        ({"00080018": "3.3"}, 1),
        ({"00080018": "9.9"}, 0),
        ({"00080061": "MR"}, 1),
        ({"00080020": "1"}, 0),
    ):
        assert len(found(mixed, Level.PATIENT, keys, Manner(relational=True))) == count, keys


def test_sop_classes_in_study_are_matched_and_answered_where_they_are_wanted(mixed: Catalogue) -> None:
    (classes,) = {str(one["00080016"]["Value"][0]) for one in found(mixed, Level.IMAGE, {})}
    assert studies(found(mixed, Level.STUDY, {"00080062": classes})) == ["1.1", "1.2"]
    assert not found(mixed, Level.STUDY, {"00080062": "9.9"})
    answers = found(mixed, Level.STUDY, {}, also=frozenset({"00080062", "00201200"}))
    assert [one["00080062"]["Value"] for one in answers] == [[classes], [classes]]
    assert [one["00201200"]["Value"] for one in answers] == [[2], [2]]
