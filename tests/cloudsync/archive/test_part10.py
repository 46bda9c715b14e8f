"""Where a dataset begins in what an archive sends."""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO

import pytest

from cloudsync.archive.part10 import NoFile, dataset_digest, dataset_offset
from edge.dataset.part10 import file_meta, read_file_meta
from edge.model import UID, AETitle
from tests.code.packs import real_instances
from tests.dicomweb import generated

FILE = generated("2.25.72", "2.25.72.1", 1).content


def test_it_is_where_edge_says_of_every_real_instance() -> None:
    for instance in real_instances()[0][:40]:
        content = file_meta(instance.identity, UID(instance.transfer_syntax), AETitle("TEST"), instance.digest) + instance.dataset
        assert dataset_offset(content[: 1 << 20]) == read_file_meta(content).dataset_offset
        assert dataset_digest(BytesIO(content)) == instance.digest


def test_a_file_meta_without_group_length_is_walked() -> None:
    content = FILE[:132] + FILE[144:]
    assert dataset_offset(content) == dataset_offset(FILE) - 12
    assert dataset_digest(BytesIO(content)) == dataset_digest(BytesIO(FILE))


def test_a_long_dataset_is_read_to_its_end() -> None:
    dataset = bytes(range(256)) * (12 << 10)
    begin = FILE[: dataset_offset(FILE)]
    assert dataset_digest(BytesIO(begin + b"\x08" + dataset)) == sha256(b"\x08" + dataset).hexdigest()


@pytest.mark.parametrize("end", [0, 128, 131, 132, 136, 143, 150, 200])
def test_what_ends_before_its_dataset_is_no_file(end: int) -> None:
    with pytest.raises(NoFile):
        dataset_offset(FILE[:end])


def test_something_else_is_no_file() -> None:
    with pytest.raises(NoFile):
        dataset_digest(BytesIO(b"<html>" * 1000))
