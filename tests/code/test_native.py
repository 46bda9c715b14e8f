"""edge.code.native: each transfer syntax that is decoded, against dcmtk and against files that exist in both forms; what is hostile."""

from __future__ import annotations

import asyncio
import os
import random
import re
import struct
import tempfile
import warnings
import zlib
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import data_store
import numpy
import pydicom
import pytest
from imagecodecs import htj2k_encode, jpeg2k_encode
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels import pixel_array

from edge.code.codestream import Undecodable
from edge.code.frame import Shape, decode
from edge.code.jobs import NativeJob
from edge.code.native import write_native
from edge.code.worker import Coder
from edge.dataset.encode import Encoding
from edge.dataset.part10 import read_file_meta
from edge.dataset.source import BytesSource
from edge.dataset.walk import DEFLATED_LE, EXPLICIT_LE, Malformed
from edge.dimse.classes import MADE_NATIVE
from edge.errors import OutpostError, Permanent, StoreFull
from tests.peers.real import by_dcmtk, content

ROOM = 1 << 30
JPEG_LOSSLESS, JPEG_2000, HTJ2K = "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201"
PACKAGES = [Path(pydicom.__file__).parent / "data/test_files", Path(data_store.__file__).parent / "data"]
BY_DCMTK = [
    *("ExplVR_BigEnd.dcm", "MR_small_expb.dcm", "rtdose_expb.dcm", "emri_small_big_endian.dcm", "SC_rgb_small_odd_big_endian.dcm"),
    *("image_dfl.dcm", "liver_expb_1frame.dcm"),
    *("MR_small_RLE.dcm", "SC_rgb_rle_2frame.dcm", "SC_rgb_rle_16bit.dcm", "rtdose_rle.dcm", "emri_small_RLE.dcm"),
    *("MR_small_jpeg_ls_lossless.dcm", "SC_rgb_jls_lossy_line.dcm", "SC_rgb_jls_lossy_sample.dcm", "JPEGLSNearLossless_16.dcm"),
    *(
        "JPGExtended.dcm",
        "SC_rgb_dcmtk_+eb+cr.dcm",
        "SC_rgb_dcmtk_+eb+cy+np.dcm",
        "SC_rgb_dcmtk_+eb+cy+s4.dcm",
        "SC_rgb_small_odd_jpeg.dcm",
    ),
    *("SC_rgb_jpeg_app14_dcmd.dcm", "SC_jpeg_no_color_transform_2.dcm", "JPEG-LL.dcm", "SC_rgb_jpeg_gdcm.dcm", "examples_ybr_color.dcm"),
]
IN_BOTH_FORMS = {
    "693_J2KR.dcm": "693_UNCR.dcm",
    "MR2_J2KI.dcm": "MR2_UNCI.dcm",
    "RG3_J2KR.dcm": "RG3_UNCR.dcm",
    "US1_J2KR.dcm": "US1_UNCR.dcm",
    "emri_small_jpeg_2k_lossless.dcm": "emri_small.dcm",
}
LOSSY = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81"}


class Real(NamedTuple):
    path: Path
    transfer_syntax: str
    dataset: bytes


def real(name: str) -> Real:
    path = next(package / name for package in PACKAGES if (package / name).exists())
    data = path.read_bytes()
    meta = read_file_meta(data)
    return Real(path, meta.transfer_syntax, data[meta.dataset_offset :])


def native(dataset: bytes, transfer_syntax: str, room: int = ROOM) -> bytes:
    made = bytearray()
    assert write_native(BytesSource(dataset), transfer_syntax, made.extend, room) == len(made)
    return bytes(made)


def read(dataset: bytes) -> pydicom.Dataset:
    found = pydicom.filereader.read_dataset(BytesIO(dataset), False, True)
    found.file_meta = pydicom.dataset.FileMetaDataset()
    found.file_meta.TransferSyntaxUID = EXPLICIT_LE
    return found


def image(cells: numpy.ndarray, stream: list[bytes], bits: int, signed: bool = False) -> pydicom.Dataset:
    """A generated image: what of it matters here, and its frames."""
    data = pydicom.Dataset()
    data.Rows, data.Columns = cells.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation, data.NumberOfFrames = 1, "MONOCHROME2", len(stream)
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, bits, bits - 1, int(signed)
    data.PixelData = encapsulate(stream)
    data["PixelData"].is_undefined_length = True
    data["PixelData"].VR = "OB"
    return data


def encoded(data: pydicom.Dataset) -> bytes:
    out = BytesIO()
    data.save_as(out, implicit_vr=False, little_endian=True, enforce_file_format=False)
    return out.getvalue()


@pytest.mark.parametrize("name", BY_DCMTK)
def test_real_instances_come_out_as_dcmtk_decodes_them(name: str) -> None:
    instance = real(name)
    made, expected = native(instance.dataset, instance.transfer_syntax), by_dcmtk(instance.path, instance.transfer_syntax)
    assert content(made, EXPLICIT_LE) == content(expected, EXPLICIT_LE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydicom, about values that are as they arrived
        ours, theirs = read(made), read(expected)
        for keyword in ("PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated", "BitsStored", "LossyImageCompression"):
            assert ours.get(keyword) == theirs.get(keyword), keyword
    if instance.transfer_syntax in LOSSY:
        assert ours.LossyImageCompression == "01"


@pytest.mark.parametrize(("compressed", "plain"), IN_BOTH_FORMS.items())
def test_jpeg_2000_comes_out_as_the_uncompressed_file_of_the_same_pixels(compressed: str, plain: str) -> None:
    instance = real(compressed)
    made, expected = read(native(instance.dataset, instance.transfer_syntax)), read(real(plain).dataset)
    assert (made.PhotometricInterpretation, made.get("PlanarConfiguration")) == (
        expected.PhotometricInterpretation,
        expected.get("PlanarConfiguration"),
    )
    assert numpy.array_equal(pixel_array(made, raw=True), pixel_array(expected, raw=True))


def test_negative_cells_have_their_sign_in_every_bit_above() -> None:
    cells = numpy.arange(-2048, 2048, dtype="<i2").reshape(64, 64)
    stream = jpeg2k_encode((cells & 0xFFF).astype("<u2"), reversible=True, codecformat="j2k", bitspersample=12)
    made = read(native(encoded(image(cells, [bytes(stream)], 12, signed=True)), JPEG_2000))
    assert made.PixelData == cells.tobytes()


def test_high_throughput_jpeg_2000_is_decoded_too() -> None:
    cells = numpy.arange(4096, dtype="<u2").reshape(64, 64)
    made = read(native(encoded(image(cells, [bytes(htj2k_encode(cells, reversible=True))], 16)), HTJ2K))
    assert made.PixelData == cells.tobytes()
    assert "LossyImageCompression" not in made


def test_what_describes_the_encapsulation_goes_and_what_lies_around_stays() -> None:
    cells = numpy.arange(128, dtype="<u2").reshape(2, 8, 8)
    frames = [bytes(jpeg2k_encode(frame, reversible=True, codecformat="j2k")) for frame in cells]
    data = image(cells, frames, 16)
    data.PixelData, data.ExtendedOffsetTable, data.ExtendedOffsetTableLengths = encapsulate_extended(frames)
    data["PixelData"].is_undefined_length = True
    data.add_new(0x00280000, "UL", 4)
    data.add_new(0xFFFCFFFC, "OB", b"\0\0")
    data.PatientName = "A^B"
    made = read(native(encoded(data), JPEG_2000))
    assert made.PixelData == cells.tobytes()
    assert made["PixelData"].VR == "OW"
    expected = {*data.keys()} - {0x00280000, 0x7FE00001, 0x7FE00002}
    assert {*made.keys()} == expected


def test_an_icon_is_decoded_too() -> None:
    cells = numpy.arange(64, dtype="<u2").reshape(8, 8)
    stream = [bytes(jpeg2k_encode(cells, reversible=True, codecformat="j2k"))]
    data = image(cells, stream, 16)
    data.IconImageSequence = [image(cells, stream, 16)]
    made = read(native(encoded(data), JPEG_2000))
    assert made.IconImageSequence[0].PixelData == made.PixelData == cells.tobytes()


def test_a_dataset_without_pixels_stays_as_it_is() -> None:
    data = pydicom.Dataset()
    data.PatientName = "A^B"
    assert native(encoded(data), JPEG_2000) == encoded(data)


def test_what_cannot_be_had_is_named() -> None:
    cells = numpy.zeros((8, 8), "<u2")
    good = bytes(jpeg2k_encode(cells, reversible=True, codecformat="j2k"))
    other = image(cells, [good], 16)
    other.Rows = 9
    plain = image(cells, [good], 16)
    plain.PixelData = bytes(128)
    plain["PixelData"].is_undefined_length = False
    for data, syntax in (
        (other, JPEG_2000),
        (plain, JPEG_2000),
        (image(cells, [good], 16), JPEG_LOSSLESS),
        (image(cells, [b"ab"], 16), HTJ2K),
    ):
        with pytest.raises((Undecodable, Malformed)):
            native(encoded(data), syntax)
    with pytest.raises(Undecodable, match="not decoded"):
        native(encoded(image(cells, [good], 16)), "1.2.840.10008.1.2.4.100")
    assert "1.2.840.10008.1.2.4.100" not in MADE_NATIVE


def test_a_frame_that_says_it_is_enormous_reaches_no_decoder() -> None:
    with pytest.raises(Undecodable, match="bytes"):
        decode(b"\xff\xd8", JPEG_LOSSLESS, Shape(65535, 65535, 1, 16, False, "MONOCHROME2"))


def test_no_more_is_written_than_there_is_room_for() -> None:
    instance = real("SC_rgb_rle_2frame.dcm")
    with pytest.raises(StoreFull):
        native(instance.dataset, instance.transfer_syntax, 4096)
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    header = Encoding.of(EXPLICIT_LE).header(0x00420011, "OB", 64 << 20)
    with pytest.raises(StoreFull):
        native(bomb.compress(header + bytes(64 << 20)) + bomb.flush(), DEFLATED_LE, 1 << 20)
    cells = numpy.zeros((8, 8), "<u2")
    stream = bytes(jpeg2k_encode(cells, reversible=True, codecformat="j2k"))
    with pytest.raises((Permanent, Malformed, OutpostError)):
        native(encoded(image(cells, [stream], 16)).replace(struct.pack("<H", 8) + b"\x28\0\x11", b"\xff\xff\x28\0\x11"), JPEG_2000)


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_a_deflate_stream_that_ends_early_is_not_sent_as_if_it_were_whole(cut: int) -> None:
    instance = real("image_dfl.dcm")
    with pytest.raises(Malformed):
        native(instance.dataset[:cut] if cut < 2 else instance.dataset[:-cut], DEFLATED_LE)


@pytest.mark.asyncio
async def test_the_largest_frames_take_a_worker_less_than_300_mib_one_after_the_other() -> None:
    """Six hundred bytes each, which say 30 million cells."""
    stream = bytes(jpeg2k_encode(numpy.zeros((6000, 5000), "<u2"), reversible=True, codecformat="j2k"))
    dataset = encoded(image(numpy.zeros((6000, 5000), "<u2"), [stream] * 3, 16))
    assert len(dataset) < 4096
    coder = Coder(memory_bytes=640 << 20)
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as target:
        source.write(dataset)
        source.flush()
        job = NativeJob(pack="a", dataset_offset=0, dataset_length=len(dataset), transfer_syntax=JPEG_2000, at_most_bytes=ROOM)
        assert await coder.native(job, (source.fileno(), target.fileno())) > 180_000_000
    assert coder._process is not None
    most = re.search(r"VmHWM:\s+([0-9]+) kB", Path(f"/proc/{coder._process.pid}/status").read_text())
    await coder.close()
    assert most is not None
    assert int(most[1]) < 300 << 10


@pytest.mark.asyncio
async def test_a_hostile_codestream_ends_at_most_its_worker() -> None:
    chance = random.Random(7)
    coder = Coder(memory_bytes=1 << 30, cpu_seconds=20, job_seconds=60)
    jpeg_2000, jpeg = ("693_J2KR.dcm", "MR_small_jp2klossless.dcm"), ("SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_jpeg_gdcm.dcm")
    for name in (*jpeg_2000, *jpeg, "MR_small_RLE.dcm", "MR_small_jpeg_ls_lossless.dcm"):
        instance = real(name)
        begin = instance.dataset.rindex(b"\xe0\x7f\x10\x00O") + 20
        for _ in range(6):
            dataset = bytearray(instance.dataset)
            for place in chance.sample(range(begin, len(dataset)), 12):
                dataset[place] = chance.randrange(256)
            with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as target:
                source.write(dataset)
                source.flush()
                job = NativeJob(
                    pack=name,
                    dataset_offset=0,
                    dataset_length=len(dataset),
                    transfer_syntax=instance.transfer_syntax,
                    at_most_bytes=ROOM,
                )
                answer = (await asyncio.gather(coder.native(job, (source.fileno(), target.fileno())), return_exceptions=True))[0]
                assert isinstance(answer, OutpostError) or os.fstat(target.fileno()).st_size == answer
    await coder.close()
