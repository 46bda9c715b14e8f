"""How a DICOMweb archive, or Google Cloud Storage, knows us: the Authorization header (RFC 9110 section 11.6.2), from what the
credential file holds.

The file is read at first use, and again after the archive refused what it held: a renewed credential needs no restart.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import msgspec

from cloudsync.archive import address, json_text
from cloudsync.archive.line import Line
from cloudsync.archive.port import ClockWrong, CredentialRefused, LinkDown
from edge.clock import Clock, SystemClock
from edge.errors import ConfigError

if TYPE_CHECKING:
    import requests

KEY = "archive.credential_file"
HEALTHCARE = "https://www.googleapis.com/auth/cloud-healthcare"
STORAGE = "https://www.googleapis.com/auth/devstorage.read_write"
_GOOGLE_SECONDS = 3600.0
"""Google's access tokens live for an hour."""
_ANSWER_MAX_BYTES = 1 << 20
"""Of who issues tokens."""
_EARLY_SECONDS = 300.0
"""A token is renewed so long before it ends: a request of some minutes does not outlive it."""
_CURE = (
    "Put there what the archive wants in the Authorization header, in one line, or a Google key file, or an OAuth client"
    " (docs/operations-archive.md)."
)


class Token(msgspec.Struct, frozen=True):
    """What is sent, and until when it may be."""

    header: str
    ends_at: float | None
    """Monotonic seconds; None for what has no end."""


class Source(Protocol):
    """Where a token comes from."""

    async def token(self, session: aiohttp.ClientSession) -> Token:
        """A fresh one. Raises LinkDown, and CredentialRefused when who issues them does not know us."""
        ...


class Access:
    """The header for each request; one token at a time is fetched, whoever asks."""

    def __init__(self, credential_file: Path | None, clock: Clock, line: Line, scope: str = HEALTHCARE) -> None:
        """Without a file no header is sent: the archive, or a proxy before it, knows us by another way. `line` is the one to
        the archive, `scope` what Google is asked for.
        """
        self._line = line
        self._file = credential_file
        self._scope = scope
        self._clock = clock
        self._text = ""
        self._source: Source | None = None
        self._token: Token | None = None
        self._turn = asyncio.Lock()

    async def headers(self, session: aiohttp.ClientSession) -> dict[str, str]:
        """The header, if there is one. Raises ConfigError as `read`, LinkDown, ClockWrong and CredentialRefused."""
        if self._file is None:
            return {}
        async with self._turn:
            if self._source is None:
                self._text = await asyncio.to_thread(read, self._file)
                self._source = source_of(self._text, self._clock, self._scope, self._line.trust)
            token = self._token
            if token is None or (token.ends_at is not None and token.ends_at - _EARLY_SECONDS <= self._clock.monotonic()):
                try:
                    token = self._token = await self._source.token(session)
                except CredentialRefused as fault:
                    if self._line.far.wrong:  # what asks for a token names our time
                        raise ClockWrong(self._line.far.wrong) from fault
                    raise
        return {"Authorization": token.header}

    def refused(self, headers: Mapping[str, str]) -> bool:
        """The archive did not take these: the next are made anew. Whether that is worth a try at once: where tokens are fetched, and where
        another request has had them made anew already.
        """
        if self._token is None or headers.get("Authorization") != self._token.header:
            return bool(headers)
        fetched = self._token.ends_at is not None
        self._token = self._source = None
        return fetched


def check(path: Path) -> None:
    """Raises ConfigError where a credential file holds nothing that can be used."""
    source_of(read(path), SystemClock())


def read(path: Path, cure: str = _CURE) -> str:
    """The text of a credential file. Raises ConfigError when it is missing, empty, or open to every user of this machine."""
    try:
        if path.stat().st_mode & 0o007:
            raise ConfigError(KEY, f"{path} can be read by every user of this machine", f"Run `chmod o= {path}`, and renew the credential.")
        text = path.read_text("utf-8").strip()
    except OSError as fault:
        raise ConfigError(KEY, f"{path} cannot be read ({fault.strerror})", cure) from fault
    except UnicodeDecodeError as fault:
        raise ConfigError(KEY, f"{path} is no text", cure) from fault
    if not text:
        raise ConfigError(KEY, f"{path} is empty", cure)
    return text


def source_of(text: str, clock: Clock, scope: str = HEALTHCARE, trust: ssl.SSLContext | None = None) -> Source:
    """The source that a credential describes; `trust` are the authorities, those of the system unless given. Raises ConfigError."""
    if not text.startswith("{"):
        if "\n" in text or not text.isprintable() or " " not in text:
            raise ConfigError(KEY, "holds no line like `Bearer ...` or `Basic ...`", _CURE)
        return Fixed(text)
    try:
        if msgspec.json.decode(text, type=_Kind).type == "service_account":
            return Google(text, clock, scope, trust)
        client = msgspec.json.decode(text, type=ClientCredentials)
    except msgspec.DecodeError as fault:
        raise ConfigError(KEY, "holds neither a Google service account's key nor an OAuth client", _CURE) from fault
    place = address.parsed(client.token_url)
    if place is None or not address.is_private(place):
        raise ConfigError(KEY, "names a token_url that is no https address", "The client's secret goes there: use TLS.")
    return Client(client, clock)


class _Kind(msgspec.Struct, frozen=True):
    type: str = ""


class Fixed:
    """A header as it stands in the file."""

    def __init__(self, header: str) -> None:
        self._header = header

    async def token(self, _session: aiohttp.ClientSession) -> Token:
        return Token(self._header, None)


class ClientCredentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An OAuth 2.0 client that is its own resource owner (RFC 6749 section 4.4): Azure DICOM by Entra, dcm4chee by Keycloak."""

    token_url: str
    client_id: str
    client_secret: str
    scope: str = ""


class _Issued(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: float = 3600.0


class Client:
    """Asks the token endpoint."""

    def __init__(self, client: ClientCredentials, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    async def token(self, session: aiohttp.ClientSession) -> Token:
        client = self._client
        form = {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": client.client_secret}
        if client.scope:
            form["scope"] = client.scope
        now = self._clock.monotonic()
        try:
            async with session.post(client.token_url, data=form, allow_redirects=False) as response:
                body = await _whole(response.content)
        except (aiohttp.ClientError, OSError, ValueError) as fault:
            raise LinkDown(f"who issues the archive's tokens does not answer ({type(fault).__name__})") from fault
        if response.status in {400, 401, 403}:
            raise CredentialRefused(f"no token is issued to our client (HTTP {response.status}): renew it in {KEY}")
        issued = json_text.read(body, _Issued)
        if issued is None or not _is_token(issued.access_token):
            raise LinkDown(f"who issues the archive's tokens does not answer properly (HTTP {response.status})")
        return Token(f"Bearer {issued.access_token}", now + issued.expires_in)


def _is_token(text: str) -> bool:
    """Whether it can stand behind `Bearer` (RFC 6750 section 2.1)."""
    return text.isascii() and text.isprintable() and " " not in text and text != ""


async def _whole(content: aiohttp.StreamReader) -> bytes:
    """Raises ValueError for more than any token has."""
    whole = b""
    while piece := await content.read(_ANSWER_MAX_BYTES):
        whole += piece
        if len(whole) > _ANSWER_MAX_BYTES:
            raise ValueError("it does not end")
    return whole


class Google:
    """A service account, by google-auth. Its transport blocks, and so does signing: both go on in a thread."""

    def __init__(self, key: str, clock: Clock, scope: str, trust: ssl.SSLContext | None) -> None:
        try:
            from google.oauth2 import service_account  # noqa: PLC0415 - an extra: imported only where such a key is configured
        except ImportError as fault:
            raise ConfigError(
                KEY,
                "is a Google key, and google-auth is not installed",
                "Install it: `.venv/bin/python -m pip install google-auth requests` in Outpost's directory.",
            ) from fault
        self._clock = clock
        self._trust = trust
        try:
            self._credentials = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
                msgspec.json.decode(key), scopes=[scope]
            )
        except ValueError as fault:
            raise ConfigError(KEY, "holds a Google key that is not whole", "Download the key of the service account again.") from fault

    async def token(self, _session: aiohttp.ClientSession) -> Token:
        return await asyncio.to_thread(self._refresh)

    def _refresh(self) -> Token:
        from google.auth import exceptions  # noqa: PLC0415
        from google.auth.transport.requests import Request  # noqa: PLC0415

        now = self._clock.monotonic()
        try:
            with self._session() as session:
                self._credentials.refresh(Request(session))
        except exceptions.TransportError as fault:
            raise LinkDown("Google does not answer who asks for a token") from fault
        except exceptions.RefreshError as fault:
            if fault.retryable:
                raise LinkDown("Google does not answer properly who asks for a token") from fault
            raise CredentialRefused(f"Google issues no token for our service account: renew its key in {KEY}") from fault
        return Token(f"Bearer {self._credentials.token}", now + _GOOGLE_SECONDS)

    def _session(self) -> requests.Session:
        """One that trusts whom every other connection to the archive trusts."""
        import requests  # noqa: PLC0415
        from requests.adapters import HTTPAdapter  # noqa: PLC0415

        trust = self._trust

        class Trusting(HTTPAdapter):
            def init_poolmanager(self, *args: Any, **named: Any) -> None:
                super().init_poolmanager(*args, **named, ssl_context=trust)

            def proxy_manager_for(self, *args: Any, **named: Any) -> Any:
                return super().proxy_manager_for(*args, **named, ssl_context=trust)

        session = requests.Session()
        if trust is not None:
            session.mount("https://", Trusting())
        return session
