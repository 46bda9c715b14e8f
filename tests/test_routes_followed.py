"""edge.routes: what another site ships, which this one follows, is recalled and sent on."""

from __future__ import annotations

from pathlib import Path

from tests.servers import until
from tests.store.rows import admission, hear, pack_id
from tests.test_routes import ALL, Box, Fake, arrive, boxed


def followed(box: Box, letter: str, number: int, *, news: bool) -> str:
    """A site that is followed has shipped an instance, and its head is here; its UID."""
    study = f"1.9.{number}"
    described = {"0020000D": {"vr": "UI", "Value": [study]}}
    hear(box.catalogue, letter, described, [{"0020000E": {"vr": "UI", "Value": [f"{study}.1"]}}], 1)
    with box.catalogue.facts(1):
        box.catalogue.hold(pack_id(letter), 3000.0, 5000, "clinicabcd", news=news)
    one = admission(letter, 4096, study=study, series=f"{study}.1", instance=f"{study}.1.1", here=False)
    box.catalogue.learn_head([one], pack_id(letter), 5000, 2)
    return f"{study}.1.1"


def test_what_a_followed_site_ships_is_recalled_and_then_sent_and_what_it_had_before_stays_there(tmp_path: Path) -> None:
    there = Fake()
    with boxed(tmp_path, {"all": there}) as box:
        box.routes.put(ALL)
        followed(box, "h", 1, news=False)
        new = followed(box, "n", 2, news=True)
        box.routes.start()
        until(lambda: bool(box.desk.wanted), "it is recalled")
        offset = box.desk.wanted[0][1]
        assert box.desk.wanted[0][0] == pack_id("n")
        assert there.got == []
        box.desk.recalled = "n"
        box.catalogue.begin_recall(pack_id("n"))
        box.catalogue.recalled(pack_id("n"), offset)
        until(box.settled("all"), "it is sent")
        assert there.got == [new]


def test_the_heads_of_news_come_before_those_of_what_was_there_before(tmp_path: Path) -> None:
    with boxed(tmp_path) as box:
        for letter, number, news in (("h", 1, False), ("n", 2, True), ("i", 3, False)):
            described = {"0020000D": {"vr": "UI", "Value": [f"1.9.{number}"]}}
            hear(box.catalogue, letter, described, [{"0020000E": {"vr": "UI", "Value": [f"1.9.{number}.1"]}}], 1)
            with box.catalogue.facts(1):
                box.catalogue.hold(pack_id(letter), 3000.0, 5000, "clinicabcd", news=news)
        assert box.catalogue.rows("headless", study=None)[0] == (pack_id("n"),)


def test_what_the_archive_does_not_give_now_keeps_nothing_else_and_is_asked_for_again(tmp_path: Path) -> None:
    there = Fake()
    with boxed(tmp_path, {"all": there}) as box:
        away = followed(box, "n", 2, news=True)
        box.desk.failures[pack_id("n")] = "The link is down."
        box.routes.put(ALL)
        box.routes.start()
        until(lambda: box.forwards.standing("all").refusal == "The link is down.", "it is put off")
        here = arrive(box.catalogue, 1)
        until(lambda: there.got == [here], "what is here goes")
        standing = box.forwards.standing("all")
        assert (standing.owed, standing.failures) == (1, 0)
        asked = len(box.desk.wanted)
        box.clock.time += 60.0
        box.desk.failures.clear()
        until(lambda: len(box.desk.wanted) > asked, "it is asked for again")
        box.catalogue.begin_recall(pack_id("n"))
        box.catalogue.recalled(pack_id("n"), box.desk.wanted[-1][1])
        until(box.settled("all", 2), "it is sent")
        assert there.got == [here, away]
