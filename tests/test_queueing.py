"""edge.queueing and `outpost queue`: how far each study is on its way, in which order, and why it is no further."""

from __future__ import annotations

import pytest

from edge.control.queue import Queued
from edge.queueing import Hindrance, Row, queued

DOWN = Hindrance(link="The archive has not answered since 09:12.")
PAUSED = Hindrance(hold="Shipping is paused.")
RESERVE = Hindrance(hold="What is left is kept for STAT.", spares_stat=True)


def row(study: str = "1.2", urgency: str = "routine", at: float = 10.0, **change: object) -> Row:
    """A pack that lies in the outbox, of which nothing has gone yet."""
    return Row(study, urgency, at, 1, 1, 0, 4, 1000, None, None)._replace(**change)


def only(*packs: Row, hindrance: Hindrance = Hindrance()) -> Queued:  # noqa: B008 - frozen
    (found,) = queued(packs, hindrance)
    return found


def test_stat_comes_first_then_who_waits_longest() -> None:
    packs = [row("1.1", at=5.0), row("1.3", "background", 1.0), row("1.2", at=3.0), row("1.4", "stat", 9.0), row("1.1", at=2.0)]
    assert [(one.study, one.urgency) for one in queued(packs, Hindrance())] == [
        ("1.4", "stat"),
        ("1.1", "routine"),
        ("1.2", "routine"),
        ("1.3", "background"),
    ]


def test_a_study_is_as_far_as_the_pack_that_has_most_to_do() -> None:
    under_way, waits = row(confirmed=3), row(coded=0, objects=0, urgency="stat", at=20.0)
    found = only(under_way, waits)
    assert (found.state, found.urgency, found.packs, found.coded, found.received_at) == ("coding", "stat", 2, 1, 10.0)
    assert (found.confirmed, found.objects, found.bytes) == (3, 4, 2000)
    assert only(under_way, waits, row(stopped="It is refused")).state == "stopped"


@pytest.mark.parametrize(
    ("pack", "hindrance", "state", "why"),
    [
        (row(closed=0, coded=0), DOWN, "receiving", "Instances of it were received a moment ago: it is not closed yet."),
        (row(coded=0), DOWN, "coding", "It waits to be compressed."),
        (row(), Hindrance(), "shipping", "Its turn comes next, or after others."),
        (row(confirmed=1), Hindrance(), "shipping", "It is being shipped."),
        (row(confirmed=1), DOWN, "shipping", DOWN.link),
        (row(urgency="stat"), PAUSED, "shipping", PAUSED.hold),
        (row(), RESERVE, "shipping", RESERVE.hold),
        (row(urgency="stat", confirmed=2), RESERVE, "shipping", "It is being shipped."),
        (row(confirmed=4), Hindrance(), "listing", "All of it is in the archive, whose catalog is about to name it."),
        (row(stopped="the archive refuses it"), DOWN, "stopped", "the archive refuses it."),
        (row(stopped="refused", dropped="a test phantom"), DOWN, "dropped", "It stays here only, as somebody decided: a test phantom."),
    ],
)
def test_why_a_study_waits_is_a_sentence(pack: Row, hindrance: Hindrance, state: str, why: str) -> None:
    found = only(pack, hindrance=hindrance)
    assert (found.state, found.why) == (state, why)
