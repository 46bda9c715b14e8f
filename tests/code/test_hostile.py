"""Heads and parts that the coder never made: each is refused by name, within bounds, and nothing wrong is written as good."""

from __future__ import annotations

import hashlib
import os
import random
import struct
from pathlib import Path

import msgspec
import numpy
import pytest
import zstandard

from edge import tarblock
from edge.code.coder import RottenPack, code, read_exactly
from edge.code.decoder import restore
from edge.code.jobs import CodeJob, DecodeJob
from edge.code.manifest import Head, Manifest, inflate, read_head, write_head
from edge.code.outline import ELEMENTS_MAX, outline
from edge.errors import Corrupt, Permanent
from edge.wall import Trespass
from tests.code.packs import close_pack, generated, phantom

replace = msgspec.structs.replace


@pytest.fixture
def job(tmp_path: Path) -> CodeJob:
    job = close_pack(tmp_path, phantom(12, size=128), 32 << 10)
    code(job)
    return job


def head_of(job: CodeJob) -> Head:
    return read_head((Path(job.target_dir) / "000000").read_bytes())


def decode_job(job: CodeJob) -> DecodeJob:
    directory = Path(job.target_dir)
    return DecodeJob(
        pack=job.pack,
        head_path=str(directory / "000000"),
        parts={int(name): str(directory / name) for name in os.listdir(directory) if name.isdecimal() and name != "000000"},
        target_path=str(directory.parent / "back.tar"),
    )


def change_part(job: CodeJob, number: int, frame: bytes, tar_length: int | None = None) -> None:
    """Put `frame` in a part's place, with a manifest that names its digest: what somebody who can seal could make."""
    head = head_of(job)
    entry = head.manifest.parts[number - 1]
    changed = replace(
        entry, bytes=len(frame), digest=hashlib.sha256(frame).hexdigest(), tar_length=entry.tar_length if tar_length is None else tar_length
    )
    parts = [changed if part.number == number else part for part in head.manifest.parts]
    directory = Path(job.target_dir)
    (directory / f"{number:06d}").write_bytes(frame)
    (directory / "000000").write_bytes(write_head(replace(head.manifest, parts=parts), bytes(head.heads)))


def test_a_part_with_one_other_byte_is_named(job: CodeJob) -> None:
    path = Path(job.target_dir) / "000002"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(Corrupt, match="part 2 is not what the manifest says"):
        restore(decode_job(job))


def test_a_part_of_another_pack_in_its_place_is_named(job: CodeJob) -> None:
    directory = Path(job.target_dir)
    (directory / "000001").write_bytes((directory / "000002").read_bytes())
    with pytest.raises(Corrupt, match="part 1"):
        restore(decode_job(job))


def test_a_part_that_is_no_zstd_frame_is_named(job: CodeJob) -> None:
    change_part(job, 2, b"no frame at all")
    with pytest.raises(Corrupt, match="part 2: no zstd frame"):
        restore(decode_job(job))


def test_a_part_that_inflates_too_much_is_named_without_inflating_it(job: CodeJob) -> None:
    bomb = zstandard.ZstdCompressor(level=1).compressobj()
    frame = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(2000)) + bomb.flush()
    change_part(job, 2, frame)
    with pytest.raises(Corrupt, match="part 2: inflates to more than"):
        restore(decode_job(job))


def test_a_frame_that_asks_for_a_huge_window_is_refused() -> None:
    frame = zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(window_log=31, enable_ldm=True)).compressobj()
    with pytest.raises(Corrupt, match="no zstd frame"):
        inflate(frame.compress(b"x" * 100) + frame.flush(), 1 << 20, "part 1")


def test_a_member_whose_coded_bytes_were_changed_is_reported_and_not_written(job: CodeJob) -> None:
    head = head_of(job)
    directory = Path(job.target_dir)
    entry = head.manifest.parts[0]
    slice_ = bytearray(inflate((directory / "000001").read_bytes(), entry.tar_length, "part 1"))
    member = head.manifest.members[0]
    slice_[member.coded_data_offset + member.fragments + 600] ^= 4
    change_part(job, 1, zstandard.ZstdCompressor().compress(bytes(slice_)))
    restored = restore(decode_job(job))
    assert [found.index for found in restored if not found.digest_ok] == [0]
    assert len(restored) == len(job.members)
    target = (directory.parent / "back.tar").read_bytes()
    assert not target[member.header_offset : member.content_offset + member.content_length].strip(b"\0")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, b"\0\0\0\0"),
        (4, struct.pack("<L", 0xFFFFFFFF)),
        (4, struct.pack("<L", 3)),
        (8, b"\0\0"),
        (15, b"\xff\xff\xff\xff"),
        (12, b"\x08"),
    ],
    ids=["no item", "a fragment without end", "a short fragment", "no codestream", "other rows", "other precision"],
)
def test_a_fragment_that_is_none_is_reported(job: CodeJob, place: int, value: bytes) -> None:
    head = head_of(job)
    entry = head.manifest.parts[0]
    slice_ = bytearray(inflate((Path(job.target_dir) / "000001").read_bytes(), entry.tar_length, "part 1"))
    begin = head.manifest.members[0].coded_data_offset + head.manifest.members[0].fragments + place
    slice_[begin : begin + len(value)] = value
    change_part(job, 1, zstandard.ZstdCompressor().compress(bytes(slice_)))
    assert not restore(decode_job(job))[0].digest_ok


def with_member(manifest: Manifest, **changes: object) -> Manifest:
    return replace(manifest, members=[replace(manifest.members[0], **changes), *manifest.members[1:]])


def with_pixels(manifest: Manifest, **changes: object) -> Manifest:
    return with_member(manifest, pixels=replace(manifest.members[0].pixels, **changes))


def with_part(manifest: Manifest, **changes: object) -> Manifest:
    return replace(manifest, parts=[replace(manifest.parts[0], **changes), *manifest.parts[1:]])


WILD = {
    "format 2": lambda m: replace(m, format=2),
    "pack id with a slash": lambda m: replace(m, pack="../../etc/passwd"),
    "study": lambda m: replace(m, study_uid="1..2"),
    "raw_bytes": lambda m: replace(m, raw_bytes=1 << 60),
    "coded_bytes": lambda m: replace(m, coded_bytes=1 << 60),
    "name with a path": lambda m: with_member(m, name="../x.dcm"),
    "name of another": lambda m: with_member(m, name="1.2.3.4.9.dcm"),
    "variant that is none": lambda m: with_member(m, name="1.2.3.4.1~0123.dcm"),
    "series": lambda m: with_member(m, series="/"),
    "digest": lambda m: with_member(m, digest="0"),
    "receive time": lambda m: with_member(m, received=-1),
    "header offset, negative": lambda m: with_member(m, header_offset=-512),
    "header offset, far": lambda m: with_member(m, header_offset=1 << 50),
    "dataset offset": lambda m: with_member(m, dataset_offset=0),
    "dataset length, negative": lambda m: with_member(m, dataset_length=-1),
    "dataset length, far": lambda m: with_member(m, dataset_length=1 << 50),
    "coded header offset": lambda m: with_member(m, coded_header_offset=1 << 50),
    "coded data offset": lambda m: with_member(m, coded_data_offset=0),
    "coded length": lambda m: with_member(m, coded_length=1 << 50),
    "fragments": lambda m: with_member(m, fragments=1 << 50),
    "verbatim of another length": lambda m: with_member(m, coding="verbatim"),
    "no pixels": lambda m: with_member(m, pixels=None),
    "head offset": lambda m: with_member(m, head_offset=1),
    "head length": lambda m: with_member(m, head_length=1 << 40),
    "omitted, nothing": lambda m: with_member(m, omitted=[]),
    "omitted, twice": lambda m: with_member(m, omitted=m.members[0].omitted * 2),
    "omitted, past the end": lambda m: with_member(m, omitted=[replace(m.members[0].omitted[0], offset=1 << 40)]),
    "omitted, negative": lambda m: with_member(m, omitted=[replace(m.members[0].omitted[0], length=-5)]),
    "omitted, another tag": lambda m: with_member(m, omitted=[replace(m.members[0].omitted[0], tag=0)]),
    "frames": lambda m: with_pixels(m, frames=1 << 40),
    "rows": lambda m: with_pixels(m, rows=0),
    "columns": lambda m: with_pixels(m, columns=65_536),
    "samples": lambda m: with_pixels(m, samples=2),
    "bits": lambda m: with_pixels(m, bits_allocated=1),
    "padding": lambda m: with_pixels(m, padding=b"x"),
    "part number": lambda m: with_part(m, number=2),
    "part place": lambda m: with_part(m, tar_offset=1),
    "part length": lambda m: with_part(m, tar_length=1 << 40),
    "part size": lambda m: with_part(m, bytes=1 << 40),
    "part digest": lambda m: with_part(m, digest="x" * 64),
    "no parts": lambda m: replace(m, parts=[]),
    "no members": lambda m: replace(m, members=[]),
}


@pytest.mark.parametrize("change", WILD.values(), ids=WILD.keys())
def test_a_manifest_that_contradicts_itself_is_refused(job: CodeJob, change) -> None:
    head = head_of(job)
    with pytest.raises(Corrupt, match="contradicts itself"):
        read_head(write_head(change(head.manifest), bytes(head.heads)))


def test_a_thousand_mutations_of_a_head_are_refused_or_change_nothing_that_is_checked(job: CodeJob) -> None:
    """Of the bytes before zstd: its own checksum would stop nearly all others."""
    data = inflate((Path(job.target_dir) / "000000").read_bytes(), 1 << 24, "head")
    draw = random.Random(7)
    compressor = zstandard.ZstdCompressor(level=1)
    refused = 0
    for _ in range(1000):
        changed = bytearray(data)
        for _ in range(draw.randint(1, 3)):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        try:
            read_head(compressor.compress(bytes(changed[: draw.choice((len(data), draw.randrange(len(data))))])))
        except Corrupt:
            refused += 1
    assert refused > 500


@pytest.mark.parametrize("data", [b"", b"\0" * 100, zstandard.compress(b""), zstandard.compress(bytes(2048))])
def test_what_is_no_head_is_refused(data: bytes) -> None:
    with pytest.raises(Corrupt, match="head"):
        read_head(data)


def test_a_head_with_deeply_nested_attributes_is_refused() -> None:
    text = b'{"study":' + b'{"a":' * 100_000
    tar = tarblock.header("manifest.json", "", len(text), 0) + text + bytes(tarblock.padding(len(text)))
    tar += tarblock.header("heads.bin", "", 0, 0) + tarblock.ZERO_TAIL
    with pytest.raises(Corrupt, match="does not parse"):
        read_head(zstandard.compress(tar))


def test_a_head_of_another_pack_is_refused(job: CodeJob) -> None:
    with pytest.raises(Corrupt, match="where that of"):
        restore(replace(decode_job(job), pack="b" * 26))


def test_parts_below_an_inbox_are_opened_through_its_gate(job: CodeJob) -> None:
    names = {number: f"000{number:03d}" for number in decode_job(job).parts}
    guarded = replace(decode_job(job), inbox=job.target_dir, parts=names, inbox_owner=os.getuid())
    assert all(found.digest_ok for found in restore(guarded))
    path = Path(job.target_dir) / "000002"
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")
    with pytest.raises(Trespass, match="symbolic link"):
        restore(guarded)
    with pytest.raises(OSError, match="symbolic links"):
        restore(decode_job(job))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(Trespass, match="not a regular file"):
        restore(guarded)
    with pytest.raises(Corrupt, match="no regular file"):
        restore(decode_job(job))


def test_a_cached_pack_that_lost_a_bit_is_not_coded(tmp_path: Path) -> None:
    job = close_pack(tmp_path, phantom(2, size=32))
    path = Path(job.pack_path)
    data = bytearray(path.read_bytes())
    data[2000] ^= 1
    path.write_bytes(data)
    with pytest.raises(RottenPack, match="SHA-256"):
        code(job)
    with pytest.raises(RottenPack, match=r"1\.2\.3\.4\.1 has lost its digest"):
        code(replace(job, sha256=hashlib.sha256(data).hexdigest()))
    path.write_bytes(data[:-1])
    with pytest.raises(RottenPack, match="does not end after"):
        code(replace(job, sha256=hashlib.sha256(data[:-1]).hexdigest()))


def test_a_sector_that_cannot_be_read_spoils_its_pack_and_is_no_failed_disk() -> None:
    nobody_maps_the_first_page = os.open("/proc/self/mem", os.O_RDONLY)  # pread(2) ends with EIO there
    try:
        with pytest.raises(Corrupt, match="cannot be read: Input/output error"):
            read_exactly(nobody_maps_the_first_page, 0, 512)
    finally:
        os.close(nobody_maps_the_first_page)


def test_rows_that_do_not_tell_the_whole_pack_are_refused(tmp_path: Path) -> None:
    job = close_pack(tmp_path, phantom(3, size=32))
    with pytest.raises(RottenPack, match="does not lie what the catalogue says"):
        code(replace(job, members=[job.members[0], job.members[2]]))
    with pytest.raises(RottenPack, match="does not end after"):
        code(replace(job, members=job.members[:2]))
    with pytest.raises(Permanent, match="one study"):
        code(replace(job, members=[job.members[0], replace(job.members[1], study="1.9"), job.members[2]]))
    with pytest.raises(Permanent, match="part_bytes"):
        code(replace(job, part_bytes=4 << 20))


def test_the_head_of_an_instance_stays_within_its_share() -> None:
    many = b"".join(struct.pack("<HH2sHL", 0x0071, 0x1000 + number, b"UN", 0, 10_000) + bytes(10_000) for number in range(50))
    instance = generated(numpy.zeros((16, 16), "<u2"), before=many)
    content = memoryview(bytes(500) + instance.dataset)
    for share in (10_000_000, 100_000, 10_000, 600):
        found = outline(content, len(content), 500, instance.transfer_syntax, share)
        kept = len(content) - sum(gap.length for gap in found.omitted)
        assert kept <= share
        assert (found.pixel_data() is not None) == (share == 10_000_000)


def test_of_a_million_tiny_elements_only_so_many_are_told_apart() -> None:
    tiny = struct.pack("<HH2sHH", 0x0021, 0x1001, b"US", 2, 0)
    content = memoryview(bytes(500) + tiny * 1_000_000)
    found = outline(content, len(content), 500, "1.2.840.10008.1.2.1", 100_000)
    assert len(found.elements) == ELEMENTS_MAX
    assert not found.whole
    (gap,) = found.omitted
    assert (gap.tag, gap.offset + gap.length) == (0, len(content))
