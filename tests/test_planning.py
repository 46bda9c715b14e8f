"""edge.planning: what is measured of a site."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.config import Archive, Cache, Config, Layout
from edge.control.capacity import GetCapacity, Growing, Outlook
from edge.planning import Planning
from edge.store.catalogue import Catalogue
from tests.responses import answers
from tests.store.rows import Clock, admission, close, hold, put


@pytest.mark.parametrize("path", ["", "/nowhere"])
def test_an_empty_site_is_answered_clearly(tmp_path: Path, path: str) -> None:
    layout = Layout(tmp_path)
    layout.cache.mkdir(parents=True)
    catalogue = Catalogue(layout.catalogue)
    (found,) = answers(Planning(Config(archive=Archive(path=path)), layout, catalogue, Clock()), GetCapacity())
    assert isinstance(found, Outlook)
    assert (found.measured_days, found.cache_days, found.archive_free_bytes, found.archive_full_days) == (0.0, None, None, None)
    catalogue.close()


def test_what_arrived_within_the_week_counts_by_modality_with_the_sealed_bytes_of_what_is_held(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.cache.mkdir(parents=True)
    catalogue, clock = Catalogue(layout.catalogue), Clock()
    for letter, days in (("a", 10), ("b", 3), ("c", 1)):
        study = f"1.{letter.encode()[0]}"
        one = admission(letter, study=study, series=f"{study}.1", instance=f"{study}.1.1", received_at=clock.now() - days * 86_400)
        put(catalogue, one)
        close(catalogue, letter)
    hold(catalogue, "a")
    planning = Planning(Config(cache=Cache(reserve_bytes=0), archive=Archive(path=str(tmp_path))), layout, catalogue, clock)
    size = one.member.dataset_length
    found = planning.measure()
    assert (found.days, found.arrived, found.sealed) == (7.0, {"CT": 2 * size}, {"CT": (size, 5000.0)})
    assert found.archive_beside
    outlook, growing = answers(planning, GetCapacity())
    assert isinstance(outlook, Outlook)
    assert isinstance(growing, Growing)
    assert (growing.modality, growing.basis, growing.bytes_per_day) == ("CT", "measured", pytest.approx(2 * size / 7))
    catalogue.close()
