"""Until when a study is kept, by its date, its modalities and the age of the patient."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from cloudsync.retention.rule import Rule, date_of, judged, later

HELD = datetime(2020, 6, 15, 12, tzinfo=UTC).timestamp()


def attribute(tag: str, value: str) -> dict[str, object]:
    return {tag: {"vr": "DA", "Value": [value]}}


def study(on: str = "20200301", born: str = "19600101") -> dict[str, object]:
    return attribute("0020000D", "1.2.3") | attribute("00080020", on) | attribute("00100030", born)


def modality(*codes: str) -> list[dict[str, object]]:
    return [{"00080060": {"vr": "CS", "Value": [code]}} for code in codes]


@pytest.mark.parametrize(
    ("rule", "attributes", "modalities", "until"),
    [
        (Rule(10), study(), ("CT",), date(2030, 3, 1)),
        (Rule(10, {"MG": 30}), study(), ("MG",), date(2050, 3, 1)),
        (Rule(10, {"MG": 30, "SR": 2}), study(), ("SR", "MG"), date(2050, 3, 1)),
        (Rule(10, {"SR": 2}), study(), ("SR", "CT"), date(2030, 3, 1)),
        (Rule(10), study("20200229"), ("CT",), date(2030, 3, 1)),
        # A patient who was under 18 on that day, on the last day of it, and on the birthday
        (Rule(10, minors_until=28), study(born="20100301"), ("CT",), date(2038, 3, 1)),
        (Rule(10, minors_until=28), study(born="20020302"), ("CT",), date(2030, 3, 2)),
        (Rule(10, minors_until=28), study(born="20020301"), ("CT",), date(2030, 3, 1)),
        (Rule(40, minors_until=28), study(born="20100301"), ("CT",), date(2060, 3, 1)),
        (Rule(10, minors_until=28), study(born=""), ("CT",), date(2048, 3, 1)),
        (Rule(10), study(born=""), ("CT",), date(2030, 3, 1)),
        # No study date, or one that cannot be right: from when it was held
        (Rule(10), study(""), ("CT",), date(2030, 6, 15)),
        (Rule(10), study("19000101"), ("CT",), date(2030, 6, 15)),
        (Rule(10), study("20991231"), ("CT",), date(2030, 6, 15)),
        (Rule(10), study("20201301"), (), date(2030, 6, 15)),
        (Rule(10), {}, (), date(2030, 6, 15)),
    ],
)
def test_a_study_is_kept_until(rule: Rule, attributes: dict[str, object], modalities: tuple[str, ...], until: date) -> None:
    assert judged(rule, attributes, modality(*modalities), HELD).until == until


def test_it_is_said_whether_the_study_has_a_date_of_its_own() -> None:
    assert judged(Rule(1), study(), [], HELD).dated
    assert not judged(Rule(1), study("20991231"), [], HELD).dated


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("20200229", date(2020, 2, 29)),
        ("2020.02.29", date(2020, 2, 29)),
        ("20200229 ", date(2020, 2, 29)),
        ("20190229", None),
        ("202002", None),
        ("\u0662\u0660200229", None),
        ("20200101-20210101", None),
    ],
)
def test_a_date_is_read_strictly(text: str, found: date | None) -> None:
    assert date_of(text) == found


def test_a_29_february_is_on_1_march_where_the_year_has_none() -> None:
    assert later(date(2020, 2, 29), 1) == date(2021, 3, 1)
    assert later(date(2020, 2, 29), 4) == date(2024, 2, 29)
