"""What only Azure Blob Storage does: credentials, containers, and what answers in its place."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloudsync.archive.azure_blob import AzureBlob, read_credential
from cloudsync.archive.line import authorities
from cloudsync.archive.port import (
    CredentialRefused,
    LinkDown,
    NotThere,
    ObjectRefused,
    Occupied,
    QuotaExceeded,
    Throttled,
    md5_of,
)
from edge.errors import ConfigError
from tests import azurite

pytestmark = pytest.mark.asyncio

SAS = "sv=2023-11-03&sig=c2VjcmV0LXNpZ25hdHVyZQ%3D%3D"


@pytest.fixture
def container(emulator: azurite.Azurite) -> str:
    name = f"c{uuid.uuid4().hex}"
    emulator.make_container(name)
    return name


async def put(archive: AzureBlob, name: str, data: bytes) -> None:
    await archive.put(name, data, md5_of(data))


async def test_a_connection_string_does_as_well_as_a_sas(emulator: azurite.Azurite, container: str, tmp_path: Path) -> None:
    archive = AzureBlob(container, emulator.credential(tmp_path, emulator.connection_string))
    await put(archive, "site/a", b"1")
    assert await archive.get("site/a") == b"1"
    await archive.close()


async def test_a_credential_that_may_only_create_cannot_overwrite(emulator: azurite.Azurite, container: str, tmp_path: Path) -> None:
    archive = AzureBlob(container, emulator.credential(tmp_path, emulator.sas_address(container, "cr")))
    await put(archive, "site/a", b"1")
    await put(archive, "site/a", b"1")
    with pytest.raises(Occupied):
        await put(archive, "site/a", b"2")
    with pytest.raises(CredentialRefused):
        _ = [found async for found in archive.list("")]
    await archive.close()


async def test_an_expired_credential_is_refused_and_a_renewed_one_is_taken_up(
    emulator: azurite.Azurite, container: str, tmp_path: Path
) -> None:
    credential = emulator.credential(tmp_path, emulator.sas_address(container, "crl", hours=-1))
    archive = AzureBlob(container, credential)
    with pytest.raises(CredentialRefused, match=r"archive\.credential_file"):
        await put(archive, "site/a", b"1")
    emulator.credential(tmp_path, emulator.sas_address(container, "crl"))
    await put(archive, "site/a", b"1")
    assert await archive.get("site/a") == b"1"
    await archive.close()


async def test_a_container_that_is_missing_is_named(emulator: azurite.Azurite, tmp_path: Path) -> None:
    archive = AzureBlob("nowhere", emulator.credential(tmp_path, emulator.connection_string))
    with pytest.raises(CredentialRefused, match="no container 'nowhere'"):
        await put(archive, "site/a", b"1")
    await archive.close()


async def test_nobody_there_is_a_link_that_is_down(tmp_path: Path) -> None:
    silent = azurite.Azurite(1, tmp_path)  # nothing listens on port 1
    archive = AzureBlob("c", silent.credential(tmp_path, f"{silent.address}/c?{SAS}"))
    with pytest.raises(LinkDown) as fault:
        await put(archive, "site/a", b"1")
    assert "sig=" not in f"{fault.value}"
    await archive.close()


@contextlib.asynccontextmanager
async def answering(answer: bytes, directory: Path) -> AsyncIterator[AzureBlob]:
    """An archive in whose place something answers every request like this."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), 0)
                await reader.readexactly(length)
                writer.write(answer if not head.startswith(b"HEAD") else answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    there = azurite.Azurite(server.sockets[0].getsockname()[1], directory)
    archive = AzureBlob("c", there.credential(directory, f"{there.address}/c?{SAS}"))
    try:
        yield archive
    finally:
        await archive.close()
        server.close()
        await server.wait_closed()
        gc.collect()


def response(status: str, headers: str = "", body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


PORTAL = response("200 OK", "Content-Type: text/html\r\n", b"<html>Sign in to the hotspot</html>")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (PORTAL, LinkDown),
        (response("302 Found", "Location: http://127.0.0.1:1/login\r\n"), LinkDown),
        (response("500 Oops"), LinkDown),
        (response("504 Gateway Timeout"), LinkDown),
        (response("408 Request Timeout"), LinkDown),
        (response("503 Busy", "x-ms-error-code: ServerBusy\r\nRetry-After: 7\r\n"), Throttled),
        (response("429 Too Many Requests"), Throttled),
        (response("401 Unauthorized"), CredentialRefused),
        (response("403 Forbidden", "x-ms-error-code: AuthenticationFailed\r\n"), CredentialRefused),
        (response("403 Forbidden", "x-ms-error-code: AccountIsDisabled\r\n"), QuotaExceeded),
        (response("413 Too Large", "x-ms-error-code: RequestBodyTooLarge\r\n"), ObjectRefused),
        (response("400 Bad Request", "x-ms-error-code: Md5Mismatch\r\n"), LinkDown),
        (response("400 Bad Request", "x-ms-error-code: InvalidResourceName\r\n"), CredentialRefused),
        (response("405 Method Not Allowed"), CredentialRefused),
    ],
)
async def test_every_answer_is_classed_by_what_can_be_done(answer: bytes, kind: type[Exception], tmp_path: Path) -> None:
    async with answering(answer, tmp_path) as archive:
        for call in (lambda: put(archive, "site/a", b"1"), lambda: archive.get("site/a"), lambda: archive.head("site/a")):
            with pytest.raises(kind) as fault:
                await call()
            assert "sig=" not in str(fault.value)


@pytest.mark.parametrize("page", [b"<html>Sign in<br></html>", b"<html><body>Sign in</body></html>", b"Sign in", b""])
async def test_a_hotspot_that_answers_a_listing_is_no_empty_archive(page: bytes, tmp_path: Path) -> None:
    async with answering(response("200 OK", "Content-Type: application/xml\r\n", page), tmp_path) as archive:
        with pytest.raises(LinkDown, match="hotspot"):
            _ = [found async for found in archive.list("site/")]


async def test_where_nothing_can_be_made_there_is_no_container_whatever_the_answer_calls_it(tmp_path: Path) -> None:
    async with answering(response("404 Not Found"), tmp_path) as archive:
        with pytest.raises(CredentialRefused, match=r"no container 'c' \(HTTP 404\)"):
            await put(archive, "site/a", b"1")


@pytest.mark.parametrize(("text", "fault"), [(None, "cannot be read"), ("nothing", "holds no certificate")])
async def test_a_file_of_authorities_that_will_not_do_is_named(tmp_path: Path, text: str | None, fault: str) -> None:
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=fault) as error:
        authorities(str(path))
    assert error.value.key == "archive.ca_file"


async def test_the_time_that_the_archive_asks_for_is_passed_on(tmp_path: Path) -> None:
    async with answering(response("503 Busy", "Retry-After: 7\r\n"), tmp_path) as archive:
        with pytest.raises(Throttled) as fault:
            await archive.get("site/a")
        assert fault.value.retry_after_seconds == 7


async def test_bytes_that_do_not_match_their_md5_do_not_become_an_object(emulator: azurite.Azurite, container: str, tmp_path: Path) -> None:
    archive = AzureBlob(container, emulator.credential(tmp_path, emulator.connection_string))
    with pytest.raises(CredentialRefused):  # the emulator has no code of its own for it, as Azure has (Md5Mismatch)
        await archive.put("site/a", b"what was sent", md5_of(b"what was meant"))
    with pytest.raises(NotThere):
        await archive.get("site/a")
    await archive.close()


@pytest.mark.parametrize(
    ("text", "mode", "fault"),
    [
        ("", 0o600, "is empty"),
        ("nonsense", 0o600, "neither a connection string nor"),
        (f"http://archive.example/c?{SAS}", 0o600, "without TLS"),
        (f"https://archive.example/c?{SAS}", 0o644, "every user"),
    ],
)
async def test_a_credential_file_that_will_not_do_is_named(tmp_path: Path, text: str, mode: int, fault: str) -> None:
    path = tmp_path / "credential"
    path.write_text(text)
    path.chmod(mode)
    archive = AzureBlob("c", path)
    with pytest.raises(ConfigError, match=fault) as error:
        await archive.head("site/a")
    assert error.value.key == "archive.credential_file"
    assert "sig=" not in str(error.value)
    await archive.close()


async def test_a_credential_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_credential(tmp_path / "credential")
