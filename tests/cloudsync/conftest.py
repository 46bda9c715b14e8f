"""A site on a folder archive, its other side, and its service."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from cloudsync.archive.port import Archive
from cloudsync.service import Service
from cloudsync.setup import NewSite, setup
from edge.config import Layout, load
from tests import azurite, buckets
from tests.cloudsync.edge_side import EdgeSide, settings

Running = Callable[..., AbstractAsyncContextManager[None]]


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[azurite.Azurite]:
    with azurite.running(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[buckets.Moto]:
    with buckets.moto(tmp_path_factory.mktemp("moto")) as running:
        yield running


@pytest.fixture(scope="session")
def fake_gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[buckets.FakeGcs]:
    with buckets.fake_gcs(tmp_path_factory.mktemp("fake_gcs")) as running:
        yield running


@pytest.fixture
def archive_folder(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "state")


@pytest.fixture
def site(layout: Layout, archive_folder: Path, tmp_path: Path) -> NewSite:
    return setup(layout.state, settings(archive_folder), tmp_path / "kit")


@pytest.fixture
def edge(site: NewSite, layout: Layout) -> Iterator[EdgeSide]:
    side = EdgeSide(layout)
    yield side
    side.close()


@contextlib.asynccontextmanager
async def serving(layout: Layout, archive: Archive | None = None) -> AsyncIterator[None]:
    """cloudsync runs in this process until the block ends."""
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(Service(load(layout.config), layout, archive=archive).run(stop, ready.set))
    started = asyncio.create_task(ready.wait())
    await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
    started.cancel()
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 15)


@pytest.fixture
def running(layout: Layout) -> Running:
    """`async with running():` serves the site of the test."""
    return lambda archive=None: serving(layout, archive)
