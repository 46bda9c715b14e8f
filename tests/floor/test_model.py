"""edge.model: identifiers are parsed at the border, or are None."""

from __future__ import annotations

import re

import pytest

from edge.model import new_pack_id, parse_ae_title, parse_digest, parse_pack_id, parse_uid


@pytest.mark.parametrize("text", ["1", "0", "1.2.840.10008.1.1", "1.02.3", "2.25." + "9" * 39, "1." * 31 + "12"])
def test_a_uid_is_itself(text: str) -> None:
    assert parse_uid(text) == text
    assert parse_uid(text + "\0") == text
    assert parse_uid(text + " \0 ") == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0",
        " ",
        ".",
        "..",
        "1..2",
        "1.",
        ".1",
        "1.2.",
        "1/2",
        "../1",
        "1.2\\3",
        "1.a",
        " 1.2",
        "1.2\n",
        "1.2\0.3",
        "\uff11.\uff12",
        "-1",
        "1" * 65,
    ],
)
def test_what_is_no_uid_is_none(text: str) -> None:
    assert parse_uid(text) is None


@pytest.mark.parametrize(("text", "title"), [("CT99", "CT99"), ("  A B  ", "A B"), ("X" * 16, "X" * 16), ("x" * 16 + " ", "x" * 16)])
def test_an_ae_title_is_stripped(text: str, title: str) -> None:
    assert parse_ae_title(text) == title


@pytest.mark.parametrize("text", ["", "    ", "\0", "A\\B", "A\nB", "Ä", "X" * 17, "A\x7f"])
def test_what_is_no_ae_title_is_none(text: str) -> None:
    assert parse_ae_title(text) is None


def test_pack_ids_are_128_random_bits_in_base32() -> None:
    ids = {new_pack_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch("[a-z2-7]{26}", one) and parse_pack_id(one) == one for one in ids)


@pytest.mark.parametrize("text", ["", "a" * 25, "a" * 27, "A" * 26, "1" * 26, "../" + "a" * 23, "a" * 26 + "\n"])
def test_what_is_no_pack_id_is_none(text: str) -> None:
    assert parse_pack_id(text) is None


def test_a_digest_is_64_lower_case_hexadecimal_digits() -> None:
    assert parse_digest("0a" * 32) == "0a" * 32
    assert [parse_digest(text) for text in ("", "0A" * 32, "0a" * 31, "0a" * 33, "0g" * 32)] == [None] * 5
