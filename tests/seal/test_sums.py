"""The sums of a pack: sha256sum reads them, and so do we, strictly."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from cloudsync.seal import sums
from cloudsync.seal.part import NotOurs
from cloudsync.seal.sums import Sum, Sums
from edge.model import Digest, PackId

from .mutation import mutations

SITE, PACK = "k7q2abcdef", PackId("mzxw6ytbmzxw6ytbmzxw6ytbmz")
OBJECTS = [b"head" * 10, b"part one", b"part two"]


def sums_of(objects: list[bytes]) -> Sums:
    return Sums(
        SITE, PACK, tuple(Sum(n, len(data), Digest(sha256(data).hexdigest()), 1 if n == 2 else 0) for n, data in enumerate(objects))
    )


def test_what_is_written_is_read() -> None:
    written = sums.write(sums_of(OBJECTS))
    assert sums.parse(written, SITE, PACK) == sums_of(OBJECTS)


def test_the_attempt_that_counts_is_named() -> None:
    named = sums_of(OBJECTS)
    assert named.place == f"{SITE}/p/{PACK}/sums"
    assert named.place_of(0) == f"{SITE}/p/{PACK}/000000"
    assert named.place_of(2) == f"{SITE}/p/{PACK}/000002.1"
    with pytest.raises(NotOurs, match="no object 3"):
        named.place_of(3)


def test_sha256sum_agrees(tool: Callable[[str], str], tmp_path: Path) -> None:
    named = sums_of(OBJECTS)
    for each, data in zip(named.objects, OBJECTS, strict=True):
        (tmp_path / each.name).write_bytes(data)
    (tmp_path / "sums").write_bytes(sums.write(named))
    done = subprocess.run([tool("sha256sum"), "--check", "--strict", "sums"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_object_is_compared_by_size_and_digest() -> None:
    named = sums_of(OBJECTS)
    named.check(1, OBJECTS[1])
    with pytest.raises(NotOurs, match="000001 has 9 bytes; the sums say 8"):
        named.check(1, OBJECTS[1] + b"x")
    with pytest.raises(NotOurs, match="000001 is not what the sums say"):
        named.check(1, OBJECTS[2])


def test_only_bytes_that_the_sums_name_come_before_a_key() -> None:
    named, offered = sums_of(OBJECTS), list[tuple[bytes, str]]()

    def opener(sealed: bytes, place: str) -> bytes:
        offered.append((sealed, place))
        return b"opened"

    assert named.open(2, OBJECTS[2], opener) == b"opened"
    for number, data in ((0, OBJECTS[1]), (1, OBJECTS[2]), (2, b""), (3, OBJECTS[2])):
        with pytest.raises(NotOurs):
            named.open(number, data, opener)
    assert offered == [(OBJECTS[2], f"{SITE}/p/{PACK}/000002.1")]


def test_sums_that_the_catalog_does_not_name_are_refused_though_they_are_whole() -> None:
    written = sums.write(sums_of(OBJECTS))
    digest = sha256(written).hexdigest()
    assert sums.proven(written, digest, SITE, PACK) == sums_of(OBJECTS)
    for other in (sums.write(sums_of(OBJECTS[:2])), sums.write(sums_of([*OBJECTS[:2], b"part TWO"])), b""):
        with pytest.raises(NotOurs, match=f"{PACK}/sums is not what the catalog says"):
            sums.proven(other, digest, SITE, PACK)


@pytest.mark.parametrize("numbers", [(), (1,), (0, 2), (0, 0), (1, 0)])
def test_a_gap_is_not_written(numbers: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="once, in order"):
        sums.write(Sums(SITE, PACK, tuple(Sum(n, 1, Digest("0" * 64)) for n in numbers)))


def test_the_sums_of_another_pack_are_refused() -> None:
    written = sums.write(sums_of(OBJECTS))
    with pytest.raises(NotOurs, match="line 1"):
        sums.parse(written, "a" * 10, PACK)
    with pytest.raises(NotOurs, match="line 1"):
        sums.parse(written, SITE, PackId("a" * 26))


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        (b"# 000001 8", b"# 000001 08", "line 4"),
        (b"# 000001 8", b"# 000003 8", "line 4"),
        (b"  000001\n", b" *000001\n", "line 4"),
        (b"  000002.1\n", b"  000002.2\n", "line 6"),
        (b"  000002.1\n", b"  000002.1\n\n", "line"),
        (b"  000002.1\n", b"  000002.1", "line"),
        (b"bytes\n", b"bytes\r\n", "line 2"),
    ],
)
def test_a_fault_is_named_by_its_line(before: bytes, after: bytes, line: str) -> None:
    written = sums.write(sums_of(OBJECTS))
    assert before in written
    with pytest.raises(NotOurs, match=line):
        sums.parse(written.replace(before, after), SITE, PACK)


def test_whatever_is_read_is_in_the_one_form() -> None:
    read = 0
    for mutated in mutations(sums.write(sums_of(OBJECTS)), 5_000, seed=1):
        try:
            found = sums.parse(mutated, SITE, PACK)
        except NotOurs:
            continue
        read += 1
        assert sums.write(found) == mutated
    assert read < 2_500


def test_random_bytes_are_refused() -> None:
    dice = random.Random(2)
    for _ in range(1_000):
        with pytest.raises(NotOurs):
            sums.parse(dice.randbytes(dice.randrange(200)), SITE, PACK)
