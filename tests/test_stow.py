"""edge.stow: what a STOW-RS service answers, and how it can fail, against a server that answers what a test says."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edge.errors import Corrupt, Refused
from edge.model import UID
from edge.stow import BrokenOff, StowService, Unusable, checked

INSTANCE = UID("1.2.3.4")
TAKEN = json.dumps({"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [INSTANCE]}}]}}).encode()
ODD = [
    TAKEN.replace(b'["1.2.3.4"]', b'"1.2.3.45"'),  # longer, and no list
    TAKEN.replace(b'["1.2.3.4"]', b'{"1.2.3.4": 0}'),
    b"[" * 100_000,
    b'{"00081198": {"Value": [{"00081197": {"Value": [Infinity]}}]}}',
    b'{"00081198": {"Value": [{"00081197": {"Value": [-1]}}]}}',
]
FILE = [b"DICM", memoryview(b"x" * 100_000), b"end"]
LENGTH = sum(map(len, FILE))


class Service:
    """Keeps what was stored, and answers `status` and `answer`."""

    def __init__(self) -> None:
        self.status, self.answer = 200, TAKEN
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.connections: set[tuple[str, int]] = set()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                service.connections.add(self.client_address)
                service.paths.append(self.path)
                service.headers.append({name.lower(): value for name, value in self.headers.items()})
                service.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(service.status)
                self.send_header("Content-Length", str(len(service.answer)))
                self.end_headers()
                self.wfile.write(service.answer)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/dicom-web"


@pytest.fixture
def there() -> Iterator[Service]:
    made = Service()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@contextmanager
def service(url: str, token: Path | None = None, seconds: float = 5.0) -> Iterator[StowService]:
    made = StowService(url, token, seconds)
    try:
        yield made
    finally:
        made.close()


def test_an_instance_is_one_part_and_the_connection_is_kept(there: Service) -> None:
    with service(there.url) as ours:
        assert ours.store(INSTANCE, LENGTH, FILE) is None
        assert ours.store(INSTANCE, LENGTH, FILE) is None
    assert there.paths == ["/dicom-web/studies"] * 2
    assert len(there.connections) == 1
    kind = there.headers[0]["content-type"]
    assert kind.startswith('multipart/related; type="application/dicom"; boundary=')
    boundary = kind.partition("boundary=")[2].encode()
    head, _, rest = there.bodies[0].partition(b"\r\n\r\n")
    assert head == b"--%b\r\nContent-Type: application/dicom\r\nContent-Length: %d" % (boundary, LENGTH)
    assert rest == b"".join(FILE) + b"\r\n--" + boundary + b"--\r\n"
    assert "authorization" not in there.headers[0]


def test_the_token_is_read_for_each_request(there: Service, tmp_path: Path) -> None:
    token = tmp_path / "token"
    with service(there.url, token) as ours:
        for text in ("one", "two"):
            token.write_text(f"{text}\n")
            assert ours.store(INSTANCE, LENGTH, FILE) is None
        token.unlink()
        with pytest.raises(Unusable, match="token"):
            ours.store(INSTANCE, LENGTH, FILE)
    assert [headers["authorization"] for headers in there.headers] == ["Bearer one", "Bearer two"]


@pytest.mark.parametrize("answer", [b"", b"{}", b"<html>", b'{"00081199": {"vr": "SQ"}}', TAKEN.replace(b"1.2.3.4", b"1.2.3.5"), *ODD])
def test_a_success_that_does_not_name_the_instance_is_none(there: Service, answer: bytes) -> None:
    there.answer = answer
    with service(there.url) as ours:
        assert ours.store(INSTANCE, LENGTH, FILE) == "status 200, without a word that it is stored"


@pytest.mark.parametrize("status", [202, 400, 409, 413, 415, 422])
def test_what_the_service_does_not_take_is_the_fault_of_the_instance(there: Service, status: int) -> None:
    there.status = status
    there.answer = json.dumps({"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0xA900]}}]}}).encode()
    with service(there.url) as ours:
        assert ours.store(INSTANCE, LENGTH, FILE) == f"status {status}, failure reason A900"
        there.answer = b"<html>"
        assert ours.store(INSTANCE, LENGTH, FILE) == f"status {status}"


@pytest.mark.parametrize("status", [301, 401, 403, 404, 429, 500, 503])
def test_everything_else_says_that_the_service_cannot_be_used(there: Service, status: int) -> None:
    there.status = status
    with service(there.url) as ours, pytest.raises(Unusable, match=str(status)):
        ours.store(INSTANCE, LENGTH, FILE)


def test_a_service_that_is_not_there_or_does_not_answer_is_given_up_in_time(there: Service) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        with service(f"http://127.0.0.1:{port}", seconds=0.2) as ours, pytest.raises(Unusable, match="timed out"):
            ours.store(INSTANCE, LENGTH, FILE)
    with service(f"http://127.0.0.1:{port}") as ours, pytest.raises(Unusable, match="refused"):
        ours.store(INSTANCE, LENGTH, FILE)


def test_an_answer_before_the_end_of_the_request_counts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            line, _ = listener.accept()
            with line:
                line.recv(1024)
                line.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                line.shutdown(socket.SHUT_WR)
                while line.recv(1 << 20):
                    pass

        thread = threading.Thread(target=refuse)
        thread.start()
        with service(f"http://127.0.0.1:{listener.getsockname()[1]}") as stow:
            assert stow.store(INSTANCE, 50 << 20, (bytes(1 << 20) for _ in range(50))) == "status 413"
        thread.join()


def test_a_service_that_breaks_off_is_told_apart_from_one_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            line, _ = listener.accept()
            line.recv(1024)
            line.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with service(f"http://127.0.0.1:{listener.getsockname()[1]}") as stow, pytest.raises(BrokenOff):
            stow.store(INSTANCE, LENGTH, FILE)
        thread.join()


def test_what_cannot_be_read_here_rises_and_ends_the_request(there: Service) -> None:
    def broken() -> Iterator[bytes]:
        yield b"DICM"
        raise Corrupt("the pack does not hold it")

    with service(there.url) as stow:
        with pytest.raises(Corrupt):
            stow.store(INSTANCE, LENGTH, broken())
        assert stow.store(INSTANCE, LENGTH, FILE) is None


def test_an_interrupt_breaks_off_what_is_under_way() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        ours = StowService(f"http://127.0.0.1:{deaf.getsockname()[1]}", None, 30.0)
        begun = threading.Event()

        def pieces() -> Iterator[bytes]:
            begun.set()
            yield b"x" * LENGTH

        faults: list[Unusable] = []

        def store() -> None:
            try:
                ours.store(INSTANCE, LENGTH, pieces())
            except Unusable as fault:
                faults.append(fault)

        thread = threading.Thread(target=store)
        thread.start()
        assert begun.wait(10)
        ours.interrupt()
        thread.join(10)
        assert not thread.is_alive()
        ours.close()
        assert len(faults) == 1


def test_an_address_is_checked_and_a_token_does_not_travel_in_the_clear() -> None:
    assert checked("https://pacs.local/dicom-web/", with_token=True) == "https://pacs.local/dicom-web"
    assert checked("http://10.0.0.5:8042/dicom-web", with_token=False) == "http://10.0.0.5:8042/dicom-web"
    assert checked("http://localhost:8042", with_token=True) == "http://localhost:8042"
    with pytest.raises(Refused, match="over http"):
        checked("http://10.0.0.5:8042", with_token=True)
    for url in ("ftp://pacs.local", "pacs.local/dicom-web", "https://", "https://user@pacs.local", "https://pacs.local?x=1"):
        with pytest.raises(Refused, match="no address"):
            checked(url, with_token=False)
