"""What only S3 does: access keys, buckets that keep versions, and what answers in its place."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from cloudsync.archive import s3_listing, s3_signature
from cloudsync.archive.line import Line
from cloudsync.archive.port import (
    ClockWrong,
    CredentialRefused,
    Damaged,
    LinkDown,
    ObjectRefused,
    Occupied,
    QuotaExceeded,
    Stat,
    Throttled,
    md5_of,
)
from cloudsync.archive.s3 import S3
from cloudsync.archive.s3_credential import AccessKey
from cloudsync.doctor import canary
from cloudsync.link.pacing import Pacing
from edge.clock import SystemClock
from edge.errors import ConfigError, OutpostError
from tests import buckets
from tests.answering import answering, response
from tests.counting import counting

pytestmark = pytest.mark.asyncio

SITE = "k7q2mzxw6y"


def opened(moto: buckets.Moto, bucket: str, directory: Path, address: str = "", line: Line | None = None) -> S3:
    return S3(bucket, buckets.REGION, address or moto.address, moto.credential(directory), line)


async def put(archive: S3, name: str, data: bytes) -> None:
    await archive.put(name, data, md5_of(data))


async def test_where_versions_are_kept_a_name_is_written_once_all_the_same(moto: buckets.Moto, tmp_path: Path) -> None:
    bucket = moto.make_bucket(versions=True)
    archive = opened(moto, bucket, tmp_path)
    await put(archive, "site/a", b"1")
    await put(archive, "site/a", b"1")
    with pytest.raises(Occupied):
        await put(archive, "site/a", b"2")
    await archive.close()
    with moto.owner() as owner:
        assert len(owner.list_object_versions(Bucket=bucket)["Versions"]) == 1


async def test_the_canary_finds_that_object_lock_keeps_what_is_written_over(moto: buckets.Moto, tmp_path: Path) -> None:
    archive = opened(moto, moto.make_bucket(versions=True), tmp_path)
    for _ in range(2):
        found = {finding.check: finding for finding in await canary.look(archive, SITE, "s3")}
        assert {check for check, finding in found.items() if finding.level == "good"} == {"archive.write", "archive.read", "archive.list"}
        overwrite, delete = found["archive.overwrite"], found["archive.delete"]
        assert (overwrite.level, delete.level) == ("warning", "warning")
        assert "PutObject: the older version stays" in overwrite.sentence
        assert "with If-None-Match" not in overwrite.sentence
        assert "If-None-Match" in overwrite.cure
    assert await archive.get(canary.name(SITE)) == canary.CONTENT
    await archive.close()


async def test_the_canary_finds_what_an_access_key_can_destroy_where_no_versions_are_kept(moto: buckets.Moto, tmp_path: Path) -> None:
    archive = opened(moto, moto.make_bucket(), tmp_path)
    found = {finding.check: finding for finding in await canary.look(archive, SITE, "s3")}
    overwrite, delete = found["archive.overwrite"], found["archive.delete"]
    assert (overwrite.level, delete.level) == ("fault", "fault")
    assert "PutObject, CompleteMultipartUpload" in overwrite.sentence
    assert "DeleteObject" in delete.sentence
    assert await archive.get(canary.name(SITE)) == canary.CONTENT
    await archive.close()


async def test_an_object_whose_etag_is_no_md5_is_read_to_find_it(moto: buckets.Moto, tmp_path: Path) -> None:
    bucket, data = moto.make_bucket(), bytes(range(256))
    with moto.owner() as owner:
        owner.put_object(Bucket=bucket, Key="site/kms", Body=data, ServerSideEncryption="aws:kms")
        upload = {"Bucket": bucket, "Key": "site/parts"}
        upload["UploadId"] = owner.create_multipart_upload(**upload)["UploadId"]
        part = owner.upload_part(**upload, PartNumber=1, Body=data)
        owner.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    archive = opened(moto, bucket, tmp_path)
    for name in ("site/kms", "site/parts"):
        assert await archive.head(name) == Stat(name, len(data), md5_of(data))
        await put(archive, name, data)
        with pytest.raises(Occupied):
            await put(archive, name, data[:-1])
    await archive.close()


async def test_a_bucket_that_is_missing_is_named(moto: buckets.Moto, tmp_path: Path) -> None:
    archive = opened(moto, "nowhere", tmp_path)
    for call in (put(archive, "site/a", b"1"), archive.get("site/a"), anext(archive.list(""))):
        with pytest.raises(CredentialRefused, match=r"bucket is not there .*archive\.container"):
            await call
    await archive.close()


async def test_nobody_there_is_a_link_that_is_down(moto: buckets.Moto, tmp_path: Path) -> None:
    archive = opened(moto, "bucket", tmp_path, "http://127.0.0.1:1")  # nothing listens there
    for call in (put(archive, "site/a", b"1"), archive.get("site/a"), archive.head("site/a"), anext(archive.list(""))):
        with pytest.raises(LinkDown) as fault:
            await call
        assert "Signature" not in str(fault.value)
    await archive.close()


def refusal(status: str, code: str, headers: str = "") -> bytes:
    return response(status, headers, f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode())


PORTAL = response("200 OK", "Content-Type: text/html\r\n", b"<html>Sign in to the hotspot</html>")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (PORTAL, LinkDown),
        (response("302 Found", "Location: http://127.0.0.1:1/login\r\n"), LinkDown),
        (response("404 Not Found", "", b"<html>Squid</html>"), LinkDown),
        (response("500 Oops"), LinkDown),
        (response("504 Gateway Timeout"), LinkDown),
        (response("408 Request Timeout"), LinkDown),
        (refusal("409 Conflict", "ConditionalRequestConflict"), LinkDown),
        (refusal("400 Bad Request", "BadDigest"), LinkDown),
        (refusal("503 Slow Down", "SlowDown", "Retry-After: 7\r\n"), Throttled),
        (response("429 Too Many Requests"), Throttled),
        (response("401 Unauthorized"), CredentialRefused),
        (refusal("403 Forbidden", "InvalidAccessKeyId"), CredentialRefused),
        (refusal("403 Forbidden", "RequestTimeTooSkewed"), ClockWrong),
        (refusal("301 Moved", "PermanentRedirect"), CredentialRefused),
        (refusal("403 Forbidden", "AllAccessDisabled"), QuotaExceeded),
        (response("507 Insufficient Storage"), QuotaExceeded),
        (refusal("403 Forbidden", "InvalidObjectState"), ObjectRefused),
        (refusal("400 Bad Request", "EntityTooLarge"), ObjectRefused),
        (refusal("400 Bad Request", "MalformedXML"), CredentialRefused),
    ],
)
async def test_every_answer_is_classed_by_what_can_be_done(answer: bytes, kind: type[OutpostError], tmp_path: Path) -> None:
    async with answering(answer) as address:
        archive = opened(buckets.Moto(0), "bucket", tmp_path, address)
        for call in (put(archive, "site/a", b"1"), archive.get("site/a"), anext(archive.list(""))):
            with pytest.raises(OutpostError) as fault:
                await call
            assert type(fault.value) is kind, fault.value
            assert "secret" not in str(fault.value)
        await archive.close()


@pytest.mark.parametrize("status", ["403 Forbidden", "409 Conflict", "412 Precondition Failed"])
async def test_what_a_put_is_refused_with_is_settled_by_what_lies_there(status: str, tmp_path: Path) -> None:
    there = response("200 OK", f'ETag: "{md5_of(b"1").hex()}"\r\n', b"1")
    async with answering(there, puts=response(status)) as address:
        archive = opened(buckets.Moto(0), "bucket", tmp_path, address)
        await put(archive, "site/a", b"1")
        for other in (b"2", b"11"):
            with pytest.raises(Occupied):
                await put(archive, "site/a", other)
        await archive.close()


async def test_a_proxy_that_finds_nothing_does_not_speak_for_the_archive(tmp_path: Path) -> None:
    async with answering(response("404 Not Found", "", b"<html>Squid</html>")) as address:
        archive = opened(buckets.Moto(0), "bucket", tmp_path, address)
        with pytest.raises(LinkDown):
            await archive.head("site/a")
        await archive.close()


async def test_the_time_that_the_archive_asks_for_is_passed_on(tmp_path: Path) -> None:
    async with answering(refusal("503 Slow Down", "SlowDown", "Retry-After: 7\r\n")) as address:
        archive = opened(buckets.Moto(0), "bucket", tmp_path, address)
        with pytest.raises(Throttled) as fault:
            await put(archive, "site/a", b"1")
        assert fault.value.retry_after_seconds == 7
        await archive.close()


async def test_other_bytes_than_the_archive_keeps_are_thrown_away(moto: buckets.Moto, tmp_path: Path) -> None:
    wrong = response("200 OK", f'ETag: "{md5_of(b"other").hex()}"\r\n', b"bytes")
    async with answering(wrong) as address:
        archive = opened(moto, "bucket", tmp_path, address)
        with pytest.raises(Damaged):
            await archive.get("site/a")
        await archive.close()
    archive = opened(moto, moto.make_bucket(), tmp_path)
    with pytest.raises(Occupied):  # moto passes over Content-MD5, and stores what was sent
        await archive.put("site/a", b"what was sent", md5_of(b"what was meant"))
    await archive.close()


async def test_a_renewed_access_key_is_taken_up(tmp_path: Path) -> None:
    async with answering(refusal("403 Forbidden", "InvalidAccessKeyId")) as address:
        archive = S3("bucket", buckets.REGION, address, buckets.Moto(0).credential(tmp_path))
        with pytest.raises(CredentialRefused, match=r"archive\.credential_file"):
            await archive.get("site/a")
        (tmp_path / "s3-credential").write_text("[default]\naws_access_key_id = \naws_secret_access_key = x\n")
        with pytest.raises(ConfigError, match="empty access key"):
            await archive.get("site/a")
        await archive.close()


@pytest.mark.parametrize(
    ("text", "mode", "fault"),
    [
        ("", 0o600, "is empty"),
        ("AKIAEXAMPLE secret-word", 0o600, "holds no access key"),
        ("[default]\naws_access_key_id = AKIAEXAMPLE\n", 0o600, "holds no access key"),
        ("[default]\naws_access_key_id = A\naws_secret_access_key = secret-word\n", 0o644, "every user"),
    ],
)
async def test_a_credential_file_that_will_not_do_is_named(text: str, mode: int, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "credential"
    path.write_text(text)
    path.chmod(mode)
    archive = S3("bucket", buckets.REGION, "http://127.0.0.1:1", path)
    with pytest.raises(ConfigError, match=fault) as error:
        await archive.head("site/a")
    assert error.value.key == "archive.credential_file"
    assert "secret-word" not in str(error.value)
    await archive.close()


async def test_amazon_has_an_address_for_each_bucket_and_others_a_path(tmp_path: Path) -> None:
    key = buckets.Moto(0).credential(tmp_path)
    assert S3("bucket", "af-south-1", "", key).endpoint().geturl() == "https://bucket.s3.af-south-1.amazonaws.com"
    assert S3("bucket", "us-east-1", "https://s3.example.org/", key).endpoint().geturl() == "https://s3.example.org/bucket"


async def test_a_listing_goes_on_over_its_pages_and_one_that_is_cut_short_is_none(tmp_path: Path) -> None:
    def page(*names: str, more: str = "") -> bytes:
        entries = "".join(f"<Contents><Key>{name}</Key><Size>3</Size></Contents>" for name in names)
        end = "<IsTruncated>true</IsTruncated>" if more else "<IsTruncated>false</IsTruncated>"
        return f"<?xml version='1.0'?><ListBucketResult xmlns='x'>{entries}{end}{more}</ListBucketResult>".encode()

    token = "<NextContinuationToken>1/+=</NextContinuationToken>"
    assert s3_listing.read(page("a%2Fb+c", more=token)) == s3_listing.Page([("a/b c", 3)], "1/+=", truncated=True)
    assert s3_listing.read(page()) == s3_listing.Page()
    whole = page("a", "b")
    for cut in (whole[:-10], page("a").replace(b"false", b"true"), b"<html></html>", b"<!DOCTYPE ListBucketResult>" + whole[21:]):
        with pytest.raises(s3_listing.NoListing):
            s3_listing.read(cut)


async def test_a_listing_longer_than_a_page_is_whole(moto: buckets.Moto, tmp_path: Path) -> None:
    archive = opened(moto, moto.make_bucket(), tmp_path)  # moto gives two names at once
    names = [f"site/p/{number:06d}" for number in range(5)]
    for name in names:
        await put(archive, name, b"1")
    assert [found.name async for found in archive.list("site/")] == names
    await archive.close()


@pytest.mark.parametrize("token", ["", "session/token=="])
@pytest.mark.parametrize(
    ("method", "name", "query", "headers"),
    [
        ("PUT", "site/p/pack/000001.2", {}, {"If-None-Match": "*", "Content-MD5": "rL0Y20zC+Fzt72VPzMSk2A==", "Content-Type": "a/b"}),
        ("GET", "", {"list-type": "2", "prefix": "site/p/~a b+", "continuation-token": "1/+="}, {}),
        ("POST", "site/canary", {"uploads": ""}, {}),
    ],
)
async def test_a_request_is_signed_as_amazon_s_own_client_signs_it(
    token: str, method: str, name: str, query: dict[str, str], headers: dict[str, str]
) -> None:
    host, path = "bucket.s3.af-south-1.amazonaws.com", f"/{name}"
    request = AWSRequest(method, f"https://{host}{s3_signature.target(path, query)}", dict(headers))
    request.context["client_config"] = Config(s3={"payload_signing_enabled": False})
    S3SigV4Auth(Credentials("AKIAEXAMPLE", "secret", token or None), "s3", "af-south-1").add_auth(request)
    now = datetime.strptime(request.context["timestamp"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    ours = s3_signature.signed(AccessKey("AKIAEXAMPLE", "secret", token), "af-south-1", method, host, path, query, headers, now)
    assert ours["Authorization"] == request.headers["Authorization"]


@pytest.mark.parametrize(("direction", "cap"), [("up", 600_000.0), ("down", 300_000.0)])
async def test_the_cap_holds_on_the_wire_within_5_percent(direction: str, cap: float, moto: buckets.Moto, tmp_path: Path) -> None:
    bucket = moto.make_bucket()
    parts = {f"site/{number}": random.Random(number).randbytes(225_000) for number in range(4)}
    if direction == "down":
        stocking = opened(moto, bucket, tmp_path)
        for name, data in parts.items():
            await put(stocking, name, data)
        await stocking.close()
    async with counting(moto.port) as wire:
        pacing = Pacing(SystemClock(), lambda: cap, cap)
        archive = opened(moto, bucket, tmp_path, f"http://127.0.0.1:{wire.port}", Line.of(pacing))
        if direction == "up":
            await asyncio.gather(*(put(archive, name, data) for name, data in parts.items()))
        else:
            assert await asyncio.gather(*map(archive.get, parts)) == list(parts.values())
        await archive.close()
    crossed, way = (wire.up, pacing.up) if direction == "up" else (wire.down, pacing.down)
    assert crossed.bytes == pytest.approx(way.wire_bytes * 1448 / 1500, rel=0.01), "what is counted is what crosses"
    rate = crossed.rate(after=0.4)
    seconds = 0.6 * crossed.bytes / rate
    assert rate * seconds <= cap * (seconds * 1.05 + 0.25), "with what may be caught up after a stall of the machine"
    assert rate >= cap * 0.6, "a loaded machine may stall, and loses what it cannot catch up"
