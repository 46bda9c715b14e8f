"""What only Google Cloud Storage does: its JSON, its roles, and what answers in its place."""

from __future__ import annotations

import json

import pytest

from cloudsync.archive.gcs import Gcs
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
from edge.errors import OutpostError
from tests import buckets
from tests.answering import answering, response

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


async def test_the_time_that_the_archive_asks_for_is_passed_on() -> None:
    async with answering(refusal(429, "rateLimitExceeded", "Retry-After: 7\r\n")) as address:
        archive = Gcs("bucket", None, address)
        with pytest.raises(Throttled) as fault:
            await put(archive, "site/a", b"1")
        assert fault.value.retry_after_seconds == 7
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
