"""Matching of C-FIND and QIDO-RS against the catalogue, attribute by attribute and level by level."""

from __future__ import annotations

import pytest

from edge.dataset.attributes import INTEREST
from edge.model import Level
from edge.store.catalogue import Catalogue
from tests.store.rows import admission, ask, close, hear, hold, pack_id, put, values

NAMES = {
    "1.1": "Müller^Jürgen",
    "1.2": "MULLER^ANNA^Maria",
    "1.3": "Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
    "1.4": "Smith [Jr]^Bob",
    "1.5": "",
}


@pytest.fixture
def named(catalogue: Catalogue) -> Catalogue:
    """Five patients, a study each."""
    for number, (study, name) in enumerate(NAMES.items()):
        charset = "\\ISO 2022 IR 87" if "\x1b" in name else "ISO_IR 100"
        more = {0x00080005: ("CS", charset), 0x00100010: ("PN", name), 0x00100020: ("LO", f"ID{number}")}
        put(catalogue, admission("abcde"[number], study=study, series=f"{study}.1", instance=f"{study}.1.1", more=more))
    return catalogue


@pytest.mark.parametrize(
    ("text", "studies"),
    [
        ("Müller^Jürgen", "1.1"),
        ("MULLER^jurgen", "1.1"),
        ("muller*", "1.1 1.2"),
        ("M?LLER^*", "1.1 1.2"),
        ("*ann*", "1.2"),
        ("muller", ""),
        ("Yamada^Tarou", "1.3"),
        ("山田^太郎", "1.3"),
        ("山*", "1.3"),
        ("やまだ^たろう", "1.3"),
        ("yamada*=山田*", "1.3"),
        ("=山田^太郎", "1.3"),
        ("Yamada^Tarou^^^=山田^太郎=やまだ^たろう", "1.3"),
        ("Smith [Jr]^Bob", "1.4"),
        ("smith [*", "1.4"),
        ("smith [jx]*", ""),
        ("Müller^Jürgen^^", "1.1"),
        ("Smith  [jr]^Bob", "1.4"),
        ("*", "1.1 1.2 1.3 1.4 1.5"),
        ("", "1.1 1.2 1.3 1.4 1.5"),
        ("nobody", ""),
    ],
)
def test_a_patient_is_found_by_any_group_of_the_name_without_case_and_accents(named: Catalogue, text: str, studies: str) -> None:
    found = values(ask(named, Level.STUDY, {"00100010": text}), "0020000D")
    assert sorted(map(str, found)) == studies.split()


def test_a_name_of_hangul_matches_by_whole_syllables(catalogue: Catalogue) -> None:
    more = {0x00080005: ("CS", "ISO_IR 192"), 0x00100010: ("PN", "Hong^Gildong=洪^吉洞=홍^길동".encode())}
    put(catalogue, admission(more=more))
    for text, count in (("홍^길?", 1), ("홍^길동", 1), ("호^길동", 0), ("?^??", 1), ("홍^?", 0)):
        assert len(ask(catalogue, Level.STUDY, {"00100010": text})) == count, text


@pytest.fixture
def dated(catalogue: Catalogue) -> Catalogue:
    """Four studies of one patient, 2020 to 2023, and one without a date."""
    for number, year in enumerate(["2020", "2021", "2022", "2023", ""]):
        more: dict[int, tuple[str, bytes | str]] = {
            0x00080020: ("DA", f"{year}0615" if year else ""),
            0x00080030: ("TM", f"1{number}0000.5" if year else ""),
            0x00080050: ("SH", f"A[{number}]"),
            0x00080060: ("CS", ["CT", "MR", "CT", "US", "SR"][number]),
            0x00080008: ("CS", "ORIGINAL\\PRIMARY\\AXIAL" if number == 0 else "DERIVED"),
            0x00080090: ("PN", b"Gr\xfcn^Dr" if number == 0 else b"Greenfield^Dr"),
            0x00080005: ("CS", "ISO_IR 100"),
            0x00200011: ("IS", str(number)),
            0x00280010: ("US", bytes([0, number])),
            0x00180015: ("CS", "CHEST" if number % 2 else "HEAD"),
            0x00101030: ("DS", f"7{number}.5"),
        }
        put(catalogue, admission("abcde"[number], study=f"1.{number}", series=f"1.{number}.1", instance=f"1.{number}.1.1", more=more))
    return catalogue


MATCHES = [
    # single value
    ("00080020", "20200615", "0"),
    ("00080020", "20200616", ""),
    ("00080050", "A[2]", "2"),
    ("00080050", "a[2]", ""),
    ("00100020", "P1", "32104"),
    ("00100020", "P", ""),
    # list of UIDs
    ("0020000D", "1.1", "1"),
    ("0020000D", "1.1\\1.3\\9.9", "31"),
    ("0020000D", "1.*", ""),
    # wildcard
    ("00080050", "A[*", "32104"),
    ("00080050", "?[3]", "3"),
    ("00080050", "*[0-9]*", ""),
    ("00080050", "*]", "32104"),
    # list of values, each of which may be a wildcard or a range
    ("00080050", "A[1]\\A[2]", "21"),
    ("00080050", "A[1]\\?[3]\\A[1]", "31"),
    ("00080020", "20200615\\2020.06.16\\20220101-20301231", "320"),
    ("00080030", "10\\1200\\9?*", "20"),
    # ranges, open at either end; a study without a date is in none
    ("00080020", "20210101-20221231", "21"),
    ("00080020", "20210615-20210615", "1"),
    ("00080020", "-20210615", "10"),
    ("00080020", "20220615-", "32"),
    ("00080020", "20300101-20200101", ""),
    ("00080030", "11-12", "21"),
    ("00080030", "1100-120000", "21"),
    ("00080030", "-10", "0"),
    # modalities in study
    ("00080061", "CT", "20"),
    ("00080061", "CT\\US", "320"),
    ("00080061", "?R", "14"),
    # attributes without a column of their own
    ("00080090", "Grün^Dr", "0"),
    ("00080090", "GRüN^DR", "0"),
    ("00080090", "gr*", "32104"),
    ("00080090", "Alphabetic", ""),
    ("00080090", "gr", ""),
    ("00101030", "72.5", "2"),
    # what the catalogue does not hold, or holds further down, restricts nothing
    ("00189999", "x", "32104"),
    ("00080018", "9.9", "32104"),
    ("00180015", "CHEST", "32104"),
]


@pytest.mark.parametrize(("tag", "text", "studies"), MATCHES, ids=[f"{tag} {text}" for tag, text, _ in MATCHES])
def test_studies_match(dated: Catalogue, tag: str, text: str, studies: str) -> None:
    found = values(ask(dated, Level.STUDY, {tag: text}), "0020000D")
    assert found == [f"1.{number}" for number in studies]


@pytest.mark.parametrize(
    ("level", "tag", "text", "studies"),
    [
        (Level.SERIES, "00080060", "CT", "20"),
        (Level.SERIES, "00080060", "?R", "14"),
        (Level.SERIES, "00180015", "CHEST", "31"),
        (Level.SERIES, "00200011", "3", "3"),
        (Level.SERIES, "00200011", " 03 ", "3"),
        (Level.SERIES, "00200011", "x", ""),
        (Level.SERIES, "00200011", "03\\x\\ 1", "31"),
        (Level.SERIES, "0020000E", "1.3.1\\1.0.1", "30"),
        (Level.SERIES, "00080061", "CT", "20"),
        (Level.IMAGE, "00080018", "1.4.1.1", "4"),
        (Level.IMAGE, "00200013", "1", "32104"),
        (Level.IMAGE, "00280010", "512", "2"),
        (Level.IMAGE, "00080008", "AXIAL", "0"),
        (Level.IMAGE, "00080008", "DER*", "3214"),
        (Level.IMAGE, "00080020", "2022-", "32"),
    ],
)
def test_series_and_instances_match_at_their_level_and_above(dated: Catalogue, level: Level, tag: str, text: str, studies: str) -> None:
    assert values(ask(dated, level, {tag: text}), "0020000D") == [f"1.{number}" for number in studies]


HOSTILE = ["x", "*", "a?[", "'\"%;--", "\\", "-", "=", "1-2", "9" * 40, "\0", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")]


@pytest.mark.parametrize("level", Level)
def test_no_text_makes_a_query_fail(dated: Catalogue, level: Level) -> None:
    for tag in [*(f"{tag:08X}" for tag in INTEREST), "00080061"]:
        for text in HOSTILE:
            ask(dated, level, {tag: text})


def test_lists_of_hundreds_of_values_are_looked_through_together(dated: Catalogue) -> None:
    """SQLite weighed an index for each pair of them once, which took minutes."""
    numbers = range(600)
    matching = {
        "00080050": "\\".join(["A[1]", "A[2]", *(f"B{number}*" for number in numbers)]),
        "00080020": "\\".join(["2022-", *(f"2000{number:04}-2001{number:04}" for number in numbers)]),
        "00100020": "\\".join([f"P{number}" for number in numbers]),
        "00080030": "\\".join([f"{number:06}" for number in (*numbers, 120_000)]),
    }
    assert values(ask(dated, Level.STUDY, matching), "0020000D") == ["1.2"]


def test_conditions_on_several_attributes_hold_together(dated: Catalogue) -> None:
    assert values(ask(dated, Level.STUDY, {"00080061": "CT", "00080020": "2022-"}), "0020000D") == ["1.2"]


def test_the_newest_study_comes_first_and_a_window_is_cut_out(dated: Catalogue) -> None:
    assert values(ask(dated, Level.STUDY), "0020000D") == ["1.3", "1.2", "1.1", "1.0", "1.4"]
    assert values(ask(dated, Level.STUDY, limit=2), "0020000D") == ["1.3", "1.2"]
    assert values(ask(dated, Level.STUDY, limit=2, offset=3), "0020000D") == ["1.0", "1.4"]
    assert values(ask(dated, Level.STUDY, offset=4), "0020000D") == ["1.4"]
    assert ask(dated, Level.STUDY, limit=0) == []


def test_a_window_at_the_other_levels_follows_series_and_instance_numbers(catalogue: Catalogue) -> None:
    for number in (10, 9, 2, 1):
        more = {0x00200011: ("IS", str(number))}
        put(catalogue, admission("a", number * 512, series=f"1.2.3.{number}", instance=f"1.{number}", number=number, more=more))
    assert values(ask(catalogue, Level.SERIES), "00200011") == [1, 2, 9, 10]
    assert values(ask(catalogue, Level.IMAGE, limit=2, offset=1), "00200013") == [2, 9]


def test_each_level_answers_with_everything_at_and_above_it_and_its_counts(catalogue: Catalogue) -> None:
    put(
        catalogue,
        admission("a", 0, instance="1.1", number=1),
        admission("a", 4096, instance="1.2", number=2),
        admission("a", 8192, series="1.2.3.2", instance="1.3", more={0x00080060: ("CS", "SR")}),
        admission("b", 0, study="1.2.4", series="1.2.4.1", instance="1.4"),
    )
    (patient,) = ask(catalogue, Level.PATIENT)
    assert [patient[tag]["Value"] for tag in ("00100020", "00201200", "00201202", "00201204")] == [["P1"], [2], [3], [4]]
    assert "0020000D" not in patient
    study = ask(catalogue, Level.STUDY, {"0020000D": "1.2.3"})[0]
    assert [study[tag]["Value"] for tag in ("00100020", "0020000D", "00080061", "00201206", "00201208")] == [
        ["P1"],
        ["1.2.3"],
        ["CT", "SR"],
        [2],
        [3],
    ]
    assert "0020000E" not in study
    first, second = ask(catalogue, Level.SERIES, {"0020000D": "1.2.3"})
    assert [first[tag]["Value"] for tag in ("00100020", "0020000D", "0020000E", "00201209")] == [["P1"], ["1.2.3"], ["1.2.3.1"], [2]]
    assert second["00201209"]["Value"] == [1]
    image = ask(catalogue, Level.IMAGE, {"00080018": "1.2"})[0]
    assert [image[tag]["Value"] for tag in ("00100020", "0020000E", "00080018", "00083002")] == [
        ["P1"],
        ["1.2.3.1"],
        ["1.2"],
        ["1.2.840.10008.1.2.1"],
    ]
    assert {answer["00080056"]["Value"][0] for answer in (patient, study, first, image)} == {"ONLINE"}


def test_availability_is_that_of_the_least_available_instance(catalogue: Catalogue) -> None:
    put(catalogue, admission("a", 0, instance="1.1"), admission("b", 0, series="1.2.3.2", instance="1.2"))
    close(catalogue, "a")
    hold(catalogue, "a")
    catalogue.evict(pack_id("a"))
    for link_up, away in ((True, "NEARLINE"), (False, "OFFLINE")):
        assert values(ask(catalogue, Level.PATIENT, link_up=link_up), "00080056") == [away]
        assert values(ask(catalogue, Level.STUDY, link_up=link_up), "00080056") == [away]
        assert sorted(map(str, values(ask(catalogue, Level.SERIES, link_up=link_up), "00080056"))) == sorted([away, "ONLINE"])
        assert values(ask(catalogue, Level.IMAGE, {"00080018": "1.1"}, link_up=link_up), "00080056") == [away]
        assert values(ask(catalogue, Level.IMAGE, {"00080018": "1.2"}, link_up=link_up), "00080056") == ["ONLINE"]


STUDY = {
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Far^Away"}]},
    "00100020": {"vr": "LO", "Value": ["P9"]},
    "00080020": {"vr": "DA", "Value": ["20190101"]},
    "0020000D": {"vr": "UI", "Value": ["1.9"]},
}
SERIES = [{"0020000E": {"vr": "UI", "Value": ["1.9.1"]}, "00080060": {"vr": "CS", "Value": ["MR"]}}]


def test_a_pack_that_was_only_heard_of_answers_as_nearline_with_its_counts(catalogue: Catalogue) -> None:
    hear(catalogue, "h", STUDY, SERIES, 120)
    (patient,) = ask(catalogue, Level.PATIENT, {"00100010": "far*"})
    assert [patient[tag]["Value"] for tag in ("00201200", "00201202", "00201204", "00080056")] == [[1], [1], [120], ["NEARLINE"]]
    (study,) = ask(catalogue, Level.STUDY, {"00080061": "MR"})
    assert [study[tag]["Value"] for tag in ("00201206", "00201208", "00080056", "00100020")] == [[1], [120], ["NEARLINE"], ["P9"]]
    (series,) = ask(catalogue, Level.SERIES, link_up=False)
    assert series["00080056"]["Value"] == ["OFFLINE"]
    assert "00201209" not in series
    assert ask(catalogue, Level.IMAGE) == []


def test_heads_bring_the_instances_and_what_is_still_headless_counts_beside_them(catalogue: Catalogue) -> None:
    hear(catalogue, "h", STUDY, SERIES, 2)
    hear(catalogue, "i", STUDY, SERIES, 5)
    more = {0x00100020: ("LO", "P9"), 0x00080060: ("CS", "MR")}
    admissions = [
        admission("h", offset, study="1.9", series="1.9.1", instance=f"1.9.1.{offset}", more=more, here=False) for offset in (0, 4096)
    ]
    catalogue.learn_head(admissions, pack_id("h"), 5000, 3)
    (study,) = ask(catalogue, Level.STUDY)
    assert [study[tag]["Value"] for tag in ("00201208", "00080056")] == [[7], ["NEARLINE"]]
    assert values(ask(catalogue, Level.IMAGE), "00080056") == ["NEARLINE", "NEARLINE"]
    assert values(ask(catalogue, Level.SERIES), "00201209") == [2]
    (row,) = catalogue.rows("studies_in_packs", study="1.9", most=1)
    assert row[5] == 7


def test_new_instances_of_a_study_in_the_archive_count_beside_the_old_ones(catalogue: Catalogue) -> None:
    hear(catalogue, "h", STUDY, SERIES, 5)
    put(catalogue, admission("a", study="1.9", series="1.9.2", instance="1.9.2.1", more={0x00100020: ("LO", "P9")}))
    (study,) = ask(catalogue, Level.STUDY)
    assert [study[tag]["Value"] for tag in ("00201206", "00201208", "00080056")] == [[2], [6], ["NEARLINE"]]


def test_variants_of_an_instance_count_once_and_the_first_stays_visible(catalogue: Catalogue) -> None:
    first = admission("a", 0)
    put(catalogue, first, admission("a", 4096, more={0x00081030: ("LO", "OTHER")}))
    assert values(ask(catalogue, Level.STUDY), "00201208") == [1]
    assert len(ask(catalogue, Level.IMAGE)) == 1
    assert catalogue.digests(first.identity)[0] == first.member.digest
    assert len(catalogue.digests(first.identity)) == 2


@pytest.mark.parametrize(
    ("tag", "text", "count"),
    [("00080020", "2024*", 1), ("00080020", "2023*", 0), ("00080020", "????0131", 1), ("00080030", "12*", 1), ("0020000D", "1.2.*", 0)],
)
def test_wildcards_match_dates_and_times_as_text_and_no_uids(catalogue: Catalogue, tag: str, text: str, count: int) -> None:
    put(catalogue, admission(more={0x00080020: ("DA", "20240131"), 0x00080030: ("TM", "120000")}))
    assert len(ask(catalogue, Level.STUDY, {tag: text})) == count
