"""Storing at a STOW-RS service (PS3.18 section 10.5): an instance a request, over a connection that is kept. Blocking, under a deadline."""

from __future__ import annotations

import http.client
import ipaddress
import itertools
import json
import secrets
import socket
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from edge.errors import Refused, Transient
from edge.model import UID
from edge.transport import cut

TIMEOUT_SECONDS = 60.0
"""For the connection, and for each step of a request."""
_ANSWER_MAX_BYTES = 1 << 20
_TOKEN_MAX_BYTES = 16 << 10
_STORED = 200
_OF_THIS_INSTANCE = {202, 400, 409, 413, 415, 422}
"""The service is well, and does not take what was sent; anything else says that it cannot be used."""
_MAX_REASON = 0xFFFF
_REFERENCED, _SOP_INSTANCE, _FAILED, _REASON = "00081199", "00081155", "00081198", "00081197"


class Unusable(Transient):
    """The STOW-RS service cannot be used. The message says why; it is tried again."""


class BrokenOff(Unusable):
    """The connection broke while a request was under way, without an answer. It may be the instance that the service cannot bear."""


class StowService:
    """One service. Used and closed by one thread; interrupted by any."""

    def __init__(self, url: str, token_file: Path | None, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """`url` as `checked` returns it."""
        self._place = urlsplit(url)
        self._token_file = token_file
        self._timeout = timeout_seconds
        self._connection: http.client.HTTPConnection | None = None

    def store(self, sop_instance: UID, length: int, part10: Iterable[bytes | memoryview]) -> str | None:
        """Store a Part 10 file of `length` bytes. None when the service says that it has it, else why it does not take this one.

        Raises Unusable, BrokenOff among them, and whatever reading `part10` raises; then the connection is closed.
        """
        boundary = secrets.token_hex(16)
        # Without the parameter transfer-syntax, which the file meta says anyway: Orthanc takes no part that has one.
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\nContent-Length: {length}\r\n\r\n".encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Content-Length": str(len(head) + length + len(tail)),
            "Accept": "application/dicom+json",
            **self._authorization(),
        }
        status, answer = self._exchange(headers, itertools.chain([head], part10, [tail]))
        if status == _STORED:
            # Some answer 200 whatever became of the parts; only what the response names is stored.
            return None if names(answer, sop_instance) else f"status 200{failure_reason(answer)}, without a word that it is stored"
        if status in _OF_THIS_INSTANCE:
            return f"status {status}{failure_reason(answer)}"
        self.close()
        raise Unusable(f"{self._place.netloc} answers with status {status}.")

    def close(self) -> None:
        """Idempotent; the next request connects again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def interrupt(self) -> None:
        """From another thread: what is under way ends now, with BrokenOff. Idempotent."""
        connection = self._connection
        line = connection.sock if connection is not None else None
        if line is not None:
            cut(line)

    def _exchange(self, headers: Mapping[str, str], body: Iterable[bytes | memoryview]) -> tuple[int, bytes]:
        """Status and body of the answer to a request."""
        try:
            connection = self._connected()
        except OSError as fault:
            self.close()
            raise Unusable(f"{self._place.netloc} cannot be used ({fault or type(fault).__name__}).") from fault
        whole = False
        try:
            connection.putrequest("POST", f"{self._place.path}/studies")
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            sent = all(_send(connection, piece) for piece in body)
            with connection.getresponse() as response:
                answer = response.read(_ANSWER_MAX_BYTES)
                whole = sent and not response.will_close and not response.read(1)
                return response.status, answer
        except (OSError, http.client.HTTPException) as fault:
            raise BrokenOff(f"{self._place.netloc} broke off ({fault or type(fault).__name__}).") from fault
        finally:
            if not whole:
                self.close()

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            host, port = self._place.hostname or "", self._place.port
            if self._place.scheme == "https":
                context = ssl.create_default_context()
                self._connection = http.client.HTTPSConnection(host, port, timeout=self._timeout, context=context)
            else:
                self._connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
            self._connection.auto_open = 0  # a request that was broken off does not go on over another connection
            self._connection.connect()
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._connection

    def _authorization(self) -> dict[str, str]:
        """Read for each request: a token that was renewed counts at once."""
        if self._token_file is None:
            return {}
        try:
            with self._token_file.open("rb") as file:
                token = file.read(_TOKEN_MAX_BYTES).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as fault:
            raise Unusable(f"The token in {self._token_file} cannot be read ({fault}).") from fault
        return {"Authorization": f"Bearer {token}"}


def checked(url: str, *, with_token: bool) -> str:
    """The address of a service, without `/` at its end. Raises Refused for what is none, and for a token that would travel in the clear."""
    place = urlsplit(url.rstrip("/"))
    if place.scheme not in {"http", "https"} or not place.hostname or place.query or place.fragment or place.username:
        raise Refused(f"{url!r} is no address of a STOW-RS service: write http(s)://HOST[:PORT]/PATH, without the /studies.")
    if with_token and place.scheme == "http" and not _is_loopback(place.hostname):
        raise Refused("A token over http can be read by everybody on the network. Use https.")
    return place.geturl()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _send(connection: http.client.HTTPConnection, piece: bytes | memoryview) -> bool:
    """False when the service takes no more of a request: it may have answered already, a body that is too long for it, say."""
    try:
        connection.send(piece)
    except ConnectionError:
        return False
    return True


def names(answer: bytes, sop_instance: UID) -> bool:
    """Whether a Store Instances Response (PS3.18 table 10.5.3-1) says that the instance is stored."""
    return any(sop_instance in _values(one, _SOP_INSTANCE) for one in _values(_read(answer), _REFERENCED))


def failure_reason(answer: bytes) -> str:
    """The first Failure Reason of a Store Instances Response, if it says one, as the end of a sentence."""
    reasons = [reason for one in _values(_read(answer), _FAILED)[:1] for reason in _values(one, _REASON)[:1]]
    return "".join(f", failure reason {reason:04X}" for reason in reasons if isinstance(reason, int) and 0 <= reason <= _MAX_REASON)


def _read(answer: bytes) -> object:
    """JSON; None for anything else."""
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return None


def _values(dataset: object, tag: str) -> list[object]:
    """The values of an attribute in the DICOM JSON Model; none where it is not in that form."""
    element = dataset.get(tag) if isinstance(dataset, dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []
