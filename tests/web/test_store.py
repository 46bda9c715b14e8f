"""STOW-RS: what is taken in is durable and named; what cannot be is named too, and hostile bodies are refused within fixed memory."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from typing import Any

import pytest
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol

from edge.control.instances import Admit
from edge.control.message import Failed
from edge.web import multipart, store
from edge.web.faults import BadRequest, TooLarge
from edge.web.multipart import MultipartBody, content_type
from tests.web.box import ANY, CT, CT_STUDY, JPEG_2000, RLE, Web, dataset_of, parts_of, sample

RELATED = 'multipart/related; type="application/dicom"; boundary=edge'


def body_of(*instances: bytes, kind: str = "application/dicom") -> bytes:
    parts = [b"--edge\r\nContent-Type: " + kind.encode() + b"\r\n\r\n" + one + b"\r\n" for one in instances]
    return b"".join([*parts, b"--edge--\r\n"])


def values(found: dict[str, Any], sequence: str, tag: str) -> list[Any]:
    return [item[tag]["Value"][0] for item in found.get(sequence, {"Value": []})["Value"]]


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/studies", f"/studies/{CT_STUDY}"])
async def test_what_is_stored_is_named_and_comes_back_byte_for_byte(served: Web, path: str) -> None:
    data = sample(CT)
    status, headers, body = await served.post(path, body_of(data), RELATED)
    assert (status, headers["Content-Type"]) == (200, "application/dicom+json")
    found = json.loads(body)
    assert found["00081190"]["Value"] == [f"{served.address}/studies/{CT_STUDY}"]
    (address,) = values(found, "00081199", "00081190")
    _, headers, body = await served.get(address.removeprefix(served.address), ANY)
    assert dataset_of(parts_of(headers, body)[0][1]) == dataset_of(data)
    (request,) = served.edge.requests
    assert isinstance(request, Admit)
    assert (request.calling_ae, request.address) == ("STOW-RS", "127.0.0.1")


@pytest.mark.asyncio
async def test_many_instances_in_any_encoding_are_stored_and_a_repeat_is_success(served: Web) -> None:
    whole = body_of(*(sample(name) for name in (CT, JPEG_2000, RLE)))
    for _ in range(2):
        status, _, body = await served.post("/studies", whole, RELATED)
        assert status == 200
        assert len(values(json.loads(body), "00081199", "00081155")) == 3
    assert len(json.loads((await served.get("/instances"))[2])) == 3


@pytest.mark.asyncio
async def test_an_instance_of_another_study_than_the_path_names_fails_alone(served: Web) -> None:
    status, _, body = await served.post(f"/studies/{CT_STUDY}", body_of(sample(CT), sample(RLE)), RELATED)
    found = json.loads(body)
    assert status == 202
    assert len(values(found, "00081199", "00081155")) == 1
    assert values(found, "00081198", "00081197") == [0xA900]
    status, _, body = await served.post("/studies/1.2.3", body_of(sample(RLE)), RELATED)
    assert status == 409
    assert len(served.edge.requests) == 1


@pytest.mark.asyncio
async def test_what_is_no_instance_is_named_among_the_others(served: Web) -> None:
    status, _, body = await served.post("/studies", body_of(b"no DICOM", sample(CT), b""), RELATED)
    assert status == 202
    assert values(json.loads(body), "0008119A", "00081197") == [0xC000, 0xC000]
    for kind in ("text/plain", "multipart/mixed", "multipart/related; boundary=edge"):
        status, _, body = await served.post("/studies", body_of(sample(CT), kind=kind), RELATED)
        assert status == 409


@pytest.mark.asyncio
async def test_a_dataset_that_does_not_identify_itself_goes_to_quarantine_and_fails(served: Web) -> None:
    data = sample(CT)
    broken = data[: len(data) - len(dataset_of(data))] + dataset_of(data)[:100]
    status, _, body = await served.post("/studies", body_of(broken), RELATED)
    assert status == 409
    assert values(json.loads(body), "00081198", "00081197") == [0xC000]
    assert len(served.box.catalogue.rows("quarantined")) == 1


@pytest.mark.asyncio
async def test_a_full_disk_is_507_and_nothing_is_left_behind(served: Web) -> None:
    served.edge.refusal = Failed(error="StoreFull", sentence="The disk is at its reserve.")
    status, headers, body = await served.post("/studies", body_of(sample(CT)), RELATED)
    assert (status, headers["Retry-After"], body) == (507, "30", b"The disk is at its reserve.\n")
    assert list(served.box.layout.quarantine.iterdir()) == []


@pytest.mark.asyncio
async def test_edge_that_refuses_is_a_failure_of_that_instance(served: Web) -> None:
    served.edge.refusal = Failed(error="Refused", sentence="No.")
    status, _, body = await served.post("/studies", body_of(sample(CT)), RELATED)
    assert status == 409
    assert values(json.loads(body), "00081198", "00081197") == [0x0110]


@pytest.mark.asyncio
async def test_edge_that_is_away_is_503(served: Web) -> None:
    served.box.layout.control.unlink()
    status, headers, body = await served.post("/studies", body_of(sample(CT)), RELATED)
    assert (status, headers["Retry-After"]) == (503, "30")
    assert b"outpost run" in body


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "headers", "status"),
    [
        ("application/dicom", {}, 415),
        ('multipart/related; type="application/dicom+json"; boundary=edge', {}, 415),
        ("multipart/form-data; boundary=edge", {}, 415),
        ('multipart/related; type="application/dicom"', {}, 400),
        ('multipart/related; type="application/dicom"; boundary="' + "x" * 71 + '"', {}, 400),
        (RELATED, {"Content-Encoding": "gzip"}, 415),
        (RELATED, {"Content-Encoding": "deflate"}, 415),
        (RELATED, {"Accept": "application/dicom+xml"}, 406),
    ],
)
async def test_what_is_no_store_request_is_refused_before_it_is_read(served: Web, kind: str, headers: dict[str, str], status: int) -> None:
    body = gzip.compress(bytes(1 << 20)) if headers.get("Content-Encoding") == "gzip" else body_of(sample(CT))
    found, _, sentence = await served.post("/studies", body, kind, **headers)
    assert (found, sentence.decode().strip()[-1]) == (status, ".")
    assert served.edge.requests == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--edge--\r\n",
        b"no boundary at all",
        b"x" * 100_000 + b"\r\n--edge--",
        b"--edge\r\nContent-Type: application/dicom\r\n\r\nno end",
        b"--edge\r\nContent-Type: application/dicom\r\n\r\nno end\r\n--edg",
        b"--edge\r\nContent-Type application/dicom\r\n\r\n\r\n--edge--",
        b"--edge\r\n" + b"A: b\r\n" * 100_000,
        b"--edge\r\nA: " + b"x" * 100_000,
        b"--edge garbage\r\n\r\n\r\n--edge--",
        b"--edge" + b" " * 10_000,
        b"--edge\r\nContent-Encoding: gzip\r\n\r\nx\r\n--edge--",
        b"--edge\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n--edge--",
        b"--other\r\n\r\nx\r\n--other--",
    ],
)
async def test_a_body_that_is_no_multipart_is_400_with_a_sentence(served: Web, body: bytes) -> None:
    status, _, sentence = await served.post("/studies", body, RELATED)
    assert (status, sentence.decode().strip()[-1]) == (400, ".")
    assert (await served.get("/studies"))[0] == 200


@pytest.mark.asyncio
async def test_what_was_stored_before_the_body_broke_is_named(served: Web) -> None:
    whole = body_of(sample(CT))
    status, _, body = await served.post("/studies", whole[: -len(b"--edge--\r\n")] + b"--edge\r\n\r\nno end", RELATED)
    assert status == 202
    found = json.loads(body)
    assert len(values(found, "00081199", "00081155")) == 1
    assert values(found, "0008119A", "00081197") == [0xC000]


@pytest.mark.asyncio
async def test_more_parts_than_are_taken_are_refused(served: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PARTS_MAX", 3)
    status, _, body = await served.post("/studies", body_of(*[b"x"] * 10), RELATED)
    assert (status, body) == (413, b"At most 3 instances are taken in one request.\n")


def _reader(pieces: list[bytes]) -> StreamReader:
    loop = asyncio.get_running_loop()
    reader = StreamReader(BaseProtocol(loop), 1 << 16, loop=loop)
    for piece in pieces:
        reader.feed_data(piece)
    reader.feed_eof()
    return reader


@pytest.mark.asyncio
@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, 4096])
async def test_parts_are_the_same_however_the_body_arrives(step: int) -> None:
    sent = [os.urandom(1000), b"", b"\r\n--edg", b"--edge", b"\r\n\r\n", b"\r\n--edge-not\r\n"[:7]]
    body = b"preamble\r\n" + body_of(*sent) + b"epilogue"
    parts = MultipartBody(_reader([body[at : at + step] for at in range(0, len(body), step)]), "edge", 1 << 20)
    found = []
    while await parts.next_part() is not None:
        found.append(b"".join([bytes(piece) async for piece in parts.data()]))
    assert found == sent


@pytest.mark.asyncio
async def test_a_body_over_the_cap_is_too_large() -> None:
    for body in (b"x" * 6000, b"--edge\r\n\r\n" + b"x" * 6000):
        with pytest.raises(TooLarge):
            await MultipartBody(_reader([body]), "edge", 5000).next_part()


async def _begin(served: Web, body: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A store request whose body is promised longer than it comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.address.rpartition(":")[2]))
    head = f"POST /studies HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {served.token}\r\nContent-Type: {RELATED}\r\n"
    writer.write(f"{head}Content-Length: {len(body) + 100}\r\n\r\n".encode() + body)
    await writer.drain()
    return reader, writer


@pytest.mark.asyncio
async def test_a_body_that_stops_coming_is_given_up(served: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "STALL_SECONDS", 0.1)
    reader, writer = await _begin(served, body_of(sample(CT))[:20_000])
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
    assert answer.startswith(b"HTTP/1.1 408 ")
    writer.close()
    await writer.wait_closed()


@pytest.mark.asyncio
async def test_a_caller_that_hangs_up_leaves_nothing_behind(served: Web, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="edge.web.guard"):
        _, writer = await _begin(served, body_of(sample(CT))[:20_000])
        writer.transport.abort()
        async with asyncio.timeout(10):
            while not caplog.records:
                await asyncio.sleep(0.01)
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert list(served.box.layout.quarantine.iterdir()) == []
    assert served.edge.requests == []


@pytest.mark.parametrize(
    ("header", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary=a', "a"),
        ('Multipart/Related; boundary="a b?c"; type=application/dicom', "a b?c"),
        ("multipart/related; type=application/dicom; boundary=--x", "--x"),
    ],
)
def test_a_content_type_is_read_with_and_without_quotes(header: str, boundary: str) -> None:
    found = content_type(header)
    assert (found.media, found.type, found.boundary) == ("multipart/related", "application/dicom", boundary)


@pytest.mark.parametrize("boundary", ["", '""', '"a\\"b"', "x" * 71, '"a "', "a;b\x00"])
def test_a_boundary_that_rfc_2046_does_not_know_is_refused(boundary: str) -> None:
    with pytest.raises(BadRequest):
        content_type(f"multipart/related; boundary={boundary}" if boundary != "a;b\x00" else 'multipart/related; boundary="a\x00"')
