"""Buckets as the settings name them: what is refused, whom they trust, and what a clock that is wrong makes of it."""

from __future__ import annotations

import asyncio
import ssl
from email.utils import formatdate
from pathlib import Path

import pytest

from cloudsync.archive.gcs import Gcs
from cloudsync.archive.line import Line
from cloudsync.archive.opening import address, check, open_archive
from cloudsync.archive.port import Archive, ClockWrong, CredentialRefused, LinkDown, NotThere, md5_of
from cloudsync.archive.s3 import S3
from cloudsync.doctor.__main__ import look
from cloudsync.setup import setup
from edge.clock import SystemClock
from edge.config import Archive as Settings
from edge.config import Layout, load
from edge.errors import ConfigError
from edge.finding import Finding, Opening
from tests import buckets
from tests.answering import answering, response
from tests.certificates import Authority


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (Settings(kind="s3", credential_file="x", container="No_Bucket!"), "archive.container"),
        (Settings(kind="s3", credential_file="x", region=""), "archive.region"),
        (Settings(kind="s3", credential_file="x", endpoint="http://s3.example.org"), "archive.endpoint"),
        (Settings(kind="s3", credential_file="x", endpoint="https://name:word@s3.example.org"), "archive.endpoint"),
        (Settings(kind="s3", credential_file="x", endpoint="s3.example.org"), "archive.endpoint"),
        (Settings(kind="s3"), "archive.credential_file"),
        (Settings(kind="gcs"), "archive.credential_file"),
    ],
)
def test_settings_that_name_no_bucket_are_refused_by_the_key(settings: Settings, key: str) -> None:
    with pytest.raises(ConfigError) as fault:
        check(settings)
    assert fault.value.key == key


def test_the_recovery_kit_says_where_a_bucket_is() -> None:
    assert address(Settings(kind="s3", region="af-south-1")) == "s3:outpost in af-south-1"
    assert address(Settings(kind="s3", endpoint="https://s3.example.org")) == "s3:outpost in us-east-1 at https://s3.example.org"
    assert address(Settings(kind="gcs")) == "gcs:outpost"


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["s3", "gcs"])
async def test_an_authority_of_the_clinic_s_own_is_trusted_where_it_is_named(kind: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue("bucket"))
    nothing = b"<Error><Code>NoSuchKey</Code></Error>" if kind == "s3" else b'{"error": {"code": 404}}'
    async with answering(response("404 Not Found", "", nothing), tls=tls) as endpoint:
        credential = str(buckets.Moto(0).credential(tmp_path)) if kind == "s3" else ""
        for trusted, outcome in (("", LinkDown), (str(authority.certificate), NotThere)):
            archive = open_archive(Settings(kind=kind, endpoint=endpoint, credential_file=credential, ca_file=trusted))
            with pytest.raises(outcome):
                await archive.get("site/a")
            await archive.close()


class Ahead(SystemClock):
    """A clock that is a day ahead."""

    def now(self) -> float:
        return super().now() + 86_400


@pytest.mark.asyncio
@pytest.mark.parametrize(("clock", "kind"), [(Ahead(), ClockWrong), (SystemClock(), CredentialRefused)])
async def test_where_the_clock_is_wrong_it_is_not_the_access_key_that_is_blamed(
    clock: SystemClock, kind: type[Exception], tmp_path: Path
) -> None:
    headers = f"x-amz-request-id: 1\r\nDate: {formatdate(usegmt=True)}\r\n"
    async with answering(response("403 Forbidden", headers, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")) as endpoint:
        archive = S3("bucket", buckets.REGION, endpoint, buckets.Moto(0).credential(tmp_path), Line.of(clock=clock), clock)
        for call in (archive.get("site/a"), archive.put("site/a", b"1", md5_of(b"1")), anext(archive.list(""))):
            with pytest.raises(kind):
                await call
        await archive.close()


def opened(kind: str, moto: buckets.Moto, fake_gcs: buckets.FakeGcs, place: Path) -> Settings:
    if kind == "s3":
        credential = str(moto.credential(place))
        return Settings(kind="s3", container=moto.make_bucket(), region=buckets.REGION, endpoint=moto.address, credential_file=credential)
    return Settings(kind="gcs", container=fake_gcs.make_bucket(), endpoint=fake_gcs.address)


@pytest.mark.asyncio
@pytest.mark.parametrize(("kind", "adapter"), [("s3", S3), ("gcs", Gcs)])
async def test_the_settings_choose_the_adapter(
    kind: str, adapter: type[Archive], moto: buckets.Moto, fake_gcs: buckets.FakeGcs, tmp_path: Path
) -> None:
    archive = open_archive(opened(kind, moto, fake_gcs, tmp_path))
    assert isinstance(archive, adapter)
    await archive.put("site/a", b"1", md5_of(b"1"))
    assert [found.name async for found in archive.list("")] == ["site/a"]
    await archive.close()


@pytest.mark.parametrize("kind", ["s3", "gcs"])
def test_the_doctor_looks_at_the_way_the_credential_and_the_canary(
    kind: str, moto: buckets.Moto, fake_gcs: buckets.FakeGcs, layout: Layout, tmp_path: Path
) -> None:
    settings = opened(kind, moto, fake_gcs, tmp_path)
    lines = "".join(f'{key} = "{getattr(settings, key)}"\n' for key in ("kind", "container", "region", "endpoint", "credential_file"))
    setup(layout.state, f"[archive]\n{lines}", tmp_path / "kit")

    async def said(through_firewall: bool) -> list[Finding | Opening]:
        return [one async for one in look(load(layout.config), layout, SystemClock(), through_firewall)]

    levels = {found.check: found.level for found in asyncio.run(said(False)) if isinstance(found, Finding)}
    good = {"network.name", "network.connect", "clock.archive", "archive.write", "archive.read", "archive.list"}
    good |= {"credential.expiry"} if kind == "s3" else set()
    assert {check for check, level in levels.items() if level == "good"} == good
    assert {check for check, level in levels.items() if level == "fault"} == {"archive.overwrite", "archive.delete"}
    port = moto.port if kind == "s3" else fake_gcs.port
    assert [(one.host, one.port) for one in asyncio.run(said(True)) if isinstance(one, Opening)] == [("127.0.0.1", port)]
