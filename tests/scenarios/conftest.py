"""Real sites: all three processes under `outpost run`, on a folder archive unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from edge.control.cache import Evict
from edge.control.peers import PutPeer
from edge.control.studies import Study
from edge.demo.site import Kit, Site, folder
from edge.demo.workstation import Workstation
from edge.store import site


class Clinic:
    """A running site, its workstation, its archive folder and its kit."""

    def __init__(self, place: Path, archive: str | None = None, kind: type[Site] = Site) -> None:
        self.place = place
        self.archive = place / "archive"
        self.archive.mkdir(parents=True)
        self.site = kind("Test clinic", place / "clinic", archive or folder(self.archive))
        self.workstation = Workstation()
        self.kit: Kit = self.site.set_up(place / "kit")

    def open(self) -> None:
        self.workstation.__enter__()
        self.site.start()
        self.introduce(self.site)

    def close(self) -> None:
        self.site.stop()
        self.workstation.__exit__(None, None, None)

    def introduce(self, site: Site, *ae_titles: str) -> None:
        for ae_title in (self.workstation.ae_title, *ae_titles):
            list(site.ask(PutPeer(ae_title=ae_title, host="127.0.0.1", port=self.workstation.port)))

    def wait_told(self) -> None:
        """Until a copy of site state that knows the workstation is on its way: what is held after this is not older."""
        self.site.wait(self._is_told, "site state is in the outbox", 70)

    def _is_told(self) -> bool:
        for path in (self.site.layout.outbox / "site").glob("*"):
            with TemporaryDirectory() as scratch:
                site.restore(Path(scratch) / "site.db", path.read_bytes())
                state = site.SiteState(Path(scratch) / "site.db")
                peer = state.destination(self.workstation.ae_title)
                state.close()
            if peer is not None and peer.port == self.workstation.port:
                return True
        return False

    def wait_held(self, seconds: float = 120) -> list[Study]:
        self.site.wait(lambda: all(row.held == row.packs for row in self.site.studies()), "every pack is held", seconds)
        return self.site.studies()

    def evict(self) -> None:
        list(self.site.ask(Evict()))
        assert all(row.here == 0 for row in self.site.studies())


@pytest.fixture
def make_clinic(tmp_path: Path) -> Iterator[Callable[..., Clinic]]:
    """Makes and starts a clinic; it is closed after the test."""
    made: list[Clinic] = []

    def make(archive: str | None = None) -> Clinic:
        clinic = Clinic(tmp_path / f"site{len(made)}", archive)
        made.append(clinic)
        clinic.open()
        return clinic

    yield make
    for clinic in made:
        clinic.close()


@pytest.fixture
def clinic(make_clinic: Callable[..., Clinic]) -> Clinic:
    return make_clinic()
