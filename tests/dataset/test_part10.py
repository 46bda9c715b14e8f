"""edge.dataset.part10: the file meta that we write is read by others, and theirs by us."""

from __future__ import annotations

import hashlib
import io
import struct

import pydicom
import pytest

from edge.dataset.part10 import PREAMBLE, PRIVATE_CREATOR_UID, file_meta, read_file_meta
from edge.dataset.walk import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, Malformed
from edge.model import UID, Digest, Identity
from tests.dataset.datasets import CT, dataset, element

IDENTITY = Identity(UID(CT), UID("1.2.3.1.1"), UID("1.2.3.1"), UID("1.2.3"))
DIGEST = Digest(hashlib.sha256(b"dataset").hexdigest())


def test_pydicom_reads_what_we_write() -> None:
    body = dataset()
    data = file_meta(IDENTITY, UID(EXPLICIT_LE), "CT99", DIGEST) + body
    theirs = pydicom.dcmread(io.BytesIO(data))
    meta = theirs.file_meta
    assert theirs.preamble == bytes(128)
    assert (meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID) == (CT, "1.2.3.1.1", EXPLICIT_LE)
    assert (meta.SourceApplicationEntityTitle, meta.PrivateInformationCreatorUID) == ("CT99", PRIVATE_CREATOR_UID)
    assert meta.PrivateInformation == bytes.fromhex(DIGEST)
    assert 132 + 12 + meta.FileMetaInformationGroupLength == len(data) - len(body)
    assert theirs.PatientName == "Doe^Jane"


@pytest.mark.parametrize("source", ["", "X", "ABCDEFGHIJKLMNOP", "Ärzte"])
@pytest.mark.parametrize("syntax", [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, "1.2.840.10008.1.2.4.50"])
def test_what_we_write_we_read_and_its_length_does_not_depend_on_the_digest(source: str, syntax: str) -> None:
    data = file_meta(IDENTITY, UID(syntax), source, DIGEST)
    assert len(data) % 2 == 0
    assert data[-32:] == bytes.fromhex(DIGEST)
    assert len(file_meta(IDENTITY, UID(syntax), source, None)) == len(data)
    found = read_file_meta(data + dataset(syntax=syntax))
    assert (found.transfer_syntax, found.sop_class, found.sop_instance) == (syntax, CT, "1.2.3.1.1")
    assert (found.digest, found.dataset_offset) == (DIGEST, len(data))
    assert found.source_ae == source.replace("Ä", "?")


@pytest.mark.parametrize("tag", [0x00020000, 0x00020010, 0x00020102, 0x0002FFFF])
def test_a_dataset_that_begins_with_group_0002_is_not_taken_for_file_meta(tag: int) -> None:
    meta = file_meta(IDENTITY, UID(EXPLICIT_LE), "CT99", DIGEST)
    found = read_file_meta(meta + element(tag, "OB", b"\1" * 32) + dataset())
    assert (found.dataset_offset, found.digest, found.transfer_syntax) == (len(meta), DIGEST, EXPLICIT_LE)


@pytest.mark.parametrize("length", [0, 1, 40, 100_000, 0xFFFFFFFF])
def test_the_group_length_of_others_is_not_believed_when_it_ends_inside_an_element(length: int) -> None:
    meta = bytearray(file_meta(IDENTITY, UID(EXPLICIT_LE), "CT99", DIGEST))
    meta[140:144] = struct.pack("<L", length)
    assert read_file_meta(bytes(meta) + dataset()).dataset_offset == len(meta)


def test_only_our_own_digest_is_a_digest() -> None:
    foreign = PREAMBLE + element(0x00020010, "UI", EXPLICIT_LE) + element(0x00020100, "UI", "1.2") + element(0x00020102, "OB", bytes(32))
    assert read_file_meta(foreign + dataset()).digest is None
    short = PREAMBLE + element(0x00020010, "UI", EXPLICIT_LE) + element(0x00020100, "UI", PRIVATE_CREATOR_UID)
    assert read_file_meta(short + element(0x00020102, "OB", bytes(30)) + dataset()).digest is None


@pytest.mark.parametrize(
    "data", [b"", b"DICM", bytes(132), PREAMBLE, PREAMBLE + dataset(), PREAMBLE + bytes(20), PREAMBLE + element(0x00020002, "UI", CT)]
)
def test_what_is_no_part_10_file_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        read_file_meta(data)


def test_a_file_cut_at_any_byte_of_its_meta_is_malformed() -> None:
    data = file_meta(IDENTITY, UID(EXPLICIT_LE), "CT99", DIGEST)
    readable = [cut for cut in range(len(data)) if _readable(data[:cut])]
    # Behind the transfer syntax a file may end at each element: its dataset is empty then.
    assert all(read_file_meta(data[:cut]).digest is None for cut in readable)


def _readable(data: bytes) -> bool:
    try:
        return read_file_meta(data).dataset_offset <= len(data)
    except Malformed:
        return False
