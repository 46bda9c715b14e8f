"""Which segments an object of the catalog stands for, and what is read in place of all of them."""

from __future__ import annotations

import pytest

from cloudsync.span import LEVELS_MOST, Span, cover, merge_named

SITE = "k7q2abcdef"


def test_a_merge_stands_for_the_segments_that_its_name_says() -> None:
    assert (Span(1, 33).last, Span(2, 1).last, Span(0, 7).last) == (64, 1024, 7)
    assert Span(2, 1025).parts == tuple(Span(1, 1025 + 32 * number) for number in range(32))
    assert Span(0, 7).parts == ()
    assert Span(2, 1025).name(SITE) == f"{SITE}/c/2/000000001025"
    assert merge_named(f"{SITE}/c/2/000000001025", SITE) == Span(2, 1025)


@pytest.mark.parametrize(
    "name",
    [
        f"{SITE}/c/0/000000000001",
        f"{SITE}/c/{LEVELS_MOST + 1}/000000000001",
        f"{SITE}/c/1/000000000002",
        f"{SITE}/c/1/000000000000",
        f"{SITE}/c/2/000000000033",
        f"{SITE}/c/1/33",
        f"{SITE}/c/1/000000000033.1",
        "another222/c/1/000000000033",
        f"{SITE}/p/1/000000000033",
    ],
)
def test_a_name_that_no_merge_of_the_site_has_is_none(name: str) -> None:
    assert merge_named(name, SITE) is None


def test_the_highest_merges_and_the_rest_are_read_each_segment_once_the_newest_first() -> None:
    spans = cover(2 * 1024 + 32 + 2)
    assert spans == [Span(0, 2082), Span(0, 2081), Span(1, 2049), Span(2, 1025), Span(2, 1)]
    assert cover(31) == [Span(0, number) for number in range(31, 0, -1)]
    assert cover(0) == []
    for last in (1, 32, 33, 1023, 75_000, 32**3):
        spans = cover(last)
        assert (spans[0].last, spans[-1].first) == (last, 1)
        assert [span.last for span in spans[1:]] == [span.first - 1 for span in spans[:-1]]
    assert len(cover(75_000)) < 100
