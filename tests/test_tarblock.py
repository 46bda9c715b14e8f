"""edge.tarblock: the header block of ustar members."""

import io
import random
import tarfile

import pytest

from edge.tarblock import BLOCK, ZERO_TAIL, Entry, header, padding, parse


def test_a_block_says_what_python_and_tar_read() -> None:
    block = header("1.2.3.dcm", "1.2", 5, 1_700_000_000)
    assert len(block) == BLOCK
    archive = block + b"abcde" + bytes(padding(5)) + ZERO_TAIL
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        (member,) = tar.getmembers()
        assert (member.name, member.size, member.mtime) == ("1.2/1.2.3.dcm", 5, 1_700_000_000)
        assert (member.mode, member.uid, member.gid, member.uname, member.gname) == (0o644, 0, 0, "", "")
        assert tar.extractfile(member).read() == b"abcde"


@pytest.mark.parametrize(("size", "mtime"), [(0, 0), (1, 1), (8**11 - 1, 8**11 - 1)])
def test_a_block_is_parsed_back_to_its_values(size: int, mtime: int) -> None:
    entry = Entry("n" * 100, "p" * 155, size, mtime)
    assert parse(header(entry.name, entry.prefix, size, mtime)) == entry
    assert parse(header("a", "", size, mtime)) == Entry("a", "", size, mtime)


def test_a_block_with_any_other_byte_is_none() -> None:
    block = header("1.2.3.dcm", "1.2", 5, 7)
    draw = random.Random(1)
    for place in range(BLOCK):
        changed = bytearray(block)
        changed[place] ^= 1 << draw.randrange(8)
        assert parse(changed) is None


@pytest.mark.parametrize("block", [b"", bytes(BLOCK), b"\xff" * BLOCK, header("a", "b", 1, 1)[:511]])
def test_what_is_no_block_is_none(block: bytes) -> None:
    assert parse(block) is None


@pytest.mark.parametrize(
    ("name", "prefix", "size", "mtime"),
    [("", "p", 0, 0), ("n" * 101, "p", 0, 0), ("n", "p" * 156, 0, 0), ("é", "p", 0, 0), ("n", "p", 8**11, 0), ("n", "p", 0, -1)],
)
def test_a_value_that_does_not_fit_is_refused(name: str, prefix: str, size: int, mtime: int) -> None:
    with pytest.raises(ValueError, match=r"ustar name|octal"):
        header(name, prefix, size, mtime)


def test_padding_reaches_the_next_block() -> None:
    assert [padding(size) for size in (0, 1, 511, 512, 513)] == [0, 511, 1, 0, 511]
