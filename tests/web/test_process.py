"""The edge-web process itself: starts, says where, ends when it is told to, and refuses what it must not do."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.config import Layout
from edge.errors import ConfigError
from edge.web.server import check_host
from tests.web.box import CT, Box, FakeEdge, sample


def _start(state: Path, settings: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    (state / "outpost.toml").write_text(settings)
    command = [sys.executable, "-W", "error", "-m", "edge.web", "--state", str(state)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | (environment or {}))


@contextlib.contextmanager
def _edge_beside(box: Box) -> Iterator[None]:
    """Edge answers, in a loop of its own, from the time when this is entered."""
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        loop.call_later(0, ready.set)
        await FakeEdge(box).serve()

    task = loop.create_task(serve())
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait([task])))
    thread.start()
    ready.wait()
    yield
    loop.call_soon_threadsafe(task.cancel)
    thread.join()
    loop.close()


def _get(port: int, path: str, token: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    response = connection.getresponse()
    found = response.status, response.read()
    connection.close()
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_tells_systemd_serves_logs_without_patient_data_and_ends_on_a_signal(box: Box, tmp_path: Path, number: signal.Signals) -> None:
    box.take(sample(CT))
    with _edge_beside(box), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        process = _start(tmp_path, "[web]\nport = 0\n", {"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert manager.recv(100) == b"READY=1"
        layout = Layout(tmp_path)
        port = int((layout.edge / "web.port").read_text())
        token = layout.web_token.read_text().strip()
        status, body = _get(port, "/studies?PatientName=CompressedSamples*", token)
        assert (status, len(json.loads(body))) == (200, 1)
        study = json.loads(body)[0]["0020000D"]["Value"][0]
        assert _get(port, f"/studies/{study}/metadata", token)[0] == 200
        process.send_signal(number)
        assert manager.recv(100) == b"STOPPING=1"
        _, log = process.communicate(timeout=30)
    assert process.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["route"] for line in lines if line["says"] == "request"] == ["/studies", "/studies/{study}/metadata"]
    assert not [secret for secret in ("CompressedSamples", "1CT1", study, token) if secret in log]


def test_it_refuses_to_listen_where_others_can_reach_it(tmp_path: Path) -> None:
    (tmp_path / "edge").mkdir()
    process = _start(tmp_path, '[web]\nhost = "0.0.0.0"\n')
    _, log = process.communicate(timeout=60)
    assert process.returncode == 78
    assert "web.host" in log
    assert "127.0.0.1" in log


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example", "localhost.example", ""])
def test_only_an_address_of_this_machine_alone_is_bound(host: str) -> None:
    with pytest.raises(ConfigError, match=r"web\.host"):
        check_host(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_the_loopback_is_bound(host: str) -> None:
    assert check_host(host) == host


def test_a_port_in_use_is_named_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "edge").mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = _start(tmp_path, f"[web]\nport = {taken.getsockname()[1]}\n")
        _, log = process.communicate(timeout=60)
    assert process.returncode == 78
    assert "web.port" in log
    assert "choose another port" in log
