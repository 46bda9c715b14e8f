"""Real peers and our own edge, started on free ports by whoever tests against them."""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.config import Layout
from edge.control import asking
from edge.control.peers import PutPeer

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a DICOM application entity listens on loopback, and its HTTP port where it has one."""

    ae_title: str
    port: int
    http_port: int = 0


def free_port() -> int:
    """A port that nobody listens on, below those that the system gives to outgoing connections: a probe of one of those may take it, or
    even connect to itself.
    """
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) and _binds(port):
                return port


def _binds(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False


def need(program: str, package: str) -> str:
    """The path of a program; without it the test is skipped, and fails where CI is set."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin")
    if found is None:
        reason = f"{program} is not installed (Debian package {package})"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def until(holds: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something that other processes do; AssertionError with `what` when it does not happen."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"after {seconds:.0f} s still not: {what}"
        time.sleep(0.02)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(path: Path) -> bool:
    """Whether somebody listens on a Unix socket: its file is there a moment earlier."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@contextmanager
def started(command: list[str], log: Path, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended at the end of the block; its output goes to `log`."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, **options)  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def edge_alone(
    state: Path,
    peers: tuple[str, ...] = ("BENCH",),
    settings: str = "",
    destinations: tuple[Endpoint, ...] = (),
    dicom: str = "",
    under: Sequence[str] = (),
) -> Iterator[Endpoint]:
    """Our edge process without cloudsync, on a state directory of its own; these AE titles may talk to it, and be sent to. `settings` and
    `dicom` are more lines of the sections cache and dicom. `under` is the command that runs it and lets it be a child of this process.
    """
    layout = Layout(state)
    for directory in (layout.edge, layout.cloudsync):
        directory.mkdir(parents=True, exist_ok=True)
    layout.config.write_text(f'[dicom]\nhost = "127.0.0.1"\nport = 0\n{dicom}[cache]\nreserve_bytes = 0\nballast_bytes = 0\n{settings}')
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    port = layout.edge / "dicom.port"
    for left in (port, layout.control):
        left.unlink(missing_ok=True)
    with started([*under, sys.executable, "-m", "edge", "--state", str(state)], state / "edge.log", env=environment) as process:
        until(lambda: (port.exists() and answers(layout.control)) or process.poll() is not None, "edge is ready")
        assert process.poll() is None, (state / "edge.log").read_text()
        endpoint = Endpoint("OUTPOST", int(port.read_text()))
        until(lambda: listens(endpoint.port), "edge listens")
        for peer in peers:
            list(asking.ask(layout.control, PutPeer(ae_title=peer)))
        for there in destinations:
            list(asking.ask(layout.control, PutPeer(ae_title=there.ae_title, host="127.0.0.1", port=there.port)))
        yield endpoint


@contextmanager
def edge_web(state: Path) -> Iterator[Callable[[str], bytes]]:
    """edge-web beside an edge process whose settings have web.port = 0: what GET answers for a path, in any thread."""
    layout = Layout(state)
    port = layout.edge / "web.port"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with started([sys.executable, "-m", "edge.web", "--state", str(state)], state / "edge-web.log", env=environment) as process:
        until(lambda: port.exists() or process.poll() is not None, "edge-web listens")
        assert process.poll() is None, (state / "edge-web.log").read_text()
        headers = {"Authorization": f"Bearer {layout.web_token.read_text().strip()}"}

        def get(path: str) -> bytes:
            with closing(http.client.HTTPConnection("127.0.0.1", int(port.read_text()), timeout=60)) as connection:
                connection.request("GET", path, headers=headers)
                response = connection.getresponse()
                body = response.read()
                assert response.status == 200, body
                return body

        yield get


@contextmanager
def orthanc(place: Path, nodelay: str = "1", under: Sequence[str] = (), **settings: object) -> Iterator[Endpoint]:
    """Debian's Orthanc with a flush for each instance, and its DICOMweb plugin where that is installed. `nodelay` is dcmtk's variable
    TCP_NODELAY: 1, as it runs best, or 0, as it comes; `under` is the command that runs it.
    """
    program = need("Orthanc", "orthanc")
    place.mkdir(parents=True)
    endpoint = Endpoint("ORTHANC", free_port(), free_port())
    plugin = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
    configuration = {
        "Name": "peer",
        "StorageDirectory": str(place / "storage"),
        "IndexDirectory": str(place / "storage"),
        "DicomAet": endpoint.ae_title,
        "DicomPort": endpoint.port,
        "HttpPort": endpoint.http_port,
        "DicomAlwaysAllowEcho": True,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "SyncStorageArea": True,
        "AuthenticationEnabled": False,
        "RemoteAccessAllowed": False,
        "Plugins": [str(plugin)] if plugin.exists() else [],
        **settings,
    }
    path = place / "orthanc.json"
    path.write_text(json.dumps(configuration))
    with started([*under, program, str(path)], place / "orthanc.log", env={**os.environ, "TCP_NODELAY": nodelay}) as process:
        until(lambda: listens(endpoint.port) or process.poll() is not None, "Orthanc listens")
        assert process.poll() is None, (place / "orthanc.log").read_text()
        yield endpoint


@contextmanager
def ignoring_scp(place: Path, nodelay: str = "1") -> Iterator[Endpoint]:
    """dcmtk's storescp, which takes whatever comes and forgets it; `nodelay` as with Orthanc."""
    place.mkdir(parents=True)
    endpoint = Endpoint(f"IGNORE{nodelay}", free_port())
    command = [need("storescp", "dcmtk"), "--ignore", "-aet", endpoint.ae_title, "-pdu", "131072", "+xa", str(endpoint.port)]
    with started(command, place / "storescp.log", env={**os.environ, "TCP_NODELAY": nodelay}) as process:
        until(lambda: listens(endpoint.port) or process.poll() is not None, "storescp listens")
        assert process.poll() is None, (place / "storescp.log").read_text()
        yield endpoint


@contextmanager
def pynetdicom_scp(place: Path) -> Iterator[Endpoint]:
    """pynetdicom's own storage SCP, which writes a file for each instance and does not flush it."""
    place.mkdir(parents=True)
    endpoint = Endpoint("STORESCP", free_port())
    command = [sys.executable, "-m", "pynetdicom", "storescp", str(endpoint.port), "-od", str(place / "received"), "-q"]
    with started(command, place / "storescp.log") as process:
        until(lambda: listens(endpoint.port) or process.poll() is not None, "pynetdicom's storescp listens")
        assert process.poll() is None, (place / "storescp.log").read_text()
        yield endpoint
