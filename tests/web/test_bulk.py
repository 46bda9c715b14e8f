"""WADO-RS frames and bulk data: the bytes that pydicom finds, whatever the encoding."""

from __future__ import annotations

import json
import struct
from io import BytesIO

import pydicom
import pytest
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from edge.dataset.frames import locate
from edge.dataset.source import BytesSource
from edge.dataset.walk import Malformed
from edge.errors import OutpostError
from tests.web.box import (
    BIG,
    BITS,
    CT,
    DEFLATED,
    IMPLICIT,
    JPEG_2000,
    MULTIFRAME,
    REPORT,
    RLE,
    Web,
    dataset_of,
    parts_of,
    path_of,
    sample,
    stored,
)

ANY = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'


@pytest.mark.asyncio
@pytest.mark.parametrize("name", [CT, IMPLICIT, BIG, RLE, JPEG_2000, MULTIFRAME, DEFLATED])
async def test_frames_are_the_bytes_that_pydicom_finds_and_name_their_syntax(served: Web, name: str) -> None:
    data, path = await stored(served, name)
    real = pydicom.dcmread(BytesIO(data))
    count = int(real.get("NumberOfFrames", 1))
    syntax = real.file_meta.TransferSyntaxUID
    if syntax.is_compressed and not syntax.is_deflated:
        expected = list(generate_frames(real.PixelData, number_of_frames=count))
    else:
        size = len(real.PixelData) // count
        expected = [real.PixelData[place * size : (place + 1) * size] for place in range(count)]
        syntax = ExplicitVRLittleEndian if name != BIG else syntax
    numbers = ",".join(str(number) for number in range(count, 0, -1))
    status, headers, body = await served.get(f"{path}/frames/{numbers}", ANY)
    assert status == 200, body
    found = parts_of(headers, body)
    assert [content for _, content in found] == expected[::-1]
    assert {fields["Content-Type"] for fields, _ in found} == {f"application/octet-stream; transfer-syntax={syntax}"}
    assert found[0][0]["Content-Location"] == f"{served.address}{path}/frames/{count}"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "accept", "expected"),
    [
        (CT, None, "multipart/related"),
        (CT, "application/octet-stream", "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"),
        (IMPLICIT, 'multipart/related; type="application/octet-stream"', "multipart/related"),
        (BIG, "application/octet-stream", None),
        (RLE, "application/octet-stream", None),
        (RLE, "application/octet-stream; transfer-syntax=*", "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.5"),
        (RLE, "image/dicom-rle", "image/dicom-rle; transfer-syntax=1.2.840.10008.1.2.5"),
        (RLE, "image/jpeg", None),
        (JPEG_2000, 'multipart/related; type="image/jp2"', "multipart/related"),
        (JPEG_2000, 'multipart/related; type="image/jp2"; transfer-syntax=1.2.840.10008.1.2.4.90', None),
        (CT, "image/jp2", None),
        (CT, "text/html", None),
    ],
)
async def test_what_is_acceptable_decides_the_form_of_frames(served: Web, name: str, accept: str | None, expected: str | None) -> None:
    _, path = await stored(served, name)
    status, headers, body = await served.get(path + "/frames/1", accept)
    if expected is None:
        assert status == 406
        return
    assert status == 200, body
    assert headers["Content-Type"].startswith(expected)


@pytest.mark.asyncio
async def test_frames_that_do_not_exist_are_404_and_lists_that_are_none_400(served: Web) -> None:
    _, path = await stored(served, CT)
    for missing in ("2", "1,2", "999999999"):
        assert (await served.get(f"{path}/frames/{missing}", ANY))[0] == 404
    for broken in ("0", "x", "1,,2", "-1", "1-2", "1,"):
        assert (await served.get(f"{path}/frames/{broken}", ANY))[0] == 400
    assert (await served.get(f"{path}/frames/1,1", "application/octet-stream"))[0] == 406


@pytest.mark.asyncio
async def test_an_instance_without_pixels_has_no_frames(served: Web) -> None:
    _, path = await stored(served, REPORT)
    status, _, body = await served.get(path + "/frames/1", ANY)
    assert (status, body) == (404, b"This instance has no Pixel Data.\n")


@pytest.mark.asyncio
async def test_a_frame_of_single_bits_is_moved_to_its_first_bit(served: Web) -> None:
    data = pydicom.dcmread(BytesIO(sample(BITS)))
    data.Rows, data.Columns, data.NumberOfFrames = 3, 3, 3
    data.PixelData = bytes([0b10101010, 0b11001100, 0b11110000, 0b00000111])
    out = BytesIO()
    data.save_as(out)
    served.box.take(out.getvalue())
    path = await path_of(served, data.SOPInstanceUID)
    _, headers, body = await served.get(path + "/frames/1,2,3", ANY)
    bits = int.from_bytes(data.PixelData, "little")
    expected = [(bits >> 9 * place & 0x1FF).to_bytes(2, "little") for place in range(3)]
    assert [content for _, content in parts_of(headers, body)] == expected


def _encapsulated(value: bytes, frames: int, tables: bytes = b"") -> BytesSource:
    """A dataset with Number of Frames, offset tables, and encapsulated Pixel Data."""
    count = str(frames).encode().ljust(4)
    head = struct.pack("<HH2sH", 0x28, 8, b"IS", len(count)) + count
    return BytesSource(head + tables + struct.pack("<HH2sHL", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF) + value + b"\xfe\xff\xdd\xe0\0\0\0\0")


def _bytes(source: BytesSource) -> list[bytes]:
    frames = locate(source, RLELossless)
    assert frames is not None
    return [b"".join(bytes(source.read(*one)) for one in frames.at(index).ranges) for index in range(frames.count)]


FRAMES = [b"\xff\xd8" + bytes([number]) * (2 * number) for number in range(20, 23)]


@pytest.mark.parametrize("fragments", [1, 3])
@pytest.mark.parametrize("table", [True, False])
def test_fragments_are_joined_to_frames_by_the_basic_offset_table_or_by_their_codestreams(fragments: int, table: bool) -> None:
    value = encapsulate(FRAMES, fragments_per_frame=fragments, has_bot=table)
    assert _bytes(_encapsulated(value, 3)) == [b"".join(generate_frames(encapsulate([one]), number_of_frames=1)) for one in FRAMES]


def test_fragments_are_joined_to_frames_by_the_extended_offset_table() -> None:
    value, offsets, lengths = encapsulate_extended(FRAMES)
    tables = b"".join(
        struct.pack("<HH2sHL", 0x7FE0, number, b"OV", 0, len(table)) + table for number, table in ((1, offsets), (2, lengths))
    )
    assert _bytes(_encapsulated(value, 3, tables)) == FRAMES


@pytest.mark.parametrize(
    "source",
    [
        _encapsulated(b"", 1),
        _encapsulated(b"\xfe\xff\x00\xe0\xff\xff\xff\xff", 1),
        _encapsulated(b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\xff\xff\xff\x7f", 1),
        _encapsulated(b"\xfe\xff\x00\xe0\x08\0\0\0" + struct.pack("<LL", 0, 7) + b"\xfe\xff\x00\xe0\x02\0\0\0ab" * 3, 2),
        _encapsulated(b"\xfe\xff\x00\xe0\0\0\0\0" + b"\xfe\xff\x00\xe0\x02\0\0\0ab" * 3, 2),
        _encapsulated(encapsulate(FRAMES), 10**9),
        BytesSource(struct.pack("<HH2sHL", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF)),
    ],
)
def test_pixel_data_that_contradicts_itself_is_named_so(source: BytesSource) -> None:
    with pytest.raises((Malformed, OutpostError)):
        locate(source, RLELossless)


@pytest.mark.asyncio
async def test_every_address_of_bulk_data_in_the_metadata_leads_to_the_bytes(served: Web) -> None:
    data = pydicom.dcmread(BytesIO(sample(CT)))
    data.add_new(0x00091010, "OB", bytes(range(256)) * 8)
    item = pydicom.Dataset()
    item.add_new(0x00091011, "OW", b"ab" * 4000)
    data.RequestAttributesSequence = [pydicom.Dataset(), item]
    out = BytesIO()
    data.save_as(out)
    served.box.take(out.getvalue())
    path = await path_of(served, data.SOPInstanceUID)
    _, _, body = await served.get(path + "/metadata")
    (found,) = json.loads(body)
    nested = found["00400275"]["Value"][1]["00091011"]["BulkDataURI"]
    for address, value in (
        (found["7FE00010"]["BulkDataURI"], data.PixelData),
        (found["00091010"]["BulkDataURI"], bytes(range(256)) * 8),
        (nested, b"ab" * 4000),
    ):
        status, headers, body = await served.get(address.removeprefix(served.address))
        assert status == 200
        assert [content for _, content in parts_of(headers, body)] == [value]
        assert (await served.get(address.removeprefix(served.address), "application/octet-stream"))[2] == value
    assert nested.endswith("/bulkdata/00400275/2/00091011")


@pytest.mark.asyncio
async def test_bulk_data_of_encapsulated_pixels_is_its_frames(served: Web) -> None:
    data, path = await stored(served, RLE)
    _, headers, body = await served.get(path + "/bulkdata/7FE00010", ANY)
    real = pydicom.dcmread(BytesIO(data))
    assert [content for _, content in parts_of(headers, body)] == list(generate_frames(real.PixelData, number_of_frames=1))


@pytest.mark.asyncio
async def test_big_endian_words_come_as_little_endian_bulk_data(served: Web) -> None:
    data, path = await stored(served, BIG)
    _, _, body = await served.get(path + "/bulkdata/7FE00010", "application/octet-stream")
    stored_words = pydicom.dcmread(BytesIO(data)).PixelData
    assert struct.unpack(f"<{len(body) // 2}H", body) == struct.unpack(f">{len(stored_words) // 2}H", stored_words)
    assert body != stored_words
    assert dataset_of(data).endswith(stored_words)


@pytest.mark.asyncio
async def test_bulk_data_that_no_metadata_names_is_404_or_400(served: Web) -> None:
    _, path = await stored(served, CT)
    for missing in ("00091099", "00400275/1/00091011", "00100010/1/00100010", "00280010/999999/00280010"):
        assert (await served.get(f"{path}/bulkdata/{missing}"))[0] == 404
    for broken in ("7fe00010", "x", "7FE00010/1", "7FE00010/x/7FE00010", "7FE00010/../7FE00010x", "..%2f..%2fweb.token"):
        assert (await served.get(f"{path}/bulkdata/{broken}"))[0] == 400
