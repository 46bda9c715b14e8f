"""The head of a pack in the archive: manifest.json and heads.bin in a zstd-compressed tar (docs/formats.md, Pack, in the archive).

Reading is strict and bounded: whatever a manifest says is checked against the layout that the coder makes before anything is
allocated or written by it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Literal

import msgspec
import zstandard

from edge import tarblock
from edge.dataset.walk import EXPLICIT_BE
from edge.errors import Corrupt, Permanent
from edge.model import Json, parse_digest, parse_pack_id, parse_uid

FORMAT = 1
HEAD_MAX_BYTES = 64 << 20
"""Largest head file, and the most that its heads.bin holds."""
MANIFEST_MAX_BYTES = 48 << 20
PART_MAX_BYTES = 4 << 20
SLICE_MAX_BYTES = 24 << 20
"""The most of the coded tar that one part may hold: a part is inflated in memory."""
PIXEL_DATA = 0x7FE00010

_LEVEL, _SMALL_LEVEL, _SMALL_BYTES = 9, 19, 256 << 10
"""Headers of one series differ in a few bytes: 9 finds nearly all of it. 19 makes small heads 4 % smaller, in no time to speak of."""


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Omitted(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A byte range of an instance's cached content that heads.bin leaves out; `tag` is 0 where it is not one element's value."""

    offset: int
    length: int
    tag: int


class Pixels(_Struct, frozen=True):
    """Native Pixel Data of 8 or 16 bits allocated: cells of frames, rows, columns and samples, then `padding`."""

    vr: str
    """As it arrived; OW under Implicit VR."""
    frames: int
    rows: int
    columns: int
    samples: int
    bits_allocated: int
    padding: bytes
    """What follows the last frame inside the value, base64 in JSON."""
    sha256: str
    """Of the cells alone, without padding; little-endian, however they arrived."""

    @property
    def frame_bytes(self) -> int:
        return self.rows * self.columns * self.samples * self.bits_allocated // 8


class Member(_Struct, frozen=True, omit_defaults=True):
    """One instance: where it lies in the cached tar and in the coded tar, and how it comes back."""

    series: str
    sop_instance: str
    sop_class: str
    transfer_syntax: str
    """As it arrived."""
    digest: str
    name: str
    """The name field of its header blocks; the prefix field is the Series Instance UID."""
    received: int
    """mtime of its header blocks, seconds since 1970."""
    header_offset: int
    """In the cached tar; file meta and dataset follow the header block."""
    dataset_offset: int
    dataset_length: int
    coding: Literal["jpegls", "verbatim"]
    coded_header_offset: int
    """In the coded tar; the content follows the header block."""
    coded_data_offset: int
    coded_length: int
    pixels: Pixels | None
    """None where the pixel data is not native of 8 or 16 bits, or there is none."""
    fragments: int
    """jpegls: where in the coded content the item of the first frame lies. verbatim: 0."""
    head_offset: int
    """In heads.bin: the content without what is omitted."""
    head_length: int
    omitted: list[Omitted]
    """Ascending, disjoint; offsets from the begin of the cached content."""
    attributes: Json
    """Of the instance level, as the catalogue holds them."""
    fault: str | None = None
    """What breaks PS3.5 in it, as the catalogue holds it; left out where there is none."""

    @property
    def word(self) -> int:
        """Bytes of the words in which its native pixels arrived turned round: 2 for OW in Explicit VR Big Endian, else 1."""
        return 2 if self.transfer_syntax == EXPLICIT_BE and self.pixels is not None and self.pixels.vr == "OW" else 1

    @property
    def content_offset(self) -> int:
        """Of the Part 10 file in the cached tar."""
        return self.header_offset + tarblock.BLOCK

    @property
    def content_length(self) -> int:
        return self.dataset_offset + self.dataset_length - self.content_offset


class PartEntry(_Struct, frozen=True):
    """One part: the range of the coded tar that it holds, and its plaintext as it lies in the outbox."""

    number: int
    tar_offset: int
    tar_length: int
    bytes: int
    digest: str


class Manifest(_Struct, frozen=True, omit_defaults=True):
    """The table of contents of a pack. Members are in the order of the coded tar."""

    format: int
    pack: str
    sha256: str
    """Of the cached tar, with which a complete restoration is compared."""
    raw_bytes: int
    """Of the cached tar."""
    coded_bytes: int
    """Of the coded tar, before zstd."""
    study_uid: str
    study: Json
    series: list[Json]
    members: list[Member]
    parts: list[PartEntry]
    form: Literal["parts", "instances"] = "parts"
    """instances: part n is member n, as a file of its own (edge.code.apart); such a head stays here."""

    @property
    def apart(self) -> bool:
        return self.form == "instances"


class Head(msgspec.Struct, frozen=True):
    """A head as it was read: the manifest is checked, heads.bin has the length that it says."""

    manifest: Manifest
    heads: memoryview

    def of(self, member: Member) -> memoryview:
        """The bytes of a member's content that are not omitted."""
        return self.heads[member.head_offset : member.head_offset + member.head_length]


def write_head(manifest: Manifest, heads: bytes | bytearray) -> bytes:
    """The head file: a pure function of its arguments. Raises Permanent when it would be over its bounds."""
    text = msgspec.json.encode(manifest)
    if len(text) > MANIFEST_MAX_BYTES or len(heads) > HEAD_MAX_BYTES:
        raise Permanent(f"pack {manifest.pack}: its head is over {HEAD_MAX_BYTES} bytes; lower cache.pack_max_members")
    newest = max((member.received for member in manifest.members), default=0)
    pieces: list[bytes | bytearray] = []
    for name, content in (("manifest.json", text), ("heads.bin", heads)):
        pieces += [tarblock.header(name, "", len(content), newest), content, bytes(tarblock.padding(len(content)))]
    tar = b"".join([*pieces, tarblock.ZERO_TAIL])
    data = zstandard.ZstdCompressor(level=_SMALL_LEVEL if len(tar) <= _SMALL_BYTES else _LEVEL, write_checksum=True).compress(tar)
    if len(data) > HEAD_MAX_BYTES:
        raise Permanent(f"pack {manifest.pack}: its head is over {HEAD_MAX_BYTES} bytes; lower cache.pack_max_members")
    return data


def read_head(data: bytes | memoryview) -> Head:
    """The head in `data`. Raises Corrupt, within fixed memory, for anything that `write_head` cannot have made."""
    if len(data) > HEAD_MAX_BYTES:
        raise Corrupt(f"a head of {len(data)} bytes; at most {HEAD_MAX_BYTES} belong there")
    archive = memoryview(inflate(data, HEAD_MAX_BYTES + MANIFEST_MAX_BYTES + 16 * tarblock.BLOCK, "head"))
    text, position = _entry(archive, 0, "manifest.json", MANIFEST_MAX_BYTES)
    heads, position = _entry(archive, position, "heads.bin", HEAD_MAX_BYTES)
    if archive[position:] != tarblock.ZERO_TAIL:
        raise Corrupt("a head whose tar does not end after heads.bin")
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as fault:
        raise Corrupt(f"a manifest that does not parse: {fault}") from fault
    _check(manifest, len(heads))
    return Head(manifest, heads)


def coded_bytes(manifest: Manifest, head_bytes: int) -> int:
    """What the archive gets of a pack, before it is sealed: a head file of `head_bytes`, and the parts; or the instances."""
    return (0 if manifest.apart else head_bytes) + sum(part.bytes for part in manifest.parts)


def objects(manifest: Manifest) -> int:
    """How many objects the archive has of a pack: head, parts and sums; or the instances."""
    return len(manifest.parts) + (0 if manifest.apart else 2)


def covering(manifest: Manifest, members: Iterable[int]) -> list[int]:
    """The numbers of the parts that hold these members (indexes into manifest.members), ascending."""
    needed: set[int] = set()
    for index in members:
        member = manifest.members[index]
        begin, end = member.coded_data_offset, member.coded_data_offset + member.coded_length
        needed.update(part.number for part in manifest.parts if part.tar_offset < end and begin < part.tar_offset + part.tar_length)
    return sorted(needed)


def inflate(data: bytes | memoryview, at_most: int, what: str) -> bytes:
    """The content of one zstd frame. Raises Corrupt when it is none or holds more than `at_most` bytes; allocates no more than that."""
    try:
        with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=False) as reader:
            content = reader.read(at_most + 1)
    except (zstandard.ZstdError, MemoryError) as fault:
        raise Corrupt(f"{what}: no zstd frame ({fault})") from fault
    if len(content) > at_most:
        raise Corrupt(f"{what}: inflates to more than {at_most} bytes")
    return bytes(content)


def _entry(archive: memoryview, position: int, name: str, at_most: int) -> tuple[memoryview, int]:
    found = tarblock.parse(archive[position : position + tarblock.BLOCK])
    begin = position + tarblock.BLOCK
    if found is None or found.name != name or found.prefix or found.size > at_most or begin + found.size > len(archive):
        raise Corrupt(f"a head without {name} where it belongs")
    return archive[begin : begin + found.size], begin + found.size + tarblock.padding(found.size)


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise Corrupt(f"a manifest that contradicts itself: {what}")


def _check(manifest: Manifest, heads_bytes: int) -> None:
    _require(manifest.format == FORMAT, f"format {manifest.format}, this release reads {FORMAT}")
    _require(parse_pack_id(manifest.pack) is not None and parse_digest(manifest.sha256) is not None, "pack id or SHA-256")
    _require(parse_uid(manifest.study_uid) == manifest.study_uid, "study")
    head = coded = 0
    for member in manifest.members:
        _check_member(member)
        _require(member.head_offset == head and member.coded_header_offset == coded, f"{member.name}: its place")
        head += member.head_length
        coded = member.coded_data_offset + member.coded_length + tarblock.padding(member.coded_length)
    _require(head == heads_bytes, "heads.bin has another length")
    _require(coded + len(tarblock.ZERO_TAIL) == manifest.coded_bytes, "the coded tar has another length")
    cached = 0
    for member in sorted(manifest.members, key=lambda member: member.header_offset):
        _require(member.header_offset == cached, f"{member.name}: its place in the cached tar")
        cached = member.content_offset + member.content_length + tarblock.padding(member.content_length)
    _require(cached + len(tarblock.ZERO_TAIL) == manifest.raw_bytes, "the cached tar has another length")
    place = 0
    if manifest.apart:
        _require(all(member.coding == "verbatim" for member in manifest.members), "instances that are not verbatim")
        _require([part.bytes for part in manifest.parts] == [member.coded_length for member in manifest.members], "not a part a member")
    for number, part in enumerate(manifest.parts, start=1):
        _require(part.number == number and part.tar_offset == place, f"part {number}: its place")
        sized = manifest.apart or (0 < part.bytes <= PART_MAX_BYTES and 0 < part.tar_length <= SLICE_MAX_BYTES)
        _require(sized, f"part {number}: its size")
        _require(parse_digest(part.digest) is not None, f"part {number}: its digest")
        place += part.tar_length
    _require(place == manifest.coded_bytes, "the parts do not add up to the coded tar")


def _check_member(member: Member) -> None:
    for uid in (member.series, member.sop_instance, member.sop_class, member.transfer_syntax):
        _require(parse_uid(uid) == uid, f"{uid!r} is no UID")
    _require(parse_digest(member.digest) is not None, f"{member.name!r}: its digest")
    _require(is_name_of(member.name, member.sop_instance), f"{member.name!r} is no name of {member.sop_instance}")
    _require(0 <= member.received <= tarblock.SIZE_MAX, f"{member.name}: its receive time")
    _require(
        member.content_offset < member.dataset_offset and member.dataset_length >= 0 and member.content_length <= tarblock.SIZE_MAX,
        f"{member.name}: its size",
    )
    _require(
        member.coded_data_offset == member.coded_header_offset + tarblock.BLOCK and 0 <= member.coded_length <= tarblock.SIZE_MAX,
        f"{member.name}: its place in the coded tar",
    )
    places = [0, *itertools.chain.from_iterable((gap.offset, gap.offset + gap.length) for gap in member.omitted), member.content_length]
    _require(all(before <= after for before, after in itertools.pairwise(places)), f"{member.name}: what it omits")
    _require(
        member.head_length == member.content_length - sum(gap.length for gap in member.omitted), f"{member.name}: the length of its head"
    )
    if pixels := member.pixels:
        _require(
            min(pixels.frames, pixels.rows, pixels.columns) >= 1
            and max(pixels.rows, pixels.columns) <= 65_535
            and pixels.samples in {1, 3}
            and pixels.bits_allocated in {8, 16}
            and pixels.frame_bytes % member.word == 0,
            f"{member.name}: its pixels",
        )
    if member.coding == "verbatim":
        _require(member.coded_length == member.content_length and not member.fragments, f"{member.name}: verbatim of another length")
        return
    _require(
        pixels is not None
        and [gap.tag for gap in member.omitted] == [PIXEL_DATA]
        and pixels.frames * pixels.frame_bytes + len(pixels.padding) == member.omitted[0].length
        and 0 < member.fragments <= member.coded_length,
        f"{member.name}: jpegls without its pixels",
    )


def is_name_of(name: str, sop_instance: str) -> bool:
    """Whether a member of a pack may be called so: `<SOP UID>.dcm`, or `<SOP UID>~<16 hexadecimal digits>.dcm` for a variant."""
    stem = name.removesuffix(".dcm")
    uid, mark, variant = stem.partition("~")
    plain = uid == sop_instance and stem != name
    return plain and (not mark or (len(variant) == 16 and not variant.strip("0123456789abcdef")))
