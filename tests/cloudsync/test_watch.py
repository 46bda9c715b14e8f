"""What people are told about the link: each class of fault has its own plain sentence, with the cure."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from cloudsync.archive.port import CredentialRefused, LinkDown, QuotaExceeded, Throttled
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

    def watch(self) -> Watch:
        return Watch(self.clock, Wake(), lambda: self.goodput, self.facts.append)

    @property
    def states(self) -> list[str]:
        return [fact.state for fact in self.facts]


SENTENCES = {
    "down": (LinkDown("the cable is out"), "Scanning continues and everything is kept; shipping goes on by itself. the cable is out."),
    "throttled": (Throttled("HTTP 503"), "Shipping is slower for a while. HTTP 503."),
    "credential": (CredentialRefused("expired"), "Nothing is shipped; scanning continues. expired."),
    "quota": (QuotaExceeded("full"), "Nothing is shipped; scanning continues. full."),
    "disk": (StoreFull("free space"), "The gateway's own disk is full; shipping waits. free space."),
    "conflict": (AnotherWriter("two boxes"), "Shipping stopped; scanning continues. two boxes."),
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


def test_goodput_is_told_again_when_it_changed_much_and_not_too_often() -> None:
    told = Told()
    watch = told.watch()
    watch.answered()
    told.goodput = 1000.0
    watch.answered()
    told.clock.at += 61
    watch.answered()
    told.clock.at += 61
    told.goodput = 1100.0
    watch.answered()
    assert [fact.goodput_bytes_per_second for fact in told.facts] == [100.0, 1000.0]


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
