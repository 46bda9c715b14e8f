"""edge.startup: what a start says while it brings the catalogue of an older version up to date, and that it can be ended meanwhile."""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edge.clock import SystemClock
from edge.config import Layout
from edge.errors import BrokenOff
from edge.model import Level
from edge.startup import open_catalogue
from edge.store.site import SiteState
from tests.store.rows import ask
from tests.store.test_migrations import first_catalogue


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "state")
    for directory in (made.open_packs, made.quarantine):
        directory.mkdir(parents=True)
    first_catalogue(made.catalogue)
    return made


def test_the_service_manager_is_told_to_wait_while_an_older_catalogue_is_brought_up_to_date(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager,
        closing(SiteState(layout.site)) as state,
    ):
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with closing(open_catalogue(layout, state, SystemClock()).catalogue) as catalogue:
            assert len(ask(catalogue, Level.STUDY)) == 2
        said = manager.recv(4096).decode().splitlines()
        assert said[0].startswith("STATUS=The catalogue of an older version is brought up to date")
        assert said[1] == "EXTEND_TIMEOUT_USEC=120000000"
        open_catalogue(layout, state, SystemClock()).catalogue.close()
        with pytest.raises(BlockingIOError):
            while manager.recv(4096).startswith(b"STATUS=The catalogue of an older version"):
                pass


def test_a_start_that_is_ended_while_it_migrates_leaves_the_catalogue_as_it_was(layout: Layout) -> None:
    with closing(SiteState(layout.site)) as state:
        with pytest.raises(BrokenOff):
            open_catalogue(layout, state, SystemClock(), ended=lambda: True)
        with closing(sqlite3.connect(layout.catalogue)) as beside:
            assert beside.execute("PRAGMA user_version").fetchone() == (1,)
        open_catalogue(layout, state, SystemClock()).catalogue.close()
