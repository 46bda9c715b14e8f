"""What a DICOMweb archive may answer, and what becomes of it; and how it knows us."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from io import BytesIO
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cloudsync.archive.dicomweb import DicomWeb
from cloudsync.archive.line import Line
from cloudsync.archive.port import ClockWrong, CredentialRefused, LinkDown, NotThere, ObjectRefused, QuotaExceeded, Throttled
from edge.errors import ConfigError, OutpostError
from edge.model import UID
from tests.answering import answering, response
from tests.certificates import Authority
from tests.dicomweb import Fake, File, generated, running

STUDY, SERIES = UID("2.25.71"), UID("2.25.71.1")
FIRST, SECOND = generated(STUDY, SERIES, 1), generated(STUDY, SERIES, 2)


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[Fake]:
    async with running(Fake()) as made:
        yield made


class Connect(Protocol):
    def __call__(self, url: str, credential_file: Path | None = None) -> DicomWeb: ...


@pytest_asyncio.fixture
async def connect() -> AsyncIterator[Connect]:
    """Adapters that are closed at the end."""
    made: list[DicomWeb] = []

    def connected(url: str, credential_file: Path | None = None) -> DicomWeb:
        made.append(DicomWeb(url, credential_file))
        return made[-1]

    yield connected
    for each in made:
        await each.close()


async def outcomes(archive: DicomWeb, *files: File) -> list[str]:
    return [reply.outcome for reply in await archive.store([file.offer for file in files])]


def credential(place: Path, text: str) -> Path:
    path = place / "credential"
    path.write_text(text)
    path.chmod(0o600)
    return path


def stow_answer(status: int, **failures: int) -> web.Response:
    items = [{"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [code]}} for uid, code in failures.items()]
    return web.json_response({"00081198": {"vr": "SQ", "Value": items}}, status=status, content_type="application/dicom+json")


@pytest.mark.asyncio
async def test_a_409_is_read_item_by_item(connect: Connect, fake: Fake) -> None:
    archive = connect(fake.url)
    assert await outcomes(archive, FIRST) == ["stored"]
    replies = await archive.store([generated(STUDY, SERIES, 1, note=b"another").offer, SECOND.offer])
    assert [reply.outcome for reply in replies] == ["failed", "stored"]
    assert "0x0110" in replies[0].reason
    (alone,) = await archive.store([generated(STUDY, SERIES, 1, note=b"another").offer])
    assert alone.outcome == "failed"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (web.Response(status=429, headers={"Retry-After": "7"}), Throttled),
        (web.Response(status=503), Throttled),
        (web.Response(status=401), CredentialRefused),
        (web.Response(status=403), CredentialRefused),
        (web.Response(status=404), CredentialRefused),
        (web.Response(status=507), QuotaExceeded),
        (web.Response(status=500), LinkDown),
        (web.Response(status=302, headers={"Location": "http://127.0.0.1/login"}), LinkDown),
        (web.Response(text="<html>Welcome to our hotspot</html>", content_type="text/html"), LinkDown),
    ],
    ids=lambda value: str(value.status) if isinstance(value, web.Response) else value.__name__,
)
async def test_each_answer_to_a_request_has_its_class(
    connect: Connect, fake: Fake, answer: web.Response, fault: type[OutpostError]
) -> None:
    archive = connect(fake.url)
    fake.next_answers = [answer]
    with pytest.raises(fault) as raised:
        await outcomes(archive, FIRST, SECOND)
    if answer.headers.get("Retry-After"):
        assert isinstance(raised.value, Throttled)
        assert raised.value.retry_after_seconds == 7
    assert await outcomes(archive, FIRST, SECOND) == ["stored", "stored"]


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [400, 413, 415])
async def test_a_request_that_is_refused_as_a_whole_says_nothing_of_its_instances(connect: Connect, fake: Fake, status: int) -> None:
    archive = connect(fake.url)
    fake.next_answers = [web.Response(status=status), web.Response(status=status)]
    assert await outcomes(archive, FIRST, SECOND) == ["unsaid", "unsaid"]
    assert await outcomes(archive, FIRST) == ["failed"]


@pytest.mark.asyncio
async def test_an_archive_without_room_is_full_whichever_instance_says_so(connect: Connect, fake: Fake) -> None:
    archive = connect(fake.url)
    fake.next_answers = [stow_answer(409, **{FIRST.name.sop_instance: 0xA700})]
    with pytest.raises(QuotaExceeded):
        await outcomes(archive, FIRST)


@pytest.mark.asyncio
async def test_an_instance_that_is_not_there_is_not_a_fault_of_the_link(connect: Connect, fake: Fake) -> None:
    archive = connect(fake.url)
    with pytest.raises(NotThere):
        await archive.retrieve(FIRST.name, BytesIO(), 1 << 20)


@pytest.mark.asyncio
async def test_a_search_that_is_refused_waits_for_a_person_and_an_instance_that_is_refused_is_one(connect: Connect, fake: Fake) -> None:
    archive = connect(fake.url)
    fake.next_answers = [web.Response(status=400), web.Response(status=400)]
    with pytest.raises(CredentialRefused, match=r"archive\.url"):
        await archive.exists(STUDY, SERIES)
    with pytest.raises(ObjectRefused):
        await archive.retrieve(FIRST.name, BytesIO(), 1 << 20)


@pytest.mark.asyncio
async def test_an_instance_is_asked_for_untouched_and_a_listing_in_pages(connect: Connect, fake: Fake) -> None:
    archive = connect(fake.url)
    files = [generated(STUDY, SERIES, number) for number in range(1, 8)]
    await archive.store([file.offer for file in files])
    assert len(await archive.exists(STUDY, SERIES)) == 7
    assert len([request for request in fake.requests if request.startswith("GET")]) == 4
    await archive.retrieve(FIRST.name, BytesIO(), 1 << 20)
    assert fake.accepts[-1] == 'multipart/related; type="application/dicom"; transfer-syntax=*'


@pytest.mark.asyncio
async def test_an_archive_that_passes_over_the_page_is_listed_once_in_whatever_order(connect: Connect, fake: Fake) -> None:
    items = [{"00080018": {"vr": "UI", "Value": [file.name.sop_instance]}} for file in (FIRST, SECOND)]
    fake.next_answers = [web.json_response(page, content_type="application/dicom+json") for page in (items, items[::-1])]
    assert await connect(fake.url).exists(STUDY, SERIES) == {FIRST.name.sop_instance, SECOND.name.sop_instance}
    assert len(fake.requests) == 2


@pytest.mark.asyncio
@pytest.mark.parametrize(("days_ago", "fault"), [(3.5, ClockWrong), (0.0, LinkDown)])
async def test_whose_clock_is_wrong_is_asked_where_a_certificate_has_expired(
    days_ago: float, fault: type[OutpostError], tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue("old", days=-3))
    date = formatdate(time.time() - days_ago * 86_400, usegmt=True)
    async with answering(response("200 OK", f"Date: {date}\r\n"), tls=tls) as address:
        trust = ssl.create_default_context(cafile=str(authority.certificate))
        archive = DicomWeb(f"{address}/dicom-web", line=Line.of(trust=trust))
        with pytest.raises(fault):
            await archive.exists(STUDY, SERIES)
        await archive.close()


@pytest.mark.asyncio
async def test_a_token_that_ended_is_fetched_anew_and_the_request_sent_again(connect: Connect, fake: Fake, tmp_path: Path) -> None:
    client = {"token_url": fake.url.replace("/dicom-web", "/token"), "client_id": "outpost", "client_secret": "generated"}
    archive = connect(fake.url, credential(tmp_path, json.dumps(client)))
    fake.tokens = {"token-1"}
    assert await outcomes(archive, FIRST) == ["stored"]
    fake.tokens = {"token-2"}
    assert await outcomes(archive, SECOND) == ["stored"]
    assert fake.issued == 2
    fake.tokens = set()
    with pytest.raises(CredentialRefused):
        await outcomes(archive, SECOND)


@pytest.mark.asyncio
async def test_requests_whose_token_ended_together_go_by_one_fresh_token(connect: Connect, fake: Fake, tmp_path: Path) -> None:
    client = {"token_url": fake.url.replace("/dicom-web", "/token"), "client_id": "outpost", "client_secret": "generated"}
    archive = connect(fake.url, credential(tmp_path, json.dumps(client)))
    fake.tokens = {"token-1"}
    assert await outcomes(archive, FIRST) == ["stored"]
    fake.tokens = {"token-2"}
    files = [generated(STUDY, SERIES, number) for number in range(2, 6)]
    assert await asyncio.gather(*(outcomes(archive, file) for file in files)) == [["stored"]] * 4
    assert fake.issued == 2


@pytest.mark.asyncio
async def test_a_fixed_credential_that_is_renewed_needs_no_restart(connect: Connect, fake: Fake, tmp_path: Path) -> None:
    fake.tokens = {"new"}
    archive = connect(fake.url, credential(tmp_path, "Bearer old\n"))
    with pytest.raises(CredentialRefused):
        await outcomes(archive, FIRST)
    credential(tmp_path, "Bearer new")
    assert await outcomes(archive, FIRST) == ["stored"]


@pytest.mark.asyncio
async def test_google_issues_a_token_to_a_service_account_without_the_loop(
    connect: Connect, fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    google = pytest.importorskip("google.auth.transport.requests")
    threads: list[threading.Thread] = []
    call = google.Request.__call__
    monkeypatch.setattr(
        google.Request, "__call__", lambda *args, **named: threads.append(threading.current_thread()) or call(*args, **named)
    )
    private = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key = {"type": "service_account", "client_email": "outpost@example.org", "private_key_id": "1", "private_key": private.decode(),
           "token_uri": fake.url.replace("/dicom-web", "/token")}  # fmt: skip
    fake.tokens = {"token-1"}
    archive = connect(fake.url, credential(tmp_path, json.dumps(key)))
    assert await outcomes(archive, FIRST) == ["stored"]
    assert await outcomes(archive, SECOND) == ["stored"]
    assert fake.issued == 1
    assert [thread is threading.main_thread() for thread in threads] == [False]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "{}",
        '{"type": "service_account"}',
        '{"token_url": "https://h/t"}',
        '{"token_url": "http://h/t", "client_id": "outpost", "client_secret": "generated"}',
        "Bearer a\nBearer b",
    ],
)
@pytest.mark.asyncio
async def test_a_credential_that_says_nothing_is_named(connect: Connect, tmp_path: Path, text: str) -> None:
    archive = connect("https://127.0.0.1:1/dicom-web", credential(tmp_path, text))
    with pytest.raises(ConfigError, match=r"archive\.credential_file"):
        await outcomes(archive, FIRST)


@pytest.mark.asyncio
async def test_a_credential_that_everybody_may_read_is_not_used(connect: Connect, tmp_path: Path) -> None:
    path = credential(tmp_path, "Bearer token")
    path.chmod(0o644)
    archive = connect("https://127.0.0.1:1/dicom-web", path)
    with pytest.raises(ConfigError, match="can be read by every user"):
        await outcomes(archive, FIRST)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "archive.example.org/dicom-web",
        "http://archive.example.org/dicom-web",
        "https://user:secret@h/x",
        "ftp://h/x",
        "https://h/x?a=b",
        "https://h:port/x",
        "https://h:99999/x",
    ],
)
def test_an_address_that_may_not_be_spoken_to_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"archive\.url") as refused:
        DicomWeb(url)
    assert "secret" not in str(refused.value)
