"""A person frees the line: nothing is shipped until they say so, over a restart too, and reception does not notice."""

from __future__ import annotations

from edge.control.link import GetLink, LinkNow, PauseLink, ResumeLink
from edge.control.status import GetStatus, Status
from edge.demo.instances import samples
from edge.demo.tour import REAL
from tests.scenarios.conftest import Clinic


def test_a_pause_outlives_a_restart_and_what_came_meanwhile_goes_when_it_ends(clinic: Clinic) -> None:
    (before,) = clinic.site.ask(GetLink())
    assert isinstance(before, LinkNow)
    assert (before.hold, before.budget_bytes) == ("", 0)
    (paused,) = clinic.site.ask(PauseLink())
    assert isinstance(paused, LinkNow)
    assert paused.hold == "paused"
    real = list(samples(REAL))
    study = min(sample.study for sample in real)
    clinic.workstation.send(clinic.site.peer, [sample for sample in real if sample.study == study], lambda _: None)
    clinic.site.wait(lambda: [row.coded for row in clinic.site.studies()] == [1], "the pack lies in the outbox")
    clinic.site.stop()
    clinic.site.start()
    (status,) = clinic.site.ask(GetStatus())
    assert isinstance(status, Status)
    assert status.sentence.startswith("Shipping is paused until somebody lets it go on: `outpost link resume`. Scanning continues; 1 of 1 ")
    assert [(row.confirmed, row.held) for row in clinic.site.studies()] == [(0, 0)]
    (resumed,) = clinic.site.ask(ResumeLink())
    assert isinstance(resumed, LinkNow)
    assert resumed.hold == ""
    clinic.wait_held()
    clinic.evict()
