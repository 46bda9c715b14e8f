"""An archive in an Azure Blob Storage container, through azure-storage-blob with its own retries off.

A SAS with create, read and list is enough. Parts are whole blobs, never blocks: there is no block list to lose. A create-only SAS
answers 403 to a name that exists, so 403, 409 and 412 to a put are first settled by size and MD5, and only then classed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from cloudsync.archive import access, address, dates
from cloudsync.archive.attempt import Attempt
from cloudsync.archive.line import Line
from cloudsync.archive.port import (
    ClockWrong,
    CredentialRefused,
    Damaged,
    LinkDown,
    NotThere,
    Occupied,
    Stat,
    md5_of,
    same,
)
from cloudsync.link import unreached
from cloudsync.link.farclock import FarClock
from cloudsync.link.pacing import Pacing
from edge.clock import Clock, SystemClock
from edge.errors import ConfigError

if TYPE_CHECKING:
    from azure.storage.blob import BlobProperties
    from azure.storage.blob.aio import ContainerClient

API_VERSION = "2023-11-03"
"""Pinned: service versions differ in what the permission `create` allows."""

_WHOLE_BYTES = 80 << 20
"""More than the largest sealed object, so that every put is one Put Blob."""
_TAKEN = {403, 409, 412}


class AzureBlob:
    """The archive in one container. `credential_file` holds a connection string or a container address with a SAS.

    The file is read at first use, and again after the archive refused what it held: a renewed credential needs no restart.
    """

    def __init__(
        self,
        container: str,
        credential_file: Path,
        pacing: Pacing | None = None,
        far: FarClock | None = None,
        *,
        trust: ssl.SSLContext | None = None,
        clock: Clock | None = None,
        silence_seconds: float = 60.0,
    ) -> None:
        """Without `pacing` it goes as fast as it can; `far` is told what time the archive has; `trust` are the authorities, those of the
        system unless given. A connection on which nothing moves for `silence_seconds`, either way, is given up.
        """
        self._container = container
        self._clock = clock or SystemClock()
        self._line = Line.of(pacing, far, trust, silence_seconds, self._clock)
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

        async with self._mapped(name, creating=True):
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
        async with self._mapped(name):
            blob = self._connected().get_blob_client(name)
            try:
                stream = await blob.download_blob(max_concurrency=1)
            except ValueError as fault:  # the SDK's word for an answer without the headers of a range
                raise LinkDown(unreached.PORTAL) from fault
            _ours(stream.properties)
            if stream.size > _WHOLE_BYTES:
                raise Damaged(f"{name}: the archive has more bytes there than any object of ours")
            data = await stream.readall()
        expected = stream.properties.content_settings.content_md5
        if len(data) != stream.size or (expected is not None and bytes(expected) != md5_of(data)):
            raise Damaged(f"{name}: the archive sent bytes that do not match the MD5 it keeps beside them")
        return data

    async def head(self, name: str) -> Stat | None:
        try:
            async with self._mapped(name):
                found = await self._connected().get_blob_client(name).get_blob_properties()
                _ours(found)
        except NotThere:
            return None
        if found.content_settings.content_md5 is None:
            return Stat(name, found.size, md5_of(await self.get(name)))
        return Stat(name, found.size, bytes(found.content_settings.content_md5))

    async def list(self, prefix: str) -> AsyncIterator[Stat]:
        async with self._mapped(prefix):
            pages = self._connected().list_blobs(name_starts_with=prefix).by_page()
            while True:
                try:
                    page = [found async for found in await anext(pages)]
                except StopAsyncIteration:
                    return
                except AttributeError as fault:  # the SDK's word for XML that is no listing
                    raise LinkDown(unreached.PORTAL) from fault
                for found in page:
                    md5 = found.content_settings.content_md5
                    yield Stat(found.name, found.size, None if md5 is None else bytes(md5))

    def endpoint(self) -> SplitResult:
        """The address of the container without a credential. Raises ConfigError as `read_credential`, and for one that names none."""
        return urlsplit(self._connected().url)._replace(query="")

    async def attempts(self, name: str, data: bytes) -> AsyncIterator[Attempt]:
        """As cloudsync.archive.attempt.Destructible promises."""
        from cloudsync.archive.azure_attempt import attempts  # noqa: PLC0415

        async with self._mapped(name):
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
                self._client = _connect(self._container, credential, self._line)
            elif credential != self._credential:
                self._replaced = (*self._replaced, self._client)  # calls that are under way keep it
                self._client = _connect(self._container, credential, self._line)
            self._credential, self._refused = credential, False
        return self._client

    @contextlib.asynccontextmanager
    async def _mapped(self, name: str, creating: bool = False) -> AsyncIterator[None]:
        from azure.core.exceptions import AzureError, DeserializationError  # noqa: PLC0415

        from cloudsync.archive.azure_faults import raise_mapped  # noqa: PLC0415

        try:
            yield
        except DeserializationError as fault:
            raise LinkDown(unreached.PORTAL) from fault
        except AzureError as fault:
            cause = unreached.bottom(fault)
            if isinstance(cause, ssl.SSLCertVerificationError) and dates.concern(cause):
                raise await dates.explained(cause, self.endpoint(), self._line, self._clock) from fault
            try:
                raise_mapped(fault, name, self._container, creating)
            except CredentialRefused as refused:
                # A SAS is held against the archive's own clock; what is signed with an account key names the time of ours.
                if self._line.far.wrong and "://" not in _first_field(self._credential):
                    raise ClockWrong(self._line.far.wrong) from refused
                self._refused = True
                raise


def _connect(container: str, credential: str, line: Line) -> ContainerClient:
    from azure.storage.blob.aio import ContainerClient  # noqa: PLC0415

    from cloudsync.archive.paced_http import PacedTransport  # noqa: PLC0415

    options: dict[str, Any] = {
        "api_version": API_VERSION,
        "retry_total": 0,
        "transport": PacedTransport(line),
        "max_single_put_size": _WHOLE_BYTES,
        "max_single_get_size": 8 << 20,
        "max_chunk_get_size": 4 << 20,
    }
    try:
        if "://" in _first_field(credential):
            client = ContainerClient.from_container_url(credential, **options)
        else:
            client = ContainerClient.from_connection_string(credential, container, **options)
    except ValueError as fault:
        raise ConfigError(
            access.KEY, "holds neither a connection string nor a container address", "Copy it again from the portal."
        ) from fault
    if not address.is_private(urlsplit(client.url)):
        raise ConfigError(access.KEY, "names an address without TLS", "Use an https address.")
    return client


def _first_field(credential: str) -> str:
    """Of an address it holds `://`; of a connection string it is a name."""
    return credential.partition(";")[0].partition("=")[0]


def read_credential(path: Path) -> str:
    """The text of a credential file. Raises ConfigError when it is missing, empty, or open to every user of this machine."""
    return access.read(path, "Put the connection string or SAS address there.")


def _ours(found: BlobProperties) -> None:
    """A captive portal answers 200 too, but it knows nothing of blobs."""
    if not found.etag or not found.blob_type:
        raise LinkDown(unreached.PORTAL)
