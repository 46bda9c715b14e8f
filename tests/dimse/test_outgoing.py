"""Framing of datasets into PDUs, and transcoding between the two little-endian syntaxes, on real instances."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.filebase import DicomBytesIO

from edge.clock import SystemClock
from edge.dimse.classes import EXPLICIT_LE, IMPLICIT_LE
from edge.dimse.faults import PeerGone, PeerSilent, SourceFailed
from edge.dimse.outgoing import Outgoing, Spliced, Stored
from edge.dimse.pdu import Wire
from edge.dimse.transcoding import transcode
from edge.errors import Corrupt
from edge.model import UID
from tests.dimse.fakes import CT, FILES, HERE, MR, MR_IMPLICIT, QUICK, instances


def connected() -> tuple[Wire, socket.socket]:
    with socket.create_server((HERE, 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()
    return Wire(near, QUICK, SystemClock()), far


def messages(data: bytes) -> Iterator[tuple[int, int, bytes, int]]:
    """Context, flags, fragment and PDU length of each P-DATA PDU."""
    at = 0
    while at < len(data):
        kind, length, value, context, flags = struct.unpack_from(">BxLLBB", data, at)
        assert (kind, length) == (4, value + 4)
        yield context, flags, data[at + 12 : at + 6 + length], length
        at += 6 + length


SMALL, LARGE = (0, 1, 2, 57, 58, 116, 4090), (524_288, 524_289, 524_290, 1_500_000)
FRAMINGS = [(64, length) for length in SMALL] + [(limit, length) for limit in (0, 4095, 16384, 131072, 1 << 24) for length in SMALL + LARGE]


@pytest.mark.parametrize(("limit", "length"), FRAMINGS)
def test_a_dataset_of_any_length_fits_into_pdus_of_any_length(tmp_path: Path, limit: int, length: int) -> None:
    data = os.urandom(length)
    (tmp_path / "pack").write_bytes(b"before" + data + b"after")
    descriptor = os.open(tmp_path / "pack", os.O_RDONLY)
    wire, far = connected()
    received = bytearray()

    def receive() -> None:
        while more := far.recv(1 << 20):
            received.extend(more)

    reader = threading.Thread(target=receive)
    reader.start()
    outgoing = Outgoing(wire, limit)
    outgoing.send_source(5, b"c" * 100, Stored(descriptor, 6, length))
    outgoing.send_source(7, b"d" * 10, Spliced((data[: length // 3], Stored(descriptor, 6 + length // 3, length - length // 3))))
    outgoing.send(9, b"e" * 10, data)
    outgoing.send(9, b"f" * 10)
    wire.close()
    reader.join()
    far.close()
    os.close(descriptor)
    found: dict[tuple[int, int], bytes] = {}
    lasts = []
    for context, flags, fragment, size in messages(bytes(received)):
        assert size <= (limit or 131_072)
        key = context, flags & 1
        found[key] = found.get(key, b"") + fragment
        if flags & 2:
            lasts.append(key)
    even = data + bytes(length % 2)
    assert found == {(5, 1): b"c" * 100, (5, 0): even, (7, 1): b"d" * 10, (7, 0): even, (9, 1): b"e" * 10 + b"f" * 10, (9, 0): data}
    assert lasts == [(5, 1), (5, 0), (7, 1), (7, 0), (9, 1), (9, 0), (9, 1)]


def test_a_file_that_is_too_short_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "pack").write_bytes(bytes(1000))
    descriptor = os.open(tmp_path / "pack", os.O_RDONLY)
    wire, far = connected()
    with pytest.raises(Corrupt):
        Outgoing(wire, 0).send_source(1, b"c", Stored(descriptor, 10, 1000))
    os.close(descriptor)
    wire.close()
    far.close()


def test_a_source_that_fails_at_its_start_leaves_the_association_as_it_was(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    wire, far = connected()
    outgoing = Outgoing(wire, 16384)
    with pytest.raises(Corrupt, match="Is a directory"):
        outgoing.send_source(1, b"c", Stored(descriptor, 0, 1000))
    outgoing.send(1, b"d")
    assert list(messages(far.recv(100))) == [(1, 3, b"d", 7)]
    os.close(descriptor)
    wire.close()
    far.close()


def test_a_source_that_fails_when_half_a_message_is_out_is_another_fault(tmp_path: Path) -> None:
    (tmp_path / "pack").write_bytes(bytes(600_000))
    descriptor = os.open(tmp_path / "pack", os.O_RDONLY)
    wire, far = connected()
    reader = threading.Thread(target=far.makefile("rb").read)
    reader.start()
    with pytest.raises(SourceFailed):
        Outgoing(wire, 16384).send_source(1, b"c", Stored(descriptor, 0, 700_000))
    os.close(descriptor)
    wire.close()
    reader.join()
    far.close()


def test_a_peer_that_takes_nothing_is_silent_and_one_that_left_is_gone() -> None:
    wire, far = connected()
    with pytest.raises(PeerSilent):
        while True:
            wire.send(bytes(1 << 20))
    far.close()
    with pytest.raises(PeerGone):
        while True:
            wire.send(bytes(1 << 16))
    wire.close()


LITTLE_ENDIAN_FILES = [
    *(CT, MR, MR_IMPLICIT, "rtdose.dcm", "rtplan.dcm", "reportsi.dcm", "test-SR.dcm", "liver_1frame.dcm", "waveform_ecg.dcm"),
    *("examples_overlay.dcm", "examples_palette.dcm", "SC_rgb_small_odd.dcm", "nested_priv_SQ.dcm", "priv_SQ.dcm", "MR_small_padded.dcm"),
]


def plain(dataset: pydicom.Dataset, *, known_only: bool) -> dict[int, object]:
    """Values without the encoding; private ones have no VR in implicit, so there they are left out."""
    found: dict[int, object] = {}
    for element in dataset:
        if element.tag.element == 0 or (known_only and element.tag.is_private):
            continue
        value = element.value
        found[element.tag] = [plain(item, known_only=known_only) for item in value] if element.VR == "SQ" else value
    return found


def parsed(data: bytes, syntax: UID) -> pydicom.Dataset:
    return pydicom.filereader.read_dataset(DicomBytesIO(data), syntax == IMPLICIT_LE, True)


@pytest.mark.parametrize("name", LITTLE_ENDIAN_FILES)
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_real_instances_keep_every_value_through_both_transcodings(name: str, tmp_path: Path) -> None:
    path = FILES / name
    meta = pydicom.dcmread(path, stop_before_pixels=True, force=True).file_meta
    syntax = UID(str(meta.TransferSyntaxUID))
    other = IMPLICIT_LE if syntax == EXPLICIT_LE else EXPLICIT_LE
    offset = 144 + int(meta.FileMetaInformationGroupLength)
    data = path.read_bytes()[offset:]
    with stored(tmp_path / "stored", data) as source:
        there = whole(transcode(source, syntax))
    with stored(tmp_path / "there", there) as source:
        back = whole(transcode(source, other))
    original = plain(parsed(data, syntax), known_only=True)
    assert plain(parsed(there, other), known_only=True) == original
    assert plain(parsed(back, syntax), known_only=True) == original


@contextlib.contextmanager
def stored(path: Path, data: bytes, offset: int = 0) -> Iterator[Stored]:
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield Stored(descriptor, offset, len(data) - offset)
    finally:
        os.close(descriptor)


def whole(spliced: Spliced) -> bytes:
    room = bytearray(spliced.length)
    spliced.read_into([memoryview(room)], 0)
    return bytes(room)


@pytest.mark.parametrize("cut", [1, 7, 100, 3000])
def test_a_dataset_that_does_not_hold_together_is_not_transcoded(tmp_path: Path, cut: int) -> None:
    (one,) = instances(MR)
    with stored(tmp_path / "cut", one.dataset[:-cut]) as source, pytest.raises(Corrupt):
        transcode(source, EXPLICIT_LE)


def test_nesting_without_end_is_not_followed(tmp_path: Path) -> None:
    opening = struct.pack("<HHL", 0x0008, 0x1032, 0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    with stored(tmp_path / "deep", opening * 5000) as source, pytest.raises(Corrupt, match="deep"):
        transcode(source, IMPLICIT_LE)
