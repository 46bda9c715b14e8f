"""edge.collector: what is in the trail reaches the collector, in order, however often it goes away."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue

import pytest

from edge.audit import PeerChanged
from edge.clock import SystemClock
from edge.collector import Collector
from edge.config import Audit, Layout
from edge.errors import ConfigError
from edge.failstop import FailStop
from edge.trail import Limits, Trail
from tests.audited import SOURCE
from tests.certificates import Authority


class Hospital:
    """A collector of syslog over TLS. `lines` has the number of each line of the trail that came; `refuse` hangs up on who calls."""

    def __init__(self, authority: Authority, port: int = 0) -> None:
        self.lines: Queue[int] = Queue()
        self.calls: Queue[None] = Queue()
        self.refuse = False
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*authority.issue("collector"))
        self._context.load_verify_locations(authority.certificate)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """Gone, with every connection."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self.hang_up()

    def hang_up(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections = []

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self.calls.put(None)
            if self.refuse:
                plain.close()
                continue
            try:
                connection = self._context.wrap_socket(plain, server_side=True)
            except OSError:
                continue
            self._connections.append(connection)
            threading.Thread(target=self._read, args=(connection,)).start()

    def _read(self, connection: ssl.SSLSocket) -> None:
        data = b""
        try:
            while more := connection.recv(1 << 16):
                data += more
                while match := re.match(rb"(\d+) ", data):
                    end = match.end() + int(match[1])
                    if len(data) < end:
                        break
                    found = re.search(rb'ParticipantObjectID="peer (\d+)"', data[:end])
                    self.lines.put(int(found[1]) if found else 0)
                    data = data[end:]
        except (OSError, ValueError):
            return


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
def hospital(authority: Authority) -> Iterator[Hospital]:
    made = Hospital(authority)
    yield made
    made.close()


class Box:
    """A trail, and what sends it."""

    def __init__(self, state: Path, authority: Authority, port: int, limits: Limits | None = None) -> None:
        layout = Layout(state)
        layout.audit.mkdir(parents=True, exist_ok=True)
        certificate, key = authority.issue("box")
        settings = Audit(
            collector_host="127.0.0.1",
            collector_port=port,
            ca_file=str(authority.certificate),
            certificate_file=str(certificate),
            key_file=str(key),
        )
        fail_stop = FailStop(lambda: None)
        self.collector = Collector(settings, layout, SOURCE, SystemClock(), fail_stop, jitter=lambda: -0.98)
        self.trail = Trail(layout.audit, SystemClock(), fail_stop, limits, written=self.collector.wake)
        self.collector.start()

    def tell(self, numbers: range) -> None:
        for number in numbers:
            self.trail.record(PeerChanged(user=1, peer=f"peer {number}", change="added", fields=[]))

    def close(self) -> None:
        self.trail.close()
        self.collector.stop()


@pytest.fixture
def box(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., Box]]:
    made: list[Box] = []

    def begin(port: int, limits: Limits | None = None) -> Box:
        made.append(Box(tmp_path / "state", authority, port, limits))
        return made[-1]

    yield begin
    for one in made:
        one.close()


def _until(hospital: Hospital, last: int) -> list[int]:
    """What came, up to the line with this number."""
    came = [hospital.lines.get(timeout=60)]
    while came[-1] != last:
        came.append(hospital.lines.get(timeout=60))
    return came


def test_what_happened_reaches_the_collector_in_order_over_several_files(hospital: Hospital, box: Callable[..., Box]) -> None:
    one = box(hospital.port, Limits(file_bytes=2000))
    one.tell(range(1, 301))
    assert _until(hospital, 300) == list(range(1, 301))
    one.tell(range(301, 303))
    assert _until(hospital, 302) == [301, 302]


def test_a_restart_goes_on_behind_what_was_sent(hospital: Hospital, box: Callable[..., Box]) -> None:
    first = box(hospital.port)
    first.tell(range(1, 11))
    _until(hospital, 10)
    first.close()
    again = box(hospital.port)
    again.tell(range(11, 13))
    came = _until(hospital, 12)
    assert came[-2:] == [11, 12]
    assert came in ([11, 12], [*range(1, 13)])  # the note of the first ten may not have been written when it ended


def test_what_a_collector_did_not_get_because_it_went_away_is_sent_when_it_is_back(
    authority: Authority, hospital: Hospital, box: Callable[..., Box]
) -> None:
    one = box(hospital.port)
    one.tell(range(1, 4))
    _until(hospital, 3)
    hospital.refuse = True
    hospital.hang_up()
    one.tell(range(4, 40))
    hospital.calls.get(timeout=60)
    hospital.calls.get(timeout=60)
    hospital.refuse = False
    came = _until(hospital, 39)
    assert sorted(set(came))[-36:] == list(range(4, 40))


def test_a_collector_that_another_authority_signed_gets_nothing(tmp_path: Path, authority: Authority, box: Callable[..., Box]) -> None:
    stranger = Hospital(Authority(tmp_path / "elsewhere", "other"))
    try:
        one = box(stranger.port)
        one.tell(range(1, 3))
        stranger.calls.get(timeout=60)
        stranger.calls.get(timeout=60)
        assert stranger.lines.empty()
    finally:
        stranger.close()


def test_a_collector_that_hangs_does_not_keep_edge_from_ending(authority: Authority, box: Callable[..., Box]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        one = box(silent.getsockname()[1])
        one.tell(range(1, 3))
        with silent.accept()[0] as hung:
            one.close()
            hung.setblocking(False)
            with pytest.raises(BlockingIOError):  # it is still called: nobody has waited for it
                while hung.recv(1 << 16):
                    pass


def test_certificates_that_cannot_be_used_are_refused_at_the_start(tmp_path: Path, authority: Authority) -> None:
    missing = Audit(collector_host="127.0.0.1", ca_file=str(tmp_path / "none.pem"))
    with pytest.raises(ConfigError, match=r"audit\.ca_file"):
        Collector(missing, Layout(tmp_path), SOURCE, SystemClock(), FailStop(lambda: None))
