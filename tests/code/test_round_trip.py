"""Cached pack -> head and parts -> cached pack: real instances come back byte for byte, and archive copies are DICOM."""

from __future__ import annotations

import dataclasses
import os
import random
import struct
import subprocess
import time
from collections import Counter, defaultdict
from pathlib import Path

import msgspec
import numpy
import pydicom
import pytest
import zstandard

from edge.code.coder import code
from edge.code.decoder import finish, restore
from edge.code.jobs import CodedPack, CodeJob, DecodeJob
from edge.code.manifest import Head, covering, read_head
from edge.dataset.walk import EXPLICIT_BE
from edge.model import UID
from tests.code.corpus import others
from tests.code.packs import Instance, close_pack, element, generated, phantom, real_instances, tool


def decode_job(job: CodeJob, target: Path, numbers: list[int] | None = None, members: list[int] | None = None) -> DecodeJob:
    directory = Path(job.target_dir)
    every = [int(name) for name in os.listdir(directory) if name != "000000"]
    return DecodeJob(
        pack=job.pack,
        head_path=str(directory / "000000"),
        parts={number: str(directory / f"{number:06d}") for number in (every if numbers is None else numbers)},
        target_path=str(target),
        members=members,
    )


def head_of(job: CodeJob) -> Head:
    return read_head((Path(job.target_dir) / "000000").read_bytes())


def assert_comes_back(job: CodeJob, target: Path) -> None:
    restored = restore(decode_job(job, target))
    assert [member.digest_ok for member in restored] == [True] * len(job.members)
    assert finish(head_of(job).manifest, target)
    assert target.read_bytes() == Path(job.pack_path).read_bytes()


def test_every_real_instance_comes_back_byte_for_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    instances, _ = real_instances()
    counts = assert_all_come_back(tmp_path, instances, capsys)
    assert len(instances) > 150
    assert counts["1.2.840.10008.1.2", "jpegls"] >= 3
    assert counts["1.2.840.10008.1.2.1", "jpegls"] >= 40


def test_every_instance_of_packages_for_other_languages_and_purposes_comes_back_byte_for_byte(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    instances = list({instance.digest: instance for instance in others()}.values())
    counts = assert_all_come_back(tmp_path, instances, capsys)
    assert len(instances) > 30
    assert counts["1.2.840.10008.1.2.1", "jpegls"] >= 15


def assert_all_come_back(tmp_path: Path, instances: list[Instance], capsys: pytest.CaptureFixture[str]) -> Counter[tuple[str, str]]:
    """A pack for each study, coded and restored; how many instances of which transfer syntax were coded as what."""
    studies: defaultdict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        studies[instance.identity.study].append(instance)
    counts: Counter[tuple[str, str]] = Counter()
    raw = coded = 0
    for number, study in enumerate(studies.values()):
        place = tmp_path / str(number)
        place.mkdir()
        job = close_pack(place, study)
        pack = code(job)
        assert_comes_back(job, place / "back.tar")
        raw, coded = raw + pack.raw_bytes, coded + pack.coded_bytes
        if len(pack.parts) == 2:
            plain = len(zstandard.ZstdCompressor(level=3).compress(Path(job.pack_path).read_bytes()))
            assert pack.parts[1].bytes <= 1.02 * plain, f"{study[0].label}: small, and its part is larger than zstd makes it"
        codings = {member.digest: member.coding for member in pack.members}
        counts.update((instance.transfer_syntax, codings[instance.digest]) for instance in study)
    with capsys.disabled():
        print(f"\n{len(instances)} real instances in {len(studies)} packs: {raw} -> {coded} bytes")
        for (syntax, coding), count in sorted(counts.items()):
            print(f"  {pydicom.uid.UID(syntax).name:60} {coding:9} {count:4}")
    return counts


def gradient(dtype: str, top: int, shape: tuple[int, ...] = (64, 48)) -> numpy.ndarray:
    """Generated: smooth, with noise, so that JPEG-LS wins over zstd."""
    ramp = numpy.add.outer(numpy.arange(shape[0]), numpy.arange(shape[1])) / (shape[0] + shape[1])
    noise = numpy.random.default_rng(2).normal(0, top / 64, shape)
    return numpy.clip(ramp.reshape(shape[0], shape[1], *[1] * (len(shape) - 2)) * top * 0.8 + noise + top / 16, 0, top).astype(dtype)


MONO16 = gradient("<u2", 4095)
SIGNED = (MONO16.astype("<i2") - 2000).view("<u2")
MONO8 = gradient("u1", 255)
RGB = gradient("u1", 255, (64, 48, 3))
NESTED = element(
    0x00400275, "SQ", b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + element(0x00400007, "LO", b"x", True) + b"\xfe\xff\x0d\xe0\0\0\0\0", True
)
BIG_NESTED = (
    element(0x00400275, "SQ", b"", big=True)[:-4]
    + b"\xff\xff\xff\xff"
    + b"\xff\xfe\xe0\x00\xff\xff\xff\xff"
    + element(0x00280010, "US", b"\1\2", big=True)
    + element(0x00720026, "AT", b"\x00\x28\x00\x10", big=True)
    + b"\xff\xfe\xe0\x0d\0\0\0\0"
    + b"\xff\xfe\xe0\xdd\0\0\0\0"
)

CODED = {
    "12 of 16 bits": generated(MONO16, stored=12),
    "16 of 16 bits": generated(MONO16),
    "8 of 16 bits": generated(MONO8.astype("<u2"), stored=8),
    "signed, 13 of 16 bits": generated(SIGNED, stored=13, signed=True),
    "signed, implicit": generated(SIGNED, signed=True, implicit=True),
    "overlay in the high bits": generated(MONO16 | 0x8000, stored=12),
    "pixels in the high bits": generated(MONO16 << 4, stored=12, high_bit=15),
    "8 bits": generated(MONO8),
    "6 of 8 bits": generated(MONO8 >> 2, stored=6),
    "8 bits, odd length": generated(MONO8[:63, :47].copy()),
    "odd length, padded": generated(MONO8[:63, :47].copy(), padding=b"\x07"),
    "long padding": generated(MONO16, padding=bytes(range(256)) * 4),
    "RGB": generated(RGB),
    "RGB, implicit": generated(RGB, implicit=True),
    "YBR_FULL": generated(RGB, photometric="YBR_FULL"),
    "PALETTE COLOR": generated(MONO8, photometric="PALETTE COLOR"),
    "MONOCHROME1": generated(MONO8, photometric="MONOCHROME1"),
    "multi-frame": generated(numpy.stack([MONO16, MONO16[::-1], MONO16 // 2]), frames=3, stored=12),
    "multi-frame, 8 bits, odd": generated(numpy.stack([MONO8[:63, :47], 255 - MONO8[1:, 1:], MONO8[1:, :47]]), frames=3, padding=b"\0"),
    "multi-frame RGB": generated(numpy.stack([RGB, 255 - RGB[:, ::-1]]), frames=2),
    "trailing elements": generated(MONO16, stored=12, after=element(0xFFFCFFFC, "OB", bytes(30))),
    "a group length": generated(MONO16, stored=12, before=element(0x7FE00000, "UL", b"\1\2\3\4")),
    "implicit, sequence, private, unknown": generated(
        MONO16,
        implicit=True,
        before=NESTED
        + element(0x00410010, "LO", b"SOMEBODY", True)
        + element(0x00411001, "LO", b"mine", True)
        + NESTED.replace(b"\x40\x00\x75\x02", b"\x42\x00\x77\x77", 1),
    ),
}

CODED |= {
    "big endian": generated(MONO16, big=True, stored=12),
    "big endian, signed": generated(SIGNED, big=True, signed=True),
    "big endian, 8 bits": generated(MONO8, big=True),
    "big endian, 8 bits in words": generated(MONO8, big=True, pixel_vr="OW"),
    "big endian, 8 bits, odd length, padded": generated(MONO8[:63, :47].copy(), big=True, padding=b"\x07"),
    "big endian, long padding": generated(MONO16, big=True, padding=bytes(range(256)) * 4),
    "big endian, RGB": generated(RGB, big=True, pixel_vr="OW"),
    "big endian, multi-frame": generated(numpy.stack([MONO16, MONO16[::-1], MONO16 // 2]), big=True, frames=3, stored=12),
    "big endian, sequence, private, words, group length, trailing elements": generated(
        MONO16,
        big=True,
        stored=12,
        before=BIG_NESTED
        + element(0x00410010, "LO", b"SOMEBODY", big=True)
        + element(0x00411001, "UN", b"mine", big=True)
        + element(0x00411002, "OW", b"\1\2\3\4", big=True)
        + element(0x00411003, "FD", struct.pack(">d", 1.5), big=True)
        + element(0x7FE00000, "UL", b"\4\3\2\1", big=True),
        after=element(0xFFFCFFFC, "OB", bytes(30), big=True),
    ),
}

VERBATIM = {
    "big endian, 16 bits in OB": generated(MONO16, big=True, pixel_vr="OB"),
    "big endian, a word in two frames": generated(numpy.stack([MONO8[:63, :47], 255 - MONO8[1:, 1:]]), big=True, frames=2, pixel_vr="OW"),
    "big endian, a sequence of nobody's": generated(
        MONO16, big=True, before=BIG_NESTED.replace(b"SQ", b"UN", 1).replace(b"\xff\xfe\xe0\x00", b"\xfe\xff\x00\xe0", 1)
    ),
    "planar RGB": generated(RGB, planar=1),
    "noise": generated(numpy.random.default_rng(3).integers(0, 65536, (64, 48)).astype("<u2")),
    "zeros": generated(numpy.zeros((64, 64), "<u2")),
    "32 bits": generated(MONO16.astype("<u4")),
    "too few pixels": generated(MONO16, before=element(0x00280010, "US", b"\x41\0")),
    "a second long value": generated(MONO16, after=element(0xFFFCFFFC, "OB", bytes(17000))),
    "cut off": Instance(generated(MONO16).identity, "1.2.840.10008.1.2.1", generated(MONO16).dataset[:-5]),
    "bytes behind the last element": generated(MONO16, after=b"\0\0\0\0\0"),
    "unknown transfer syntax": Instance(generated(MONO16).identity, "1.2.3", generated(MONO16).dataset),
    "no pixels": Instance(generated(MONO16).identity, "1.2.840.10008.1.2.1", generated(MONO16).dataset.partition(b"\xe0\x7f\x10\0")[0]),
}


@pytest.mark.parametrize("instance", CODED.values(), ids=CODED.keys())
def test_native_pixels_are_coded_and_come_back_byte_for_byte(tmp_path: Path, instance: Instance) -> None:
    job = close_pack(tmp_path, [instance])
    assert [member.coding for member in code(job).members] == ["jpegls"]
    assert_comes_back(job, tmp_path / "back.tar")


@pytest.mark.parametrize("instance", VERBATIM.values(), ids=VERBATIM.keys())
def test_what_jpeg_ls_is_not_for_stays_verbatim_and_comes_back(tmp_path: Path, instance: Instance) -> None:
    job = close_pack(tmp_path, [instance])
    assert [member.coding for member in code(job).members] == ["verbatim"]
    assert_comes_back(job, tmp_path / "back.tar")


def unpack(job: CodeJob, place: Path) -> list[Path]:
    """By hand: cat, zstd, tar."""
    place.mkdir()
    script = 'cat 0*[1-9]* | "$1" -dcq | "$2" -x -C "$0"'
    done = subprocess.run(["sh", "-c", script, str(place), tool("zstd"), tool("tar")], cwd=job.target_dir, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return [place / member.series / member.name for member in head_of(job).manifest.members]


def little_endian(job: CodeJob, place: Path) -> pydicom.Dataset:
    """The one member of a pack as it arrived, which dcmtk turned into Explicit VR Little Endian."""
    (member,) = head_of(job).manifest.members
    arrived, turned = place / "arrived.dcm", place / "turned.dcm"
    arrived.write_bytes(Path(job.pack_path).read_bytes()[member.content_offset :][: member.content_length])
    subprocess.run([tool("dcmconv"), "+te", arrived, turned], check=True)
    return pydicom.dcmread(turned)


@pytest.mark.parametrize(
    "instance", [each for each in CODED.values() if each.transfer_syntax == EXPLICIT_BE], ids=lambda each: each.digest[:8]
)
def test_what_arrived_big_endian_says_the_same_in_its_coded_member(tmp_path: Path, instance: Instance) -> None:
    job = close_pack(tmp_path, [instance])
    code(job)
    (path,) = unpack(job, tmp_path / "out")
    coded, original = pydicom.dcmread(path), little_endian(job, tmp_path)
    del coded.PixelData, original.PixelData
    assert [element for element in coded if element.tag.element] == [element for element in original if element.tag.element]


@pytest.mark.parametrize("instance", CODED.values(), ids=CODED.keys())
def test_dcmtk_and_pydicom_open_a_coded_member_and_see_the_same_cells(tmp_path: Path, instance: Instance) -> None:
    job = close_pack(tmp_path, [instance])
    code(job)
    (path,) = unpack(job, tmp_path / "out")
    dump = subprocess.run([tool("dcmdump"), path], capture_output=True, text=True)
    assert (dump.returncode, dump.stderr) == (0, "")
    assert "JPEGLSLossless" in dump.stdout
    subprocess.run([tool("dcmdjpls"), path, tmp_path / "plain.dcm"], check=True)
    native = head_of(job).manifest.members[0].pixels
    assert native
    size = native.frames * native.frame_bytes
    original = little_endian(job, tmp_path)
    cells = bytes(original.PixelData)[:size]
    decoded = pydicom.dcmread(tmp_path / "plain.dcm")
    assert bytes(decoded.PixelData)[:size] == cells
    coded = pydicom.dcmread(path)
    coded.pixel_array_options(raw=True)
    assert coded.pixel_array.tobytes() == cells


def test_parts_open_by_hand_and_verbatim_members_are_the_cached_files(tmp_path: Path) -> None:
    instances, _ = real_instances()
    study = [instance for instance in instances if instance.identity.study == instances[0].identity.study]
    study += [instance for instance in instances if instance.transfer_syntax == "1.2.840.10008.1.2.4.90"][:1]
    job = close_pack(tmp_path, study)
    code(job)
    cached = Path(job.pack_path).read_bytes()
    for path, member in zip(unpack(job, tmp_path / "out"), head_of(job).manifest.members, strict=True):
        assert path.stat().st_mtime == member.received
        if member.coding == "verbatim":
            assert path.read_bytes() == cached[member.content_offset :][: member.content_length]


def test_parts_end_at_member_boundaries_and_only_longer_members_are_cut(tmp_path: Path) -> None:
    part_bytes = 128 << 10
    long = generated(numpy.random.default_rng(4).integers(0, 65536, (700, 700)).astype("<u2"), number=99)
    job = close_pack(tmp_path, [*phantom(12, size=128), long], part_bytes)
    code(job)
    manifest = head_of(job).manifest
    begins = {member.coded_header_offset for member in manifest.members}
    cut = manifest.members[-1]
    for part in manifest.parts[1:]:
        assert part.tar_offset in begins or cut.coded_data_offset < part.tar_offset < manifest.coded_bytes
    assert all(part_bytes <= part.bytes < 3 * part_bytes for part in manifest.parts[:-1])
    assert len(covering(manifest, [len(manifest.members) - 1])) > 4
    assert_comes_back(job, tmp_path / "back.tar")


def test_one_part_restores_the_members_that_it_covers_and_no_others(tmp_path: Path) -> None:
    job = close_pack(tmp_path, phantom(24, size=128), 64 << 10)
    code(job)
    manifest = head_of(job).manifest
    assert len(manifest.parts) > 2
    target = tmp_path / "back.tar"
    cached = Path(job.pack_path).read_bytes()
    seen: list[int] = []
    for part in reversed(manifest.parts):
        restored = restore(decode_job(job, target, [part.number]))
        assert all(member.digest_ok for member in restored)
        assert [member.index for member in restored] == [
            index for index in range(len(manifest.members)) if covering(manifest, [index]) == [part.number]
        ]
        for member in (manifest.members[found.index] for found in restored):
            begin, end = member.header_offset, member.content_offset + member.content_length
            assert target.read_bytes()[begin:end] == cached[begin:end]
        assert finish(manifest, target) == (part.number == 1)
        seen += [member.index for member in restored]
    assert sorted(seen) == list(range(len(manifest.members)))
    assert target.read_bytes() == cached
    assert restore(decode_job(job, target, members=[3]))[0].index == 3


def test_the_same_pack_is_coded_into_the_same_bytes_over_a_killed_attempt(tmp_path: Path) -> None:
    job = close_pack(tmp_path, phantom(3, size=64))
    first = code(job)
    (Path(job.target_dir) / "000007").write_bytes(b"left by a killed attempt")
    assert code(job) == first
    assert sorted(os.listdir(job.target_dir)) == [f"{part.number:06d}" for part in first.parts]


def test_datasets_with_random_faults_come_back_byte_for_byte(tmp_path: Path) -> None:
    draw = random.Random(5)
    sound = [CODED["12 of 16 bits"], CODED["implicit, sequence, private, unknown"]]
    sound += [instance for instance in real_instances()[0] if len(instance.dataset) < 20_000]
    faulty: dict[str, Instance] = {}
    for number in range(400):
        instance = draw.choice(sound)
        dataset = bytearray(instance.dataset)
        for _ in range(draw.choice((1, 1, 2, 5))):
            dataset[draw.randrange(min(len(dataset), 1500))] = draw.choice((0, 1, 255, draw.randrange(256)))
        del dataset[draw.choice((len(dataset), len(dataset), draw.randrange(1, len(dataset)))) :]
        identity = dataclasses.replace(CODED["8 bits"].identity, sop_instance=UID(f"1.2.{number}"))
        changed = Instance(identity, instance.transfer_syntax, bytes(dataset))
        faulty[changed.digest] = changed
    job = close_pack(tmp_path, list(faulty.values()))
    assert {member.coding for member in code(job).members} == {"jpegls", "verbatim"}
    assert_comes_back(job, tmp_path / "back.tar")


def test_a_pack_can_be_coded_without_touching_a_pixel(tmp_path: Path) -> None:
    job = msgspec.structs.replace(close_pack(tmp_path, phantom(2, size=64)), verbatim=True)
    assert {member.coding for member in code(job).members} == {"verbatim"}
    assert_comes_back(job, tmp_path / "back.tar")


def test_members_lie_series_by_series_in_the_order_of_their_instance_numbers(tmp_path: Path) -> None:
    job = close_pack(tmp_path, list(reversed(phantom(4, size=32))))
    assert [member.sop_instance for member in code(job).members] == ["1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3", "1.2.3.4.4"]
    assert_comes_back(job, tmp_path / "back.tar")


def test_a_phantom_is_coded_smaller_than_zstd_and_the_speed_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = close_pack(tmp_path, phantom(int(os.environ.get("OUTPOST_PHANTOM_SLICES", "12"))))
    begin = time.perf_counter()
    pack: CodedPack = code(job)
    coded = time.perf_counter()
    restore(decode_job(job, tmp_path / "back.tar"))
    decoded = time.perf_counter()
    megabytes = pack.raw_bytes / 1e6
    with capsys.disabled():
        print(
            f"\nphantom of {len(job.members)} slices: {pack.coded_bytes / pack.raw_bytes:.1%} of {megabytes:.0f} MB,"
            f" code {megabytes / (coded - begin):.0f} MB/s, restore {megabytes / (decoded - coded):.0f} MB/s"
        )
    assert {member.coding for member in pack.members} == {"jpegls"}
    assert pack.coded_bytes < 0.3 * pack.raw_bytes
