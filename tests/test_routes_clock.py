"""edge.routes while the clock is not right."""

from __future__ import annotations

from pathlib import Path

from tests.servers import until
from tests.store.rows import Clock
from tests.test_routes import ALL, DAY, Fake, arrive, boxed


def test_a_clock_that_ran_ahead_once_keeps_nothing_from_being_sent(tmp_path: Path) -> None:
    pacs, clock = Fake(), Clock(10_000 * DAY)
    with boxed(tmp_path, {"all": pacs}, clock) as ours:
        ours.table.put(ALL)
        ours.routes.start()
        until(lambda: ours.table.all()[0].since == 9_999 * DAY, "the books are closed by the wrong clock")
        ours.routes.stop()
        clock.time = 100 * DAY
        later = arrive(ours.catalogue, 1, received_at=100 * DAY)
        ours.routes.start()
        until(lambda: pacs.got == [later], "what arrives by the right clock is sent")


def test_a_clock_that_is_set_back_puts_no_try_off(tmp_path: Path) -> None:
    pacs, clock = Fake(), Clock(100 * DAY)
    pacs.down = "No connection."
    with boxed(tmp_path, {"all": pacs}, clock) as ours:
        uid = arrive(ours.catalogue, 1)
        ours.table.put(ALL)
        ours.routes.start()
        until(lambda: ours.forwards.standing("all").failures == 1, "a failure")
        ours.routes.stop()
        (one,) = ours.forwards.due("all", 100 * DAY, 10)
        ours.forwards.failed("all", one.instance, "Not this one.", 100 * DAY + 60)
        pacs.down, clock.time = "", 90 * DAY
        ours.routes.start()
        until(lambda: pacs.got == [uid], "it is tried by the clock as it is now")
