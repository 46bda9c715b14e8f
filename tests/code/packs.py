"""Closed packs for tests: from real instances, and from generated ones that say that they are generated."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import data_store
import numpy
import pydicom
import pynetdicom
import pytest

from edge import tarblock
from edge.code.jobs import CodeJob, MemberRow
from edge.dataset.attributes import describe, identify
from edge.dataset.part10 import file_meta, read_file_meta
from edge.dataset.walk import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, Malformed
from edge.model import UID, AETitle, Digest, Identity, Json

RECEIVED = 1_700_000_000


@dataclass(frozen=True, slots=True)
class Instance:
    identity: Identity
    transfer_syntax: str
    dataset: bytes
    label: str = ""

    @property
    def digest(self) -> Digest:
        return Digest(hashlib.sha256(self.dataset).hexdigest())


def real_instances() -> tuple[list[Instance], list[str]]:
    """Every instance in the test data of pydicom, pydicom-data and pynetdicom, and the files there that are none."""
    found: dict[str, Instance] = {}
    others: list[str] = []
    for package in (pydicom, data_store, pynetdicom):
        here, rest = instances_below(Path(package.__file__).parent)
        others += rest
        for instance in here:
            found.setdefault(instance.digest, instance)
    return list(found.values()), others


def instances_below(root: Path) -> tuple[list[Instance], list[str]]:
    """Every instance in the files of a directory, and the names of the files that hold none."""
    found, others = [], []
    for path in sorted(path for path in root.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc", ".pyi", ".json"}):
        for name, data in _contents(path):
            instance = _instance(name, data)
            if instance is None:
                others.append(name)
            else:
                found.append(instance)
    return found, others


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """A file, or the files in an archive."""
    if path.suffix != ".zip":
        yield path.name, path.read_bytes()
        return
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            yield name, archive.read(name)


def read_instance(path: Path) -> Instance | None:
    """The instance in a file, with or without file meta; None when SOP class and UIDs cannot be read."""
    return _instance(path.name, path.read_bytes())


def _instance(name: str, data: bytes) -> Instance | None:
    try:
        meta = read_file_meta(data)
        candidates = [(meta.transfer_syntax, data[meta.dataset_offset :])]
    except Malformed:
        candidates = [(syntax, data) for syntax in (EXPLICIT_LE, IMPLICIT_LE)]
    for syntax, dataset in candidates:
        try:
            identity = identify(dataset, syntax)
        except Malformed:
            continue
        if identity:
            return Instance(identity, syntax, dataset, name)
    return None


def close_pack(directory: Path, instances: list[Instance], part_bytes: int = 1 << 20, pack: str = "a" * 26) -> CodeJob:
    """Write a closed pack of one study; the job that codes it into `<directory>/<pack>`."""
    tar = bytearray()
    rows: list[MemberRow] = []
    seen: set[str] = set()
    for number, instance in enumerate(instances):
        identity = instance.identity
        meta = file_meta(identity, UID(instance.transfer_syntax), AETitle("MODALITY"), instance.digest)
        content = meta + instance.dataset
        variant = f"~{instance.digest[:16]}" if identity.sop_instance in seen else ""
        seen.add(identity.sop_instance)
        offset = len(tar)
        tar += tarblock.header(f"{identity.sop_instance}{variant}.dcm", identity.series, len(content), RECEIVED + number)
        tar += content + bytes(tarblock.padding(len(content)))
        rows.append(
            MemberRow(
                study=instances[0].identity.study,
                series=identity.series,
                sop_instance=identity.sop_instance,
                sop_class=identity.sop_class,
                transfer_syntax=instance.transfer_syntax,
                digest=instance.digest,
                header_offset=offset,
                dataset_offset=offset + tarblock.BLOCK + len(meta),
                dataset_length=len(instance.dataset),
                attributes=_attributes(instance),
            )
        )
    tar += tarblock.ZERO_TAIL
    path = directory / f"{pack}.tar"
    path.write_bytes(tar)
    return CodeJob(
        pack=pack,
        pack_path=str(path),
        target_dir=str(directory / pack),
        part_bytes=part_bytes,
        sha256=hashlib.sha256(tar).hexdigest(),
        study={"0020000D": {"vr": "UI", "Value": [instances[0].identity.study]}},
        series=[],
        members=rows,
    )


def _attributes(instance: Instance) -> Json:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, about character sets that do not fit
        return describe(instance.dataset, instance.transfer_syntax, len(instance.dataset)).instance


def element(tag: int, vr: str, value: bytes, implicit: bool = False, big: bool = False) -> bytes:
    """One encoded element, Little Endian unless it is `big`; the value, which is taken as it is, is padded to an even length."""
    value += (b"\0" if vr in {"UI", "OB"} else b" ") * (len(value) & 1)
    if implicit:
        return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value
    order = ">" if big else "<"
    if vr in {"OB", "OW", "SQ", "UN", "UT"}:
        return struct.pack(order + "HH2sHL", tag >> 16, tag & 0xFFFF, vr.encode(), 0, len(value)) + value
    return struct.pack(order + "HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value


def generated(
    cells: numpy.ndarray,
    *,
    number: int = 1,
    stored: int | None = None,
    high_bit: int | None = None,
    signed: bool = False,
    implicit: bool = False,
    big: bool = False,
    pixel_vr: str | None = None,
    frames: int = 1,
    photometric: str | None = None,
    padding: bytes = b"",
    before: bytes = b"",
    after: bytes = b"",
    planar: int = 0,
) -> Instance:
    """A generated secondary capture: `cells` are (frames,) rows, columns(, 3). `before` and `after` lie around them."""
    bits = cells.dtype.itemsize * 8
    shape = cells.shape[1:] if frames > 1 else cells.shape
    samples = shape[2] if len(shape) == 3 else 1
    stored = bits if stored is None else stored
    identity = Identity(UID("1.2.840.10008.5.1.4.1.1.7"), UID(f"1.2.3.4.{number}"), UID("1.2.3.3"), UID("1.2.3.2"))

    def us(value: int) -> bytes:
        return struct.pack(">H" if big else "<H", value)

    elements = [
        (0x00080008, "CS", b"GENERATED\\SECONDARY"),
        (0x00080016, "UI", identity.sop_class.encode()),
        (0x00080018, "UI", identity.sop_instance.encode()),
        (0x00080060, "CS", b"OT"),
        (0x0020000D, "UI", identity.study.encode()),
        (0x0020000E, "UI", identity.series.encode()),
        (0x00200013, "IS", str(number).encode()),
        (0x00280002, "US", us(samples)),
        (0x00280004, "CS", (photometric or ("MONOCHROME2" if samples == 1 else "RGB")).encode()),
        *([(0x00280006, "US", us(planar))] if samples == 3 else []),
        *([(0x00280008, "IS", str(frames).encode())] if frames > 1 else []),
        (0x00280010, "US", us(shape[0])),
        (0x00280011, "US", us(shape[1])),
        (0x00280100, "US", us(bits)),
        (0x00280101, "US", us(stored)),
        (0x00280102, "US", us(stored - 1 if high_bit is None else high_bit)),
        (0x00280103, "US", us(int(signed))),
    ]
    dataset = b"".join(element(tag, vr, value, implicit, big) for tag, vr, value in elements)
    pixel_vr = pixel_vr or ("OW" if bits == 16 else "OB")
    value = cells.tobytes() + padding
    if big and pixel_vr == "OW":
        value = numpy.frombuffer(value, "<u2").byteswap().tobytes()
    pixel_data = element(0x7FE00010, pixel_vr, b"", implicit, big)[:-4] + struct.pack(">L" if big else "<L", len(value)) + value
    syntax = EXPLICIT_BE if big else IMPLICIT_LE if implicit else EXPLICIT_LE
    return Instance(identity, syntax, dataset + before + pixel_data + after, "generated")


def phantom(slices: int, size: int = 512, seed: int = 1) -> list[Instance]:
    """A generated CT phantom, unsigned 12 bits in 16, with a little more than a real scanner's noise."""
    draw = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[:size, :size] / size - 0.5
    radius = numpy.hypot(x, y)
    instances = []
    for number in range(1, slices + 1):
        body = numpy.where(radius < 0.36, 1040, 24) + numpy.where(numpy.hypot(x - 0.1, y + number / slices / 4 - 0.1) < 0.08, 240, 0)
        noise = draw.normal(0, 12, (size, size)) * (radius < 0.46)
        instances.append(generated(numpy.clip(body + noise, 0, 4095).astype("<u2"), number=number, stored=12))
    return instances


def tool(name: str) -> str:
    """A program that is no part of Outpost. The test is skipped where it is missing, and fails where CI is set."""
    found = shutil.which(name)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{name} is not installed")
    return found
