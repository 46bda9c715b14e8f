"""The web services over a state directory, with edge beside them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import ClientSession, web

from edge.web.app import make
from edge.web.token import load
from tests.web.box import CONFIG, Box, FakeEdge, Web


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.close()
    assert made.fail_stop.fault is None


@pytest_asyncio.fixture(loop_scope="function")
async def served(box: Box) -> AsyncIterator[Web]:
    """The services on a free port, edge beside them."""
    edge = FakeEdge(box)
    answering = asyncio.create_task(edge.serve())
    await asyncio.sleep(0)
    token = load(box.layout.web_token)
    runner = web.AppRunner(make(CONFIG, box.layout, token), access_log=None, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with ClientSession() as session:
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield Web(box, edge, session, address, box.layout.web_token.read_text().strip())
    await runner.cleanup()
    answering.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await answering
