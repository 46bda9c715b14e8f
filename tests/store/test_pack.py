"""edge.store.pack: a plain tar of DICOM files, of which each member proves itself."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pydicom
import pytest

from edge.dataset.part10 import read_file_meta
from edge.dataset.walk import EXPLICIT_LE, IMPLICIT_LE
from edge.dimse import status
from edge.durable import disk_errors
from edge.errors import Exhausted, OutpostError, StoreFailed, StoreFull
from edge.model import UID, Identity, Urgency
from edge.store.pack import OpenPack, digest_of, scan
from edge.store.packs import end_tar
from edge.web.faults import status_of
from tests.dataset.datasets import CT, dataset, element
from tests.limits import no_descriptors

STUDY = UID("1.2.3")


@pytest.fixture
def pack(tmp_path: Path) -> OpenPack:
    return OpenPack(tmp_path, STUDY, Urgency.ROUTINE)


def put(pack: OpenPack, data: bytes, name: str = "1.2.3.1.1", syntax: str = EXPLICIT_LE, fragment: int = 1 << 16) -> int:
    """Commit a dataset in fragments; the offset of its header."""
    writer = pack.append(Identity(UID(CT), UID(name), UID("1.2.3.1"), STUDY), UID(syntax), "CT99", 1_700_000_000)
    for begin in range(0, len(data), fragment):
        writer.write(memoryview(data)[begin : begin + fragment])
    member = writer.commit(f"{name}.dcm")
    assert member.digest == writer.digest == hashlib.sha256(data).hexdigest()
    return member.header_offset


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"the program {name} is not installed")
    return str(found)


def test_members_come_back_as_they_went_in(pack: OpenPack) -> None:
    datasets = [dataset(instance=f"1.2.3.1.{number}", pixels=os.urandom(1 + number * 300)) for number in range(6)]
    for number, data in enumerate(datasets):
        put(pack, data, f"1.2.3.1.{number}", fragment=1 if number == 0 else 100)
    found = list(scan(pack.descriptor))
    assert [os.pread(pack.descriptor, one.member.dataset_length, one.member.dataset_offset) for one in found] == datasets
    assert [one.name for one in found] == [f"1.2.3.1.{number}.dcm" for number in range(6)]
    assert {(one.series, one.received_at, one.meta.source_ae, one.meta.transfer_syntax) for one in found} == {
        ("1.2.3.1", 1_700_000_000, "CT99", EXPLICIT_LE)
    }
    assert [one.end for one in found[:-1]] == [one.member.header_offset for one in found[1:]]
    assert found[-1].end == pack.end == os.fstat(pack.descriptor).st_size
    assert pack.members == 6


@pytest.mark.parametrize("first", [0x00020010, 0x00020102, 0x00020000])
def test_a_dataset_that_begins_with_group_0002_is_a_member_like_any_other(pack: OpenPack, first: int) -> None:
    put(pack, element(first, "UI", IMPLICIT_LE) + dataset())
    put(pack, dataset(instance="1.2.3.1.2"), "1.2.3.1.2")
    assert len(list(scan(pack.descriptor))) == 2


def test_gnu_tar_and_dcmdump_open_a_closed_pack(pack: OpenPack, tmp_path: Path) -> None:
    tar, dcmdump = tool("tar"), tool("dcmdump")
    data = dataset(more={0x00080005: ("CS", "ISO_IR 192")})
    put(pack, data)
    put(pack, dataset(instance="1.2.3.1.2", pixels=b"others"), "1.2.3.1.2", syntax=EXPLICIT_LE)
    end_tar(pack.descriptor, pack.end, 1.0)
    target = tmp_path / "out"
    target.mkdir()
    answer = subprocess.run([tar, "-xvf", str(pack.path), "-C", str(target)], capture_output=True, text=True, check=True, timeout=20)
    assert answer.stdout.split() == ["1.2.3.1/1.2.3.1.1.dcm", "1.2.3.1/1.2.3.1.2.dcm"]
    assert answer.stderr == ""
    path = target / "1.2.3.1" / "1.2.3.1.1.dcm"
    assert path.stat().st_mode & 0o777 == 0o644
    dump = subprocess.run([dcmdump, str(path)], capture_output=True, text=True, check=True, timeout=20)
    assert "Doe^Jane" in dump.stdout
    assert "(0002,0102) OB" in dump.stdout
    assert dump.stderr == ""
    assert pydicom.dcmread(path).PatientID == "P1"


def test_each_file_proves_itself_after_it_was_taken_out_of_the_pack(pack: OpenPack) -> None:
    put(pack, dataset())
    end_tar(pack.descriptor, pack.end, 1.0)
    with tarfile.open(pack.path) as tar:
        member = tar.extractfile("1.2.3.1/1.2.3.1.1.dcm")
        assert member is not None
        content = member.read()
    meta = read_file_meta(content)
    assert meta.digest == hashlib.sha256(content[meta.dataset_offset :]).hexdigest()


def test_an_unfinished_member_is_cut_back_and_the_next_takes_its_place(pack: OpenPack) -> None:
    put(pack, dataset())
    end = pack.end
    writer = pack.append(Identity(UID(CT), UID("1.2.3.1.2"), UID("1.2.3.1"), STUDY), UID(EXPLICIT_LE), "CT99", 1)
    writer.write(bytes(5000))
    assert len(list(scan(pack.descriptor))) == 1
    writer.cut()
    writer.cut()
    assert (pack.end, os.fstat(pack.descriptor).st_size) == (end, end)
    assert put(pack, dataset(instance="1.2.3.1.3"), "1.2.3.1.3") == end


def test_the_last_member_is_taken_back(pack: OpenPack) -> None:
    put(pack, dataset())
    end = pack.end
    put(pack, dataset(instance="1.2.3.1.2"), "1.2.3.1.2")
    pack.take_back(list(scan(pack.descriptor))[1].member)
    assert (pack.members, pack.end, os.fstat(pack.descriptor).st_size) == (1, end, end)


def test_a_scan_stops_at_a_tail_that_was_torn_at_any_byte(pack: OpenPack) -> None:
    put(pack, dataset())
    end = pack.end
    put(pack, dataset(instance="1.2.3.1.2"), "1.2.3.1.2")
    whole = os.pread(pack.descriptor, pack.end, 0)
    second = list(scan(pack.descriptor))[1].member
    for cut in reversed(range(end, len(whole))):
        os.ftruncate(pack.descriptor, cut)
        found = [one.end for one in scan(pack.descriptor)]
        content_end = second.dataset_offset + second.dataset_length
        assert found == ([end, len(whole)] if cut >= content_end else [end]), cut
    os.pwrite(pack.descriptor, whole, 0)
    for place in range(end, second.dataset_offset + second.dataset_length, 7):
        os.pwrite(pack.descriptor, bytes([whole[place] ^ 1]), place)
        found = [one.end for one in scan(pack.descriptor)]
        # The file meta of another name or source is still the file meta of this dataset.
        assert found[:1] == [end]
        assert len(found) == 1 or end + 512 <= place < second.dataset_offset
        os.pwrite(pack.descriptor, whole[place : place + 1], place)


def test_a_scan_stops_at_a_reserved_header_and_at_the_end_of_a_closed_tar(pack: OpenPack) -> None:
    put(pack, dataset())
    end = pack.end
    os.pwrite(pack.descriptor, os.urandom(3000), end + 512)
    assert [one.end for one in scan(pack.descriptor)] == [end]
    size, digest = end_tar(pack.descriptor, end, 1.0)
    assert [one.end for one in scan(pack.descriptor)] == [end]
    assert size == end + 1024 == pack.path.stat().st_size
    assert digest == hashlib.sha256(pack.path.read_bytes()).hexdigest()


def test_an_empty_file_has_no_members(pack: OpenPack) -> None:
    assert list(scan(pack.descriptor)) == []


def test_a_digest_is_of_what_is_there(pack: OpenPack) -> None:
    os.pwrite(pack.descriptor, b"abc", 0)
    assert digest_of(pack.descriptor, 1, 100) == hashlib.sha256(b"bc").hexdigest()
    assert digest_of(pack.descriptor, 50, 10) == hashlib.sha256(b"").hexdigest()


def test_the_name_of_a_new_pack_does_not_follow_a_link_and_is_not_shared(tmp_path: Path) -> None:
    packs = [OpenPack(tmp_path, STUDY, Urgency.ROUTINE) for _ in range(3)]
    assert len({pack.path for pack in packs}) == 3
    assert all(pack.path.stat().st_mode & 0o007 == 0 for pack in packs)
    for pack in packs:
        pack.close()


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StoreFull),
        (errno.EDQUOT, StoreFull),
        (errno.EFBIG, StoreFull),
        (errno.EMFILE, Exhausted),
        (errno.ENFILE, Exhausted),
        (errno.ENOMEM, Exhausted),
        (errno.EIO, StoreFailed),
        (errno.EROFS, StoreFailed),
    ],
)
def test_a_full_disk_and_a_process_at_its_limits_pass_and_a_failing_disk_does_not(number: int, kind: type[Exception]) -> None:
    with pytest.raises(OutpostError) as raised, disk_errors():
        raise OSError(number, os.strerror(number))
    assert type(raised.value) is kind


def test_a_pack_cannot_be_made_without_a_descriptor_and_can_when_there_is_one_again(tmp_path: Path) -> None:
    with no_descriptors(), pytest.raises(Exhausted) as raised:
        OpenPack(tmp_path, STUDY, Urgency.ROUTINE)
    assert status.of_error(status.Service.STORE, raised.value) == 0xA700
    assert status_of(raised.value) == 503
    OpenPack(tmp_path, STUDY, Urgency.ROUTINE).close()


def test_what_is_no_fault_of_the_disk_rises_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError), disk_errors():
        raise ZeroDivisionError


def test_a_disk_that_refuses_the_flush_is_a_failed_store(pack: OpenPack) -> None:
    writer = pack.append(Identity(UID(CT), UID("1.2"), UID("1.2.3.1"), STUDY), UID(EXPLICIT_LE), "", 1)
    writer.write(dataset())
    descriptor, pack.descriptor = pack.descriptor, os.open("/dev/full", os.O_RDWR)
    with pytest.raises((StoreFull, StoreFailed)):
        writer.commit("1.2.dcm")
    os.close(pack.descriptor)
    pack.descriptor = descriptor
    assert (pack.end, pack.members) == (0, 0)
