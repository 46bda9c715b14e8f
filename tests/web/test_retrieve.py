"""WADO-RS: instances come back byte for byte, in the forms that were asked for, from the cache or through a recall."""

from __future__ import annotations

import asyncio
import hashlib
import os
from io import BytesIO

import pydicom
import pytest
from aiohttp import ClientError

from edge.clock import SystemClock
from edge.model import PackId, parse_uid
from edge.store.reader import CatalogueReader, Target
from edge.web.packs import OpenedPacks
from edge.web.streaming import STEP
from tests.web.box import ANY, BIG, CT, IMPLICIT, JPEG_2000, REPORT, RLE, Web, dataset_of, parts_of, path_of, sample, stored

EXPLICIT = "1.2.840.10008.1.2.1"


@pytest.mark.asyncio
@pytest.mark.parametrize("closed", [False, True])
async def test_a_study_comes_back_byte_for_byte_from_open_and_closed_packs(served: Web, closed: bool) -> None:
    data, path = await stored(served, RLE)
    other, _ = await stored(served, CT)
    if closed:
        served.box.close_packs()
    for whole in (path, path.rpartition("/instances/")[0], path.partition("/series/")[0]):
        status, headers, body = await served.get(whole, ANY)
        assert status == 200
        ((fields, content),) = parts_of(headers, body)
        assert fields["Content-Type"] == "application/dicom; transfer-syntax=1.2.840.10008.1.2.5"
        assert fields["Content-Location"] == served.address + path
        assert dataset_of(content) == dataset_of(data) != dataset_of(other)
        assert pydicom.dcmread(BytesIO(content)).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.5"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "accept", "syntax"),
    [
        (CT, None, EXPLICIT),
        (CT, "*/*", EXPLICIT),
        (CT, "application/dicom", EXPLICIT),
        (CT, 'multipart/related; type="application/dicom"', EXPLICIT),
        (CT, f"multipart/related; type=application/dicom; transfer-syntax={EXPLICIT}", EXPLICIT),
        (CT, "text/html, multipart/related; type=application/dicom; q=0.1", EXPLICIT),
        (CT, "application/dicom; transfer-syntax=1.2.840.10008.1.2", None),
        (CT, "application/dicom+json", None),
        (CT, 'multipart/related; type="image/jpeg"', None),
        (IMPLICIT, "*/*", "1.2.840.10008.1.2"),
        (IMPLICIT, "application/dicom", EXPLICIT),
        (IMPLICIT, 'multipart/related; type="application/dicom"', EXPLICIT),
        (IMPLICIT, ANY, "1.2.840.10008.1.2"),
        (IMPLICIT, "application/dicom; transfer-syntax=1.2.840.10008.1.2", "1.2.840.10008.1.2"),
        (BIG, "application/dicom", None),
        (BIG, "application/dicom; transfer-syntax=*", "1.2.840.10008.1.2.2"),
        (RLE, "application/dicom", None),
        (RLE, "application/dicom; transfer-syntax=1.2.840.10008.1.2.5", "1.2.840.10008.1.2.5"),
        (RLE, 'multipart/related; type="application/dicom"', None),
        (RLE, f'multipart/related; type="application/dicom", {ANY}; q=0.5', "1.2.840.10008.1.2.5"),
        (RLE, "*/*", "1.2.840.10008.1.2.5"),
        (JPEG_2000, "application/*", None),
        (JPEG_2000, "application/*; transfer-syntax=*", "1.2.840.10008.1.2.4.91"),
    ],
)
async def test_what_is_acceptable_decides_the_syntax(served: Web, name: str, accept: str | None, syntax: str | None) -> None:
    data, path = await stored(served, name)
    status, headers, body = await served.get(path, accept)
    if syntax is None:
        assert (status, body.decode().strip()[-1]) == (406, ".")
        return
    assert status == 200, body
    multipart = headers["Content-Type"].startswith("multipart/related")
    assert multipart == (accept is None or accept == "*/*" or "multipart" in accept)
    content = parts_of(headers, body)[0][1] if multipart else body
    found = pydicom.dcmread(BytesIO(content))
    assert found.file_meta.TransferSyntaxUID == syntax
    assert found.PixelData == pydicom.dcmread(BytesIO(data)).PixelData
    if syntax == pydicom.dcmread(BytesIO(data)).file_meta.TransferSyntaxUID:
        assert dataset_of(content) == dataset_of(data)


@pytest.mark.asyncio
async def test_an_implicit_instance_in_explicit_form_has_the_same_values_and_proves_itself(served: Web) -> None:
    data, path = await stored(served, IMPLICIT)
    _, headers, content = await served.get(path, "application/dicom")
    assert int(headers["Content-Length"]) == len(content)
    found, real = pydicom.dcmread(BytesIO(content)), pydicom.dcmread(BytesIO(data))
    assert {element.tag: element.value for element in found} == {element.tag: element.value for element in real if element.tag.element}
    assert found.file_meta.PrivateInformation == hashlib.sha256(dataset_of(content)).digest()


@pytest.mark.asyncio
async def test_an_instance_longer_than_a_step_streams_whole(served: Web) -> None:
    data = pydicom.dcmread(BytesIO(sample(CT)))
    data.Rows, data.Columns, data.PixelData = 2048, 2048, bytes(range(256)) * (2048 * 2048 * 2 // 256)
    out = BytesIO()
    data.save_as(out)
    assert len(out.getvalue()) > 4 * STEP
    served.box.take(out.getvalue())
    _, headers, body = await served.get(await path_of(served, data.SOPInstanceUID), "application/dicom")
    assert dataset_of(body) == dataset_of(out.getvalue())
    assert int(headers["Content-Length"]) == len(body)


@pytest.mark.asyncio
async def test_a_nearline_instance_is_recalled_and_then_sent(served: Web) -> None:
    data, path = await stored(served, CT)
    (pack,) = served.box.close_packs()
    served.box.hold_and_evict(pack)
    served.edge.away = [pack]
    status, headers, body = await served.get(path.partition("/series/")[0], ANY)
    assert status == 200, body
    assert dataset_of(parts_of(headers, body)[0][1]) == dataset_of(data)
    assert [type(request).__name__ for request in served.edge.requests] == ["RecallStudy"]


@pytest.mark.asyncio
async def test_a_nearline_instance_while_the_link_is_down_is_503_with_the_sentence(served: Web) -> None:
    _, path = await stored(served, CT)
    (pack,) = served.box.close_packs()
    served.box.hold_and_evict(pack)
    served.edge.offline = "The link to the archive is down since 09:12."
    for resource in (path, path + "/frames/1", path + "/bulkdata/7FE00010"):
        status, headers, body = await served.get(resource)
        assert (status, headers["Retry-After"]) == (503, "30")
        assert body.decode() == "The link to the archive is down since 09:12.\n"


@pytest.mark.asyncio
async def test_a_recall_that_brings_nothing_cuts_the_answer_off_or_refuses_it(served: Web) -> None:
    _, path = await stored(served, CT)
    (pack,) = served.box.close_packs()
    served.box.hold_and_evict(pack)
    served.edge.away = []
    status, _, body = await served.get(path, ANY)
    assert (status, body) == (503, b"Not all of it came back from the archive.\n")


@pytest.mark.asyncio
async def test_what_is_not_here_is_404_and_what_is_no_uid_400(served: Web) -> None:
    _, path = await stored(served, CT)
    study, _, rest = path.partition("/series/")
    for unknown in ("/studies/1.2.3", f"{study}/series/1.2.3", path + ".9", f"/studies/1.2.3/series/{rest}", "/studies/1.2.3/metadata"):
        assert (await served.get(unknown))[0] == 404, unknown
    for broken in ("/studies/1..2", "/studies/x", f"{study}/series/..%2f..%2fetc", path + "x", path + "%20"):
        assert (await served.get(broken))[0] == 400, broken


@pytest.mark.asyncio
async def test_a_report_without_pixels_is_retrieved_like_any_other(served: Web) -> None:
    data, path = await stored(served, REPORT)
    _, headers, body = await served.get(path, ANY)
    assert dataset_of(parts_of(headers, body)[0][1]) == dataset_of(data)


@pytest.mark.asyncio
@pytest.mark.parametrize("resource", ["", "/frames/1", "/bulkdata/7FE00010"])
async def test_a_fault_behind_the_first_byte_cuts_the_connection_instead_of_ending_the_answer(served: Web, resource: str) -> None:
    data = pydicom.dcmread(BytesIO(sample(CT)))
    data.Rows, data.Columns, data.PixelData = 2048, 2048, bytes(2048 * 2048 * 2)
    out = BytesIO()
    data.save_as(out)
    served.box.take(out.getvalue())
    path = await path_of(served, data.SOPInstanceUID)
    (pack,) = served.box.close_packs()
    with served.box.layout.cached(pack).open("r+b") as file:
        file.truncate(3 << 20)
    with pytest.raises(ClientError):
        await served.get(path + resource)
    async with asyncio.timeout(20):
        assert await served.edge.suspected.get() == [pack], "edge looks at it next"
    assert (await served.get("/studies"))[0] == 200


@pytest.mark.asyncio
async def test_what_was_evicted_a_moment_ago_is_recalled_and_503_if_it_does_not_come(served: Web) -> None:
    _, path = await stored(served, CT)
    (pack,) = served.box.close_packs()
    served.box.layout.cached(pack).rename(served.box.layout.edge / "away")
    for resource in (path, path + "/frames/1"):
        status, headers, body = await served.get(resource)
        assert (status, headers["Retry-After"], body) == (503, "30", b"Not all of it came back from the archive.\n")
    assert [type(request).__name__ for request in served.edge.requests] == ["RecallStudy", "RecallStudy"]


@pytest.mark.asyncio
async def test_of_a_pack_that_is_another_file_by_now_only_that_file_is_read(served: Web) -> None:
    data, path = await stored(served, CT)
    (pack,) = served.box.close_packs()
    suspects: list[PackId] = []
    reader = CatalogueReader(served.box.layout.catalogue, 900.0, SystemClock())
    (one,) = await reader.instances(Target(*map(parse_uid, path.split("/")[2::2])))
    with OpenedPacks(served.box.layout, reader, suspects.append) as packs:
        first = await packs.open(one)
        assert first is not None
        whole = served.box.layout.cached(pack).read_bytes()
        served.box.hold_and_evict(pack)
        assert await packs.open(one) == first, "the file that was opened whole stays whole"
    with OpenedPacks(served.box.layout, reader, suspects.append) as packs:
        assert await packs.open(one) is None
        served.box.catalogue.begin_recall(pack)
        served.box.layout.cached(pack).write_bytes(bytes(len(whole)))
        assert await packs.open(one) is None, "a hole is no instance"
        served.box.layout.cached(pack).write_bytes(whole)
        served.box.catalogue.recalled(pack, [one.located.dataset_offset])
        descriptor = await packs.open(one)
        assert descriptor is not None
        assert os.pread(descriptor, one.located.dataset_length, one.located.dataset_offset) == dataset_of(data)
    await reader.close()


@pytest.mark.asyncio
async def test_instances_stream_as_they_arrive_the_ones_that_are_here_first(served: Web) -> None:
    first, path = await stored(served, CT)
    (pack,) = served.box.close_packs()
    second = pydicom.dcmread(BytesIO(first))
    second.SOPInstanceUID = second.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    second.InstanceNumber = 99
    out = BytesIO()
    second.save_as(out)
    served.box.take(out.getvalue())
    served.box.close_packs()
    served.box.hold_and_evict(pack)
    served.edge.away = [pack]
    status, headers, body = await served.get(path.partition("/series/")[0], ANY)
    assert status == 200
    assert {dataset_of(content) for _, content in parts_of(headers, body)} == {dataset_of(first), dataset_of(out.getvalue())}
