"""One real instance for each SOP class and transfer syntax of which pydicom, pydicom-data and pynetdicom have a file."""

from __future__ import annotations

import functools
import sqlite3
import subprocess
import tempfile
import warnings
import zlib
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pydicom
from pydicom.filebase import DicomBytesIO

from edge.config import Layout
from edge.dataset.attributes import SERIES, SOP_CLASS, SOP_INSTANCE, STUDY, identify
from edge.dataset.part10 import file_meta, read_file_meta
from edge.dataset.walk import DEFLATED_LE, EXPLICIT_BE, IMPLICIT_LE, UNDEFINED, Malformed, walk
from edge.model import UID, AETitle
from tests.code.packs import Instance, real_instances
from tests.servers import need

Key = tuple[str, str]
"""SOP class and transfer syntax."""
PADDING = 0xFFFCFFFC
"""Data Set Trailing Padding, which some leave out."""


_DECODERS = {
    **{f"1.2.840.10008.1.2.4.{number}": "dcmdjpeg" for number in (50, 51, 57, 70)},
    **{f"1.2.840.10008.1.2.4.{number}": "dcmdjpls" for number in (80, 81)},
    "1.2.840.10008.1.2.5": "dcmdrle",
}
_JPEG_2000 = {"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"}


@functools.cache
def chosen() -> dict[Key, Instance]:
    """The smallest sound one of each kind, each with a SOP Instance UID of its own."""
    found: dict[Key, Instance] = {}
    for instance in sorted(real_instances()[0], key=lambda one: len(one.dataset)):
        if _is_sound(instance):
            found.setdefault((instance.identity.sop_class, instance.transfer_syntax), instance)
    return {key: _even(one) if key[1] == DEFLATED_LE else _renamed(one, number) for number, (key, one) in enumerate(found.items())}


def _even(instance: Instance) -> Instance:
    """A deflate stream, which cannot be patched, as PS3.5 section A.5 wants it sent."""
    return replace(instance, dataset=instance.dataset + bytes(len(instance.dataset) % 2))


def _is_sound(instance: Instance) -> bool:
    """Some files are there because they break the rules: those are for tests/vectors."""
    data, syntax = instance.dataset, instance.transfer_syntax
    if syntax == DEFLATED_LE:
        return True
    try:
        elements = list(walk(data, syntax))
    except Malformed:
        return False
    tags = [element.tag for element in elements]
    right = all(element.vr in {"UI", ""} for element in elements if element.tag in {SOP_CLASS, SOP_INSTANCE, STUDY, SERIES})
    return right and tags == sorted(set(tags)) and all(element.length == UNDEFINED or element.length % 2 == 0 for element in elements)


def _renamed(instance: Instance, number: int) -> Instance:
    """Under a UID of the same length."""
    uid = instance.identity.sop_instance
    tail = f".9{number:02d}"
    other = UID(uid[: -len(tail)].rstrip(".").ljust(len(uid) - len(tail), "7") + tail)
    dataset = instance.dataset.replace(uid.encode(), other.encode())
    # Where other UIDs begin with this one they have changed too.
    identity = identify(dataset, instance.transfer_syntax)
    assert identity
    return replace(instance, identity=identity, dataset=dataset)


def write(instances: list[Instance], directory: Path) -> list[Path]:
    """Each as a Part 10 file."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for instance in instances:
        path = directory / f"{instance.identity.sop_instance}.dcm"
        meta = file_meta(instance.identity, UID(instance.transfer_syntax), AETitle("TEST"), None)
        path.write_bytes(meta + instance.dataset)
        paths.append(path)
    return paths


@dataclass(frozen=True, slots=True)
class Held:
    """An instance as our cache holds it, or as a peer wrote it."""

    sop_class: str
    transfer_syntax: str
    dataset: bytes


def held(state: Path) -> dict[str, Held]:
    """Every visible instance of a running edge, from its packs, by SOP Instance UID."""
    layout = Layout(state)
    with closing(sqlite3.connect(f"file:{layout.catalogue}?mode=ro", uri=True)) as catalogue:
        rows = catalogue.execute(
            "SELECT uid, class, syntax, pack, dataset_offset, dataset_length FROM instance WHERE visible = 1"
        ).fetchall()
    found = {}
    for uid, sop_class, syntax, pack, offset, length in rows:
        path = layout.open_packs / f"{pack}.tar"
        data = (path if path.exists() else layout.cached(pack)).read_bytes()
        found[uid] = Held(sop_class, syntax, data[offset : offset + length])
    return found


def received(directory: Path) -> dict[str, Held]:
    """Every Part 10 file below a directory, by SOP Instance UID."""
    return dict(part10(path.read_bytes()) for path in directory.rglob("*") if path.is_file())


def part10(data: bytes) -> tuple[str, Held]:
    """SOP Instance UID and content of a file that a peer wrote."""
    meta = read_file_meta(data)
    return meta.sop_instance, Held(meta.sop_class, meta.transfer_syntax, data[meta.dataset_offset :])


@functools.cache
def decoded(instance: Instance) -> bytes | None:
    """The dataset in Explicit VR Little Endian, as dcmtk makes it; None where it cannot: it has no JPEG 2000."""
    if instance.transfer_syntax in _JPEG_2000:
        return None
    with tempfile.TemporaryDirectory() as place:
        (path,) = write([instance], Path(place))
        return by_dcmtk(path, instance.transfer_syntax)


def by_dcmtk(path: Path, transfer_syntax: str) -> bytes:
    """The dataset of a Part 10 file in Explicit VR Little Endian, the samples of a pixel side by side."""
    program = _DECODERS.get(transfer_syntax, "dcmconv")
    by_pixel = ["+px"] if program in {"dcmdjpeg", "dcmdjpls"} else []
    with tempfile.TemporaryDirectory() as place:
        command = [need(program, "dcmtk"), "+te", *by_pixel, str(path), f"{place}/out"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        data = Path(place, "out").read_bytes()
    return data[read_file_meta(data).dataset_offset :]


def content(dataset: bytes, syntax: str) -> tuple[object, ...]:
    """What counts of a dataset, whoever encoded it anew: identity, patient, pixels bit by bit, and which elements there are."""
    if syntax == DEFLATED_LE:
        dataset = zlib.decompressobj(-zlib.MAX_WBITS).decompress(dataset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydicom, about the character sets of some files
        read = pydicom.filereader.read_dataset(DicomBytesIO(dataset), syntax == IMPLICIT_LE, syntax != EXPLICIT_BE)
        uids = [str(read.get(name)) for name in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")]
        tags = [int(element.tag) for element in read if element.tag.element and element.tag != PADDING]
        pixels = read.get("PixelData")
        if pixels and syntax == EXPLICIT_BE and read["PixelData"].VR == "OW":
            pixels = b"".join(pixels[at : at + 2][::-1] for at in range(0, len(pixels), 2))
        return uids, str(read.get("PatientName", "")), str(read.get("PatientID", "")), pixels, tags
