"""/lamp and /metrics: how Outpost is, for a wall and for Prometheus."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge.errors import Transient
from edge.web.condition import FRESH_SECONDS, Condition
from tests.servers import ROOT
from tests.store.rows import Clock
from tests.web.box import SAFE, Web


async def _open(served: Web, path: str) -> tuple[int, dict[str, str], str]:
    async with served.session.get(served.address + path) as response:
        return response.status, dict(response.headers), await response.text()


@pytest.mark.asyncio
async def test_the_lamp_says_the_sentence_in_its_colour_and_in_a_word(served: Web) -> None:
    status, headers, page = await _open(served, "/lamp")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert 'data-lamp="green"' in page
    assert ">Safe<" in page
    assert SAFE.sentence in page
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    shown = json.loads((await _open(served, "/lamp/state"))[2])
    assert (shown["lamp"], shown["sentence"], shown["site"], shown["more"]) == ("green", SAFE.sentence, "Hill clinic", "")


@pytest.mark.asyncio
async def test_everything_that_the_page_loads_is_here_and_is_asked_for_once(served: Web) -> None:
    _, _, page = await _open(served, "/lamp")
    files = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert len(files) == 2
    for path in files:
        async with served.session.get(served.address + path) as response:
            assert response.status == 200
            tag = response.headers["ETag"]
        async with served.session.get(served.address + path, headers={"If-None-Match": tag}) as again:
            assert again.status == 304
    assert (await _open(served, "/static/lamp.html"))[0] == 404
    assert (await _open(served, "/static/..%2Fapp.py"))[0] == 404


@pytest.mark.asyncio
async def test_alarms_are_counted_beside_the_sentence_and_no_study_is_named(served: Web) -> None:
    served.edge.status = msgspec.structs.replace(SAFE, lamp="red", alarms=["Study 1.2.3 is lost.", "The disk is full."])
    shown = json.loads((await _open(served, "/lamp/state"))[2])
    assert shown["more"] == "2 things need a person: see `outpost status`."
    assert "1.2.3" not in (await _open(served, "/lamp"))[2]


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>", '"><script>alert(1)</script>', "\u202egpj.exe", "x" * 10_000])
async def test_what_a_name_says_is_shown_and_never_run(served: Web, name: str) -> None:
    served.edge.status = msgspec.structs.replace(SAFE, site=name)
    _, _, page = await _open(served, "/lamp")
    assert "<img" not in page
    assert page.count("<script") == 1


@pytest.mark.asyncio
async def test_edge_is_asked_once_in_a_while_however_many_look(served: Web) -> None:
    clock = Clock()
    condition = Condition(served.box.layout.control, clock)
    assert await asyncio.gather(*(condition.now() for _ in range(20))) == [SAFE] * 20
    assert served.edge.asked_status == 1
    clock.time += FRESH_SECONDS
    assert await condition.now() == SAFE
    assert served.edge.asked_status == 2


@pytest.mark.asyncio
async def test_an_edge_that_hangs_is_asked_once_in_a_while_too_and_nobody_waits_for_the_others(tmp_path: Path) -> None:
    clock = Clock()
    with socket.create_server(str(tmp_path / "control"), family=socket.AF_UNIX) as hung:
        hung.setblocking(False)
        condition = Condition(tmp_path / "control", clock, patience_seconds=0.1)
        found = await asyncio.gather(*(condition.now() for _ in range(20)), return_exceptions=True)
        assert [type(one) for one in found] == [Transient] * 20
        hung.accept()[0].close()
        with pytest.raises(BlockingIOError):
            hung.accept()
        clock.time += FRESH_SECONDS
        with pytest.raises(Transient):
            await condition.now()
        hung.accept()[0].close()


@pytest.mark.asyncio
async def test_the_lamp_is_red_and_the_metrics_say_down_while_edge_does_not_answer(served: Web) -> None:
    served.box.layout.control.unlink()
    shown = json.loads((await _open(served, "/lamp/state"))[2])
    assert shown["lamp"] == "red"
    assert shown["sentence"].startswith("Outpost does not answer")
    assert _figures((await _open(served, "/metrics"))[2]) == {"outpost_up": 0.0}


@pytest.mark.asyncio
async def test_prometheus_reads_the_figures_of_the_sentence(served: Web) -> None:
    status, headers, text = await _open(served, "/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    figures = _figures(text)
    assert figures["outpost_up"] == figures["outpost_link_up"] == figures["outpost_lamp{green}"] == 1.0
    assert figures["outpost_lamp{red}"] == 0.0
    assert (figures["outpost_studies"], figures["outpost_last_held_timestamp_seconds"]) == (3.0, 1_700_000_000.0)
    assert "outpost_oldest_waiting_timestamp_seconds" not in figures
    assert "Hill" not in text


@pytest.mark.asyncio
async def test_each_figure_of_the_board_for_grafana_exists(served: Web) -> None:
    served.edge.status = msgspec.structs.replace(SAFE, oldest_waiting_at=1.0, drilled_at=1.0)
    known = {name.split("{")[0] for name in _figures((await _open(served, "/metrics"))[2])}
    board = json.loads((Path(ROOT) / "docs/grafana.json").read_text())
    asked = {name for panel in board["panels"] for target in panel["targets"] for name in re.findall(r"outpost_\w+", target["expr"])}
    assert asked
    assert asked <= known
    described = (Path(ROOT) / "docs/operations-watching.md").read_text()
    assert not [name for name in known if f"`{name}" not in described]


def _figures(text: str) -> dict[str, float]:
    return {
        sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
