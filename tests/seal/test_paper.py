"""A key on paper comes back, and a mistyped line is named."""

from __future__ import annotations

import random
import re

import pytest

from cloudsync.seal import paper, passphrase
from cloudsync.seal.paper import Mistyped

SITE = "k7q2abcdef"
SCALAR = random.Random(1).randbytes(48)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@pytest.mark.parametrize("scalar", [SCALAR, bytes(48), b"\xff" * 48, bytes(47) + b"\1"])
def test_what_is_printed_is_read_back(scalar: bytes) -> None:
    lines = paper.to_lines(scalar, SITE)
    assert len(lines) == paper.LINES
    assert all(re.fullmatch(r"[A-Z2-7]{4} [A-Z2-7]{4} [A-Z2-7]{4}", line) for line in lines)
    assert paper.from_lines(lines, SITE) == scalar


def test_case_spaces_and_look_alikes_do_not_count() -> None:
    lines = list(paper.to_lines(SCALAR, SITE))
    assert "O" in "".join(lines)
    assert "I" in "".join(lines)
    sloppy = [" " + line.lower().replace(" ", "-").replace("o", "0").replace("i", "1").replace("b", "8") for line in lines]
    assert paper.from_lines(["", *sloppy, "\n"], SITE) == SCALAR


def test_every_wrong_letter_is_named_by_its_line() -> None:
    lines = paper.to_lines(SCALAR, SITE)
    for number in range(paper.LINES):
        for position in range(12):
            for letter in LETTERS:
                typed = [line.replace(" ", "") for line in lines]
                if typed[number][position] == letter:
                    continue
                typed[number] = typed[number][:position] + letter + typed[number][position + 1 :]
                with pytest.raises(Mistyped, match=f"line {number + 1} was"):
                    paper.from_lines(typed, SITE)


def test_two_letters_that_changed_places_are_named_by_their_line() -> None:
    lines = [line.replace(" ", "") for line in paper.to_lines(SCALAR, SITE)]
    for number, line in enumerate(lines):
        for first in range(12):
            for second in range(first):
                swapped = list(line)
                swapped[first], swapped[second] = swapped[second], swapped[first]
                if swapped != list(line):
                    with pytest.raises(Mistyped, match=f"line {number + 1} was"):
                        paper.from_lines([*lines[:number], "".join(swapped), *lines[number + 1 :]], SITE)


def test_two_lines_that_changed_places_are_both_named() -> None:
    lines = list(paper.to_lines(SCALAR, SITE))
    lines[1], lines[4] = lines[4], lines[1]
    with pytest.raises(Mistyped, match="line 2, 5 was"):
        paper.from_lines(lines, SITE)


def test_a_line_of_another_sheet_is_noticed() -> None:
    lines = list(paper.to_lines(SCALAR, SITE))
    lines[2] = paper.to_lines(random.Random(2).randbytes(48), SITE)[2]
    with pytest.raises(Mistyped, match="together they are not the key"):
        paper.from_lines(lines, SITE)


def test_the_sheet_of_another_site_is_noticed() -> None:
    with pytest.raises(Mistyped, match="compare the site id"):
        paper.from_lines(paper.to_lines(SCALAR, SITE), "a" * 10)


@pytest.mark.parametrize("change", [lambda lines: lines[:-1], lambda lines: [*lines, lines[0]], lambda lines: []])
def test_a_missing_or_additional_line_is_noticed(change: object) -> None:
    assert callable(change)
    with pytest.raises(Mistyped, match="has 8 lines"):
        paper.from_lines(change(list(paper.to_lines(SCALAR, SITE))), SITE)


@pytest.mark.parametrize("line", ["ABCD", "ABCD EFGH IJKL M", "ABCD EFGH IJ9L", "ABCD EFGH IJÄL"])
def test_what_is_no_line_is_named(line: str) -> None:
    lines = list(paper.to_lines(SCALAR, SITE))
    with pytest.raises(Mistyped, match="line 3 was"):
        paper.from_lines([*lines[:2], line, *lines[3:]], SITE)


def test_random_lines_never_read_as_a_key() -> None:
    dice = random.Random(3)
    for _ in range(2_000):
        lines = ["".join(dice.choice(LETTERS) for _ in range(12)) for _ in range(paper.LINES)]
        with pytest.raises(Mistyped):
            paper.from_lines(lines, SITE)


def test_a_passphrase_is_eight_pronounceable_words_and_never_the_same() -> None:
    made = {passphrase.generate() for _ in range(1_000)}
    assert len(made) == 1_000
    word = "[bcdfghjklmnprstvwxyz][aeiou][bcdfghjklmnprstvwxyz][aeiou]"
    assert all(re.fullmatch(rf"{word}( {word}){{7}}", each) for each in made)


def test_a_passphrase_may_be_typed_in_any_case_and_spacing() -> None:
    assert passphrase.normal("  Zide maru-GEYO\troso\n") == "zide maru geyo roso"
