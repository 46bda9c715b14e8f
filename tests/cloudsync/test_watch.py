"""What people are told about the link: each class of fault has its own plain sentence, with the cure."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from cloudsync.archive.port import ClockWrong, CredentialRefused, LinkDown, QuotaExceeded, Throttled
from cloudsync.archive.retrying import Wake
from cloudsync.lane import AnotherWriter
from cloudsync.watch import Watch
from edge.errors import OutpostError, StoreFull
from edge.journal import Link


@dataclass
class HandClock:
    at: float = 1000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


@dataclass
class Told:
    facts: list[Link] = field(default_factory=list)
    clock: HandClock = field(default_factory=HandClock)
    goodput: float = 100.0
    clock_fault: str = ""

    def watch(self) -> Watch:
        return Watch(self.clock, Wake(), lambda: self.goodput, self.facts.append, 7, lambda: self.clock_fault)

    @property
    def states(self) -> list[str]:
        return [fact.state for fact in self.facts]


SENTENCES = {
    "down": (LinkDown("the cable is out"), "The cable is out."),
    "throttled": (Throttled(), "The archive asks us to slow down. Nothing to do."),
    "credential": (CredentialRefused("expired: renew it"), "Expired: renew it."),
    "quota": (QuotaExceeded("full"), "Full."),
    "clock": (ClockWrong("3 hours ahead: set it"), "3 hours ahead: set it."),
    "disk": (StoreFull("our disk is full"), "Our disk is full."),
    "conflict": (AnotherWriter("two boxes write"), "Two boxes write."),
}


@pytest.mark.parametrize("state", SENTENCES)
def test_each_fault_has_its_sentence(state: str) -> None:
    told = Told()
    fault, sentence = SENTENCES[state]
    told.watch().failed(fault)
    assert [(fact.state, fact.sentence) for fact in told.facts] == [(state, sentence)]


def test_a_state_is_told_once_with_its_beginning() -> None:
    told = Told()
    watch = told.watch()
    for step in range(4):
        told.clock.at = 1000.0 + step
        watch.failed(LinkDown())
    watch.answered()
    watch.answered()
    assert [(fact.state, fact.since) for fact in told.facts] == [("down", 1000.0), ("up", 1003.0)]


def test_an_answer_is_told_again_with_its_time_and_the_goodput_and_not_too_often() -> None:
    told = Told()
    watch = told.watch()
    watch.answered()
    told.goodput = 200.0
    told.clock.at += 59
    watch.answered()
    told.clock.at += 2
    watch.answered()
    watch.answered()
    assert [(fact.answered_at, fact.goodput_bytes_per_second) for fact in told.facts] == [(1000.0, 100.0), (1061.0, 200.0)]
    told.clock.at += 1
    watch.failed(LinkDown())
    assert (told.facts[-1].state, told.facts[-1].answered_at) == ("down", 1061.0)


def test_how_the_link_is_is_said_each_minute_once_it_is_known() -> None:
    told = Told()
    watch = told.watch()
    assert watch.again() == 60
    assert told.facts == []
    watch.failed(LinkDown("the cable is out"))
    told.clock.at += 59
    assert watch.again() == 1
    told.clock.at += 1
    assert watch.again() == 60
    assert [(fact.state, fact.since, fact.said_at) for fact in told.facts] == [("down", 1000.0, 1000.0), ("down", 1000.0, 1060.0)]


def test_the_number_of_the_catalog_is_told_at_once_and_with_everything_later() -> None:
    told = Told()
    watch = told.watch()
    watch.answered()
    watch.written(8)
    watch.failed(LinkDown())
    assert [fact.sequence for fact in told.facts] == [7, 8, 8]


def test_another_sentence_of_the_same_state_is_told_and_faults_that_take_turns_are_not_told_each_time() -> None:
    told = Told()
    watch = told.watch()
    for step in range(20):
        told.clock.at = 1000.0 + step
        watch.failed(LinkDown(("the cable is out", "something else answers")[step % 2]))
    assert [(fact.sentence, fact.said_at - 1000) for fact in told.facts] == [
        ("The cable is out.", 0),
        ("Something else answers.", 5),
        ("The cable is out.", 10),
        ("Something else answers.", 15),
    ]
    assert {(fact.state, fact.since) for fact in told.facts} == {("down", 1000.0)}


def test_a_clock_that_is_wrong_is_told_while_the_archive_answers_and_does_not_count_as_down() -> None:
    told = Told(clock_fault="3 hours ahead: set it")
    watch = told.watch()
    watch.answered()
    assert watch.up
    (fact,) = told.facts
    assert (fact.state, fact.sentence, fact.answered_at >= fact.since) == ("clock", "3 hours ahead: set it.", True)
    told.clock.at += 10
    watch.failed(LinkDown())
    watch.answered()
    told.clock_fault = ""
    watch.answered()
    assert told.states == ["clock", "down", "clock", "up"]


def test_a_clock_that_keeps_the_archive_from_answering_is_told_as_a_link_that_is_down() -> None:
    told = Told()
    watch = told.watch()
    watch.answered()
    told.clock.at += 10
    watch.failed(ClockWrong("400 days ahead: set it"))
    assert not watch.up
    assert (told.facts[-1].state, told.facts[-1].answered_at < told.facts[-1].since) == ("clock", True)


def test_an_alarm_stays() -> None:
    told = Told()
    watch = told.watch()
    watch.alarm(AnotherWriter())
    watch.answered()
    watch.failed(LinkDown())
    assert told.states == ["conflict"]


def test_every_error_of_ours_has_a_sentence() -> None:
    told = Told()
    told.watch().failed(OutpostError("something"))
    assert told.facts[0].sentence
