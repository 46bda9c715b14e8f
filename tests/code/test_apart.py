"""A pack as instances of their own, for an archive that reads DICOM: what it gives back makes the same pack again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy
import pytest

from edge import listing
from edge.code.coder import code
from edge.code.decoder import finish, restore
from edge.code.jobs import HEAD_APART, CodeJob, DecodeJob
from edge.code.manifest import covering, read_head
from edge.dataset.part10 import PREAMBLE, file_meta, read_file_meta
from edge.errors import Corrupt
from edge.model import UID, AETitle, Identity
from tests.code.packs import Instance, close_pack, generated, real_instances

SOME = sorted(real_instances()[0], key=lambda one: len(one.dataset))[:60]


def one_study(instances: list[Instance]) -> list[list[Instance]]:
    studies: dict[str, list[Instance]] = {}
    for instance in instances:
        studies.setdefault(instance.identity.study, []).append(instance)
    return list(studies.values())


def coded_apart(directory: Path, instances: list[Instance]) -> CodeJob:
    directory.mkdir()
    job = msgspec.structs.replace(close_pack(directory, instances), form="instances")
    coded = code(job)
    files = listing.read(Path(job.target_dir, "000000").read_bytes())
    assert coded.objects == len(files) == len(instances)
    assert coded.coded_bytes == sum(file.bytes for file in files)
    assert [part.number for part in coded.parts] == [0]
    return job


def decode_job(job: CodeJob, directory: Path) -> DecodeJob:
    numbers = range(1, len(job.members) + 1)
    return DecodeJob(
        pack=job.pack,
        head_path=str(Path(job.target_dir, HEAD_APART)),
        parts={number: str(Path(job.target_dir, f"{number:06d}")) for number in numbers},
        target_path=str(directory / "restored.tar"),
    )


def with_another_meta(path: Path) -> None:
    """As an archive may do: another preamble, another implementation, another private information, a longer file meta."""
    content = path.read_bytes()
    meta = read_file_meta(content)
    identity = Identity(UID(meta.sop_class), UID(meta.sop_instance), UID("1.2"), UID("1.2"))
    body = file_meta(identity, UID(meta.transfer_syntax), AETitle("AN_ARCHIVE"), None)
    path.write_bytes(b"\xff" * 128 + body[128:] + content[meta.dataset_offset :])


def test_each_real_instance_is_a_file_of_its_own_and_the_pack_comes_back(tmp_path: Path) -> None:
    for number, instances in enumerate(one_study(SOME)):
        directory = tmp_path / str(number)
        job = coded_apart(directory, instances)
        manifest = read_head(Path(job.target_dir, HEAD_APART).read_bytes()).manifest
        tar = Path(job.pack_path).read_bytes()
        for index, member in enumerate(manifest.members):
            path = Path(job.target_dir, f"{index + 1:06d}")
            assert path.read_bytes() == tar[member.content_offset : member.content_offset + member.content_length]
            assert covering(manifest, [index]) == [index + 1]
            with_another_meta(path)
        restored = restore(decode_job(job, directory))
        assert all(one.digest_ok for one in restored)
        assert finish(manifest, directory / "restored.tar")
        assert (directory / "restored.tar").read_bytes() == tar


def test_the_listing_names_each_instance_with_the_digest_of_its_dataset(tmp_path: Path) -> None:
    cells = numpy.arange(64, dtype=numpy.uint16).reshape(8, 8)
    instances = [generated(cells + number, number=number) for number in (3, 1, 2)]
    job = coded_apart(tmp_path / "pack", instances)
    files = listing.read(Path(job.target_dir, "000000").read_bytes())
    assert [file.sop_instance for file in files] == ["1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"]
    for number, file in enumerate(files, 1):
        content = Path(job.target_dir, f"{number:06d}").read_bytes()
        assert file.bytes == len(content)
        assert file.digest == hashlib.sha256(content[read_file_meta(content).dataset_offset :]).hexdigest()
        assert (file.study, file.series) == ("1.2.3.2", "1.2.3.3")


def test_another_dataset_is_not_written_into_the_pack(tmp_path: Path) -> None:
    cells = numpy.arange(64, dtype=numpy.uint16).reshape(8, 8)
    job = coded_apart(tmp_path / "pack", [generated(cells, number=number) for number in (1, 2)])
    path = Path(job.target_dir, "000002")
    path.write_bytes(path.read_bytes()[:-2] + b"\xff\xff")
    assert [one.digest_ok for one in restore(decode_job(job, tmp_path))] == [True, False]


@pytest.mark.parametrize("content", [b"", b"<html>sign in</html>", PREAMBLE, None], ids=["nothing", "a page", "no meta", "cut"])
def test_what_is_no_whole_file_is_damage(tmp_path: Path, content: bytes | None) -> None:
    cells = numpy.arange(64, dtype=numpy.uint16).reshape(8, 8)
    job = coded_apart(tmp_path / "pack", [generated(cells, number=1)])
    path = Path(job.target_dir, "000001")
    path.write_bytes(path.read_bytes()[:-10] if content is None else content)
    with pytest.raises(Corrupt):
        restore(decode_job(job, tmp_path))
