"""What only Google Cloud Storage does: its JSON, its roles, and what answers in its place."""

from __future__ import annotations

import base64
import json
import ssl
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cloudsync.archive.access import Access
from cloudsync.archive.gcs import Gcs
from cloudsync.archive.line import Line, authorities
from cloudsync.archive.port import (
    CredentialRefused,
    Damaged,
    LinkDown,
    NotThere,
    Occupied,
    QuotaExceeded,
    Stat,
    Throttled,
    md5_of,
)
from cloudsync.doctor import canary
from edge.clock import SystemClock
from edge.errors import OutpostError
from tests import buckets
from tests.answering import answering, response
from tests.certificates import Authority

pytestmark = pytest.mark.asyncio

SITE = "k7q2mzxw6y"


async def put(archive: Gcs, name: str, data: bytes) -> None:
    await archive.put(name, data, md5_of(data))


async def test_the_canary_finds_what_a_service_account_can_destroy(fake_gcs: buckets.FakeGcs) -> None:
    archive = Gcs(fake_gcs.make_bucket(), None, fake_gcs.address)
    for _ in range(2):
        found = {finding.check: finding for finding in await canary.look(archive, SITE, "gcs")}
        assert {check for check, finding in found.items() if finding.level == "good"} == {"archive.write", "archive.read", "archive.list"}
        for harm in ("overwrite", "delete"):  # the emulator knows no roles
            assert found[f"archive.{harm}"].level == "fault"
            assert "objectCreator and objectViewer" in found[f"archive.{harm}"].cure
    assert await archive.get(canary.name(SITE)) == canary.CONTENT
    await archive.close()


async def test_roles_that_create_and_view_alone_are_found_to_be_harmless() -> None:
    lies_there = {"name": canary.name(SITE), "size": str(len(canary.CONTENT)), "md5Hash": buckets.base64_md5(canary.CONTENT)}
    async with answering(response("200 OK", "", json.dumps(lies_there).encode()), puts=refusal(403, "forbidden")) as address:
        archive = Gcs("bucket", None, address)
        tried = [attempt async for attempt in archive.attempts(canary.name(SITE), canary.CONTENT)]
        assert (tried[0].harm, tried[0].outcome, tried[0].said) == ("overwrite", "refused", "HTTP 403 forbidden")
        await archive.close()


async def test_a_bucket_that_is_missing_is_named(fake_gcs: buckets.FakeGcs) -> None:
    archive = Gcs("nowhere", None, fake_gcs.address)
    for call in (put(archive, "site/a", b"1"), anext(archive.list(""))):
        with pytest.raises(CredentialRefused, match="no bucket 'nowhere'"):
            await call
    await archive.close()


async def test_nobody_there_is_a_link_that_is_down() -> None:
    archive = Gcs("bucket", None, "http://127.0.0.1:1")  # nothing listens there
    for call in (put(archive, "site/a", b"1"), archive.get("site/a"), archive.head("site/a"), anext(archive.list(""))):
        with pytest.raises(LinkDown):
            await call
    await archive.close()


def refusal(status: int, reason: str, headers: str = "") -> bytes:
    """As the JSON API words it."""
    error = {"error": {"code": status, "message": "Refused.", "errors": [{"domain": "global", "reason": reason}]}}
    return response(f"{status} Refused", headers, json.dumps(error).encode())


PORTAL = response("200 OK", "Content-Type: text/html\r\n", b"<html>Sign in to the hotspot</html>")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (PORTAL, LinkDown),
        (response("302 Found", "Location: http://127.0.0.1:1/login\r\n"), LinkDown),
        (response("404 Not Found", "", b"<html>Squid</html>"), LinkDown),
        (response("200 OK", "", b'{"name": "d\xe9j\xe0", "size": "1"}'), LinkDown),
        (response("200 OK", "", b'{"name": ' + b"[" * 100_000), LinkDown),
        (response("500 Oops"), LinkDown),
        (response("408 Request Timeout"), LinkDown),
        (refusal(500, "backendError"), LinkDown),
        (refusal(503, "backendError"), Throttled),
        (refusal(429, "rateLimitExceeded", "Retry-After: 7\r\n"), Throttled),
        (refusal(403, "userRateLimitExceeded"), Throttled),
        (refusal(401, "authError"), CredentialRefused),
        (refusal(403, "forbidden"), CredentialRefused),
        (refusal(403, "accountDisabled"), QuotaExceeded),
        (refusal(400, "invalid"), CredentialRefused),
    ],
)
async def test_every_answer_is_classed_by_what_can_be_done(answer: bytes, kind: type[OutpostError]) -> None:
    async with answering(answer) as address:
        archive = Gcs("bucket", None, address)
        for call in (put(archive, "site/a", b"1"), archive.get("site/a"), archive.head("site/a"), anext(archive.list(""))):
            with pytest.raises(OutpostError) as fault:
                await call
            assert type(fault.value) is kind, fault.value
        await archive.close()


@pytest.mark.parametrize(("asked", "seconds"), [("7", 7.0), ("\u00b2", None), ("-1", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None)])
async def test_the_time_that_the_archive_asks_for_is_passed_on(asked: str, seconds: float | None) -> None:
    async with answering(refusal(429, "rateLimitExceeded", f"Retry-After: {asked}\r\n")) as address:
        archive = Gcs("bucket", None, address)
        with pytest.raises(Throttled) as fault:
            await put(archive, "site/a", b"1")
        assert fault.value.retry_after_seconds == seconds
        await archive.close()


@pytest.mark.parametrize("status", [403, 409, 412])
async def test_what_a_put_is_refused_with_is_settled_by_what_lies_there(status: int) -> None:
    there = {"name": "site/a", "size": "1", "md5Hash": buckets.base64_md5(b"1")}
    async with answering(response("200 OK", "", json.dumps(there).encode()), puts=refusal(status, "refused")) as address:
        archive = Gcs("bucket", None, address)
        await put(archive, "site/a", b"1")
        for other in (b"2", b"11"):
            with pytest.raises(Occupied):
                await put(archive, "site/a", other)
        await archive.close()


async def test_other_bytes_than_the_archive_keeps_are_thrown_away() -> None:
    headers = f"X-Goog-Generation: 1\r\nX-Goog-Hash: crc32c=AAAAAA==\r\nX-Goog-Hash: md5={buckets.base64_md5(b'other')}\r\n"
    async with answering(response("200 OK", headers, b"bytes")) as address:
        archive = Gcs("bucket", None, address)
        with pytest.raises(Damaged):
            await archive.get("site/a")
        await archive.close()


async def test_a_name_of_a_part_is_one_name(fake_gcs: buckets.FakeGcs) -> None:
    bucket = fake_gcs.make_bucket()
    archive = Gcs(bucket, None, fake_gcs.address)
    fake_gcs.replace(bucket, "site/p/pack/000001.2", b"part")
    assert await archive.head("site/p/pack/000001.2") == Stat("site/p/pack/000001.2", 4, md5_of(b"part"))
    with pytest.raises(NotThere):
        await archive.get("site/p/pack/000001")
    await archive.close()


async def test_who_issues_the_token_may_be_known_by_an_authority_of_the_clinic_s_own(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue("proxy"))
    issued = json.dumps({"access_token": "token", "expires_in": 3600, "token_type": "Bearer"}).encode()
    async with answering(response("200 OK", "Content-Type: application/json\r\n", issued), tls=tls) as address, ClientSession() as session:
        path = tmp_path / "key.json"
        path.write_text(json.dumps(service_account(f"{address}/token")))
        path.chmod(0o600)
        with pytest.raises(LinkDown):
            await Access(path, SystemClock(), Line.of()).headers(session)
        trust = authorities(str(authority.certificate))
        assert await Access(path, SystemClock(), Line.of(trust=trust)).headers(session) == {"Authorization": "Bearer token"}


def service_account(token_uri: str) -> dict[str, str]:
    """What the key file of one holds."""
    private = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "client_email": "outpost@example.org",
        "private_key_id": "1",
        "private_key": private.decode(),
        "token_uri": token_uri,
    }


async def test_google_is_asked_for_a_token_that_reads_and_writes_storage_and_for_another_when_it_ends(tmp_path: Path) -> None:
    scopes: list[str] = []

    async def token(request: web.Request) -> web.Response:
        claims = str((await request.post())["assertion"]).split(".")[1]
        scopes.append(json.loads(base64.urlsafe_b64decode(claims + "=="))["scope"])
        return web.json_response({"access_token": f"token-{len(scopes)}", "expires_in": 3600, "token_type": "Bearer"})

    async def stat(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        if request.headers.get("Authorization") != "Bearer token-2":
            return web.json_response({"error": {"code": 401}}, status=401)
        return web.json_response({"name": "site/a", "size": "1", "md5Hash": buckets.base64_md5(b"1")})

    app = web.Application()
    app.add_routes([web.post("/token", token), web.get("/storage/v1/b/bucket/o/{name}", stat)])
    async with TestServer(app) as server:
        address = str(server.make_url("")).rstrip("/")
        path = tmp_path / "key.json"
        path.write_text(json.dumps(service_account(f"{address}/token")))
        path.chmod(0o600)
        archive = Gcs("bucket", path, address)
        assert await archive.head("site/a") == Stat("site/a", 1, md5_of(b"1"))
        assert scopes == ["https://www.googleapis.com/auth/devstorage.read_write"] * 2
        await archive.close()
