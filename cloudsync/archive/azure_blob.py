"""An archive in an Azure Blob Storage container, through azure-storage-blob with its own retries off.

A SAS with create, read and list is enough. Parts are whole blobs, never blocks: there is no block list to lose. A create-only SAS
answers 403 to a name that exists, so 403, 409 and 412 to a put are first settled by size and MD5, and only then classed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import SplitResult, urlsplit

from cloudsync.archive.attempt import Attempt
from cloudsync.archive.port import (
    CredentialRefused,
    Damaged,
    LinkDown,
    NotThere,
    ObjectRefused,
    Occupied,
    QuotaExceeded,
    Stat,
    Throttled,
    md5_of,
    same,
)
from cloudsync.link.pacing import Pacing
from edge.clock import SystemClock
from edge.errors import ConfigError, OutpostError

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError, HttpResponseError
    from azure.storage.blob import BlobProperties
    from azure.storage.blob.aio import ContainerClient

API_VERSION = "2023-11-03"
"""Pinned: service versions differ in what the permission `create` allows."""

_WHOLE_BYTES = 80 << 20
"""More than the largest sealed object, so that every put is one Put Blob."""
_CONNECT_SECONDS = 20
_SILENCE_SECONDS = 60
_PORTAL = "something else answers in the archive's place: sign in at the hotspot, or look at the proxy"
_TAKEN = {403, 409, 412}
_OF_ONE_OBJECT = {"BlobArchived", "BlobBeingRehydrated", "InvalidBlobType", "InvalidMd5", "LeaseIdMissing", "BlobImmutableDueToPolicy"}
"""What the archive may hold against one object. Any other refusal would meet each object alike: it waits for a person."""
_PAUSED = {"AccountIsDisabled", "InsufficientAccountPermissions", "AccountLimitExceeded", "AccountProtectedFromDeletion"}


class AzureBlob:
    """The archive in one container. `credential_file` holds a connection string or a container address with a SAS.

    The file is read at first use, and again after the archive refused what it held: a renewed credential needs no restart.
    """

    def __init__(self, container: str, credential_file: Path, pacing: Pacing | None = None) -> None:
        """Without `pacing` it goes as fast as it can."""
        self._container = container
        self._pacing = pacing or Pacing(SystemClock(), lambda: 0.0)
        self._credential_file = credential_file
        self._credential = ""
        self._refused = False
        self._client: ContainerClient | None = None
        self._replaced: tuple[ContainerClient, ...] = ()

    def __repr__(self) -> str:
        return f"AzureBlob({self._container!r})"

    async def put(self, name: str, data: bytes, md5: bytes) -> None:
        from azure.core.exceptions import HttpResponseError  # noqa: PLC0415 - imported only where an Azure archive is configured
        from azure.storage.blob import ContentSettings  # noqa: PLC0415

        with self._mapped(name):
            blob = self._connected().get_blob_client(name)
            settings = ContentSettings(content_type="application/octet-stream", content_md5=bytearray(md5))
            try:
                await blob.upload_blob(data, length=len(data), overwrite=False, content_settings=settings, validate_content=True)
            except HttpResponseError as fault:
                if fault.status_code not in _TAKEN:
                    raise
                found = await self.head(name)
                if found is None:
                    raise
                if not same(found, data, md5):
                    raise Occupied(f"other bytes lie at {name} in the archive. {' '.join((Occupied.__doc__ or '').split())}") from fault

    async def get(self, name: str) -> bytes:
        with self._mapped(name):
            blob = self._connected().get_blob_client(name)
            try:
                stream = await blob.download_blob(max_concurrency=1)
            except ValueError as fault:  # the SDK's word for an answer without the headers of a range
                raise LinkDown(_PORTAL) from fault
            _ours(stream.properties)
            data = await stream.readall()
        expected = stream.properties.content_settings.content_md5
        if len(data) != stream.size or (expected is not None and bytes(expected) != md5_of(data)):
            raise Damaged(f"{name}: the archive sent bytes that do not match the MD5 it keeps beside them")
        return data

    async def head(self, name: str) -> Stat | None:
        try:
            with self._mapped(name):
                found = await self._connected().get_blob_client(name).get_blob_properties()
                _ours(found)
        except NotThere:
            return None
        if found.content_settings.content_md5 is None:
            return Stat(name, found.size, md5_of(await self.get(name)))
        return Stat(name, found.size, bytes(found.content_settings.content_md5))

    async def list(self, prefix: str) -> AsyncIterator[Stat]:
        with self._mapped(prefix):
            async for found in self._connected().list_blobs(name_starts_with=prefix):
                md5 = found.content_settings.content_md5
                yield Stat(found.name, found.size, None if md5 is None else bytes(md5))

    def endpoint(self) -> SplitResult:
        """The address of the container without a credential. Raises ConfigError as `read_credential`, and for one that names none."""
        return urlsplit(self._connected().url)._replace(query="")

    async def attempts(self, name: str, data: bytes) -> AsyncIterator[Attempt]:
        """As cloudsync.archive.attempt.Destructible promises."""
        from cloudsync.archive.azure_attempt import attempts  # noqa: PLC0415

        with self._mapped(name):
            async for attempt in attempts(self._connected().get_blob_client(name), data):
                yield attempt

    async def close(self) -> None:
        clients = (*self._replaced, self._client) if self._client else self._replaced
        self._client, self._replaced = None, ()
        await asyncio.gather(*(client.close() for client in clients))

    def _connected(self) -> ContainerClient:
        if self._client is None or self._refused:
            credential = read_credential(self._credential_file)
            if self._client is None:
                self._client = _connect(self._container, credential, self._pacing)
            elif credential != self._credential:
                self._replaced = (*self._replaced, self._client)  # calls that are under way keep it
                self._client = _connect(self._container, credential, self._pacing)
            self._credential, self._refused = credential, False
        return self._client

    @contextlib.contextmanager
    def _mapped(self, name: str) -> Iterator[None]:
        from azure.core.exceptions import AzureError  # noqa: PLC0415

        try:
            yield
        except AzureError as fault:
            try:
                _raise(fault, name, self._container)
            except CredentialRefused:
                self._refused = True
                raise


def _connect(container: str, credential: str, pacing: Pacing) -> ContainerClient:
    from azure.storage.blob.aio import ContainerClient  # noqa: PLC0415

    from cloudsync.archive.paced_http import PacedTransport  # noqa: PLC0415

    options: dict[str, Any] = {
        "api_version": API_VERSION,
        "retry_total": 0,
        "transport": PacedTransport(pacing, connection_timeout=_CONNECT_SECONDS, read_timeout=_SILENCE_SECONDS),
        "max_single_put_size": _WHOLE_BYTES,
        "max_single_get_size": 8 << 20,
        "max_chunk_get_size": 4 << 20,
    }
    key = "archive.credential_file"
    try:
        if "://" in credential.partition(";")[0].partition("=")[0]:
            client = ContainerClient.from_container_url(credential, **options)
        else:
            client = ContainerClient.from_connection_string(credential, container, **options)
    except ValueError as fault:
        raise ConfigError(key, "holds neither a connection string nor a container address", "Copy it again from the portal.") from fault
    address = urlsplit(client.url)
    if address.scheme != "https" and address.hostname not in {"127.0.0.1", "localhost", "::1"}:
        raise ConfigError(key, "names an address without TLS", "Use an https address.")
    return client


def read_credential(path: Path) -> str:
    """The text of a credential file. Raises ConfigError when it is missing, empty, or open to every user of this machine."""
    key = "archive.credential_file"
    try:
        if path.stat().st_mode & 0o007:
            raise ConfigError(key, f"{path} can be read by every user of this machine", f"Run `chmod o= {path}`, and renew the credential.")
        text = path.read_text("utf-8").strip()
    except OSError as fault:
        raise ConfigError(key, f"{path} cannot be read ({fault.strerror})", "Put the connection string or SAS address there.") from fault
    if not text:
        raise ConfigError(key, f"{path} is empty", "Put the connection string or SAS address there.")
    return text


def _ours(found: BlobProperties) -> None:
    """A captive portal answers 200 too, but it knows nothing of blobs."""
    if not found.etag or not found.blob_type:
        raise LinkDown(_PORTAL)


def _raise(fault: AzureError, name: str, container: str) -> NoReturn:
    """The fault as one of the port's errors. Texts of the SDK are not passed on: they may hold an address with a signature."""
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError  # noqa: PLC0415

    if isinstance(fault, HttpResponseError) and fault.status_code is not None:
        _raise_status(fault, name, container)
    if isinstance(fault, ClientAuthenticationError):
        raise CredentialRefused from fault
    raise LinkDown(f"the archive does not answer ({_cause(fault)})") from fault


def _raise_status(fault: HttpResponseError, name: str, container: str) -> NoReturn:
    status, code = fault.status_code or 0, _code(fault)
    reason = f"HTTP {status} {code}".rstrip()
    if code in _PAUSED:
        raise QuotaExceeded(f"the storage account is closed or full ({reason}): settle it") from fault
    if status in {401, 403}:
        raise CredentialRefused(f"the archive refuses our credential ({reason}): put a valid one in archive.credential_file") from fault
    if code in {"ContainerNotFound", "ContainerBeingDeleted"}:
        raise CredentialRefused(f"there is no container {container!r} ({reason}): make it, or correct archive.container") from fault
    if status == 404:
        raise NotThere(f"the archive has no {name}") from fault
    if status in {429, 503}:
        raise Throttled(f"the archive asks us to slow down ({reason})", _retry_after(fault)) from fault
    if status < 400 or status in {408, 511} or status >= 500 or code in {"Md5Mismatch", "OperationTimedOut"}:
        raise LinkDown(f"the archive does not answer properly ({reason})") from fault
    if status == 413 or code in _OF_ONE_OBJECT:
        raise ObjectRefused(f"the archive refuses {name} ({reason})") from fault
    raise CredentialRefused(
        f"the archive refuses our requests ({reason}): compare archive.container and archive.credential_file with the portal"
    ) from fault


def _header(fault: HttpResponseError, name: str) -> str:
    headers: Mapping[str, str] = getattr(fault.response, "headers", {})
    return headers.get(name) or ""


def _code(fault: HttpResponseError) -> str:
    code = _header(fault, "x-ms-error-code")
    return code if code.isalnum() else ""


def _retry_after(fault: HttpResponseError) -> float | None:
    header = _header(fault, "Retry-After")
    return float(header) if header.isdigit() else None


def _cause(fault: BaseException) -> str:
    """The operating system's own words for what went wrong, or the type of the innermost fault."""
    inner = fault
    while inner.__cause__ is not None and not isinstance(inner, OutpostError):
        inner = inner.__cause__
    return getattr(inner, "strerror", None) or type(inner).__name__
