"""What every archive promises (cloudsync/archive/port.py). One suite, run by each adapter."""

from __future__ import annotations

import asyncio

import pytest

from cloudsync.archive.port import Archive, NotThere, Occupied, Stat, md5_of

pytestmark = pytest.mark.asyncio

NAME = "k7q2mzxw6y/p/abcdefghijklmnopqrstuvwxyz/000001"
DATA = bytes(range(256)) * 64


async def put(archive: Archive, name: str, data: bytes) -> None:
    await archive.put(name, data, md5_of(data))


async def test_what_was_put_comes_back_as_the_same_bytes(archive: Archive) -> None:
    await put(archive, NAME, DATA)
    assert await archive.get(NAME) == DATA


async def test_an_empty_object_is_an_object(archive: Archive) -> None:
    await put(archive, NAME, b"")
    assert await archive.get(NAME) == b""
    assert await archive.head(NAME) == Stat(NAME, 0, md5_of(b""))


async def test_a_whole_head_of_64_mib_goes_in_one_piece(archive: Archive) -> None:
    data = DATA * (4 << 10) + b"seal"
    await put(archive, NAME, data)
    assert md5_of(await archive.get(NAME)) == md5_of(data)
    assert await archive.head(NAME) == Stat(NAME, len(data), md5_of(data))


async def test_head_tells_size_and_md5(archive: Archive) -> None:
    await put(archive, NAME, DATA)
    assert await archive.head(NAME) == Stat(NAME, len(DATA), md5_of(DATA))


async def test_head_of_nothing_is_none(archive: Archive) -> None:
    assert await archive.head(NAME) is None


async def test_getting_what_is_not_there_says_so(archive: Archive) -> None:
    with pytest.raises(NotThere):
        await archive.get(NAME)


async def test_putting_the_same_bytes_again_is_success(archive: Archive) -> None:
    await put(archive, NAME, DATA)
    await put(archive, NAME, DATA)
    assert await archive.get(NAME) == DATA


async def test_other_bytes_never_replace_an_object(archive: Archive) -> None:
    await put(archive, NAME, DATA)
    for other in (DATA[:-1] + b"x", DATA[:-1], b""):
        with pytest.raises(Occupied):
            await put(archive, NAME, other)
    assert await archive.get(NAME) == DATA


async def test_of_many_writers_of_one_name_exactly_one_wins(archive: Archive) -> None:
    offers = [DATA + bytes([number]) for number in range(6)]
    results = await asyncio.gather(*(put(archive, NAME, offer) for offer in offers), return_exceptions=True)
    winners = [offer for offer, result in zip(offers, results, strict=True) if result is None]
    assert [await archive.get(NAME)] == winners
    assert all(isinstance(result, Occupied) for result in results if result is not None)


async def test_a_listing_has_every_name_below_the_prefix_in_order_with_its_size(archive: Archive) -> None:
    names = ["site/c/0/000000000001", "site/c/0/000000000002", "site/c/1/000000000001", "site/p/a/000000", "sitf/c/0/000000000003"]
    for number, name in enumerate(reversed(names)):
        await put(archive, name, DATA[:number])
    found = [(stat.name, stat.size) async for stat in archive.list("site/c/")]
    assert found == [(names[0], 4), (names[1], 3), (names[2], 2)]
    assert [stat.name async for stat in archive.list("site/c/0/00000000000")] == names[:2]
    assert [stat.name async for stat in archive.list("")] == names


async def test_a_listing_of_nothing_is_empty(archive: Archive) -> None:
    assert [stat async for stat in archive.list("site/")] == []


async def test_a_cancelled_put_leaves_the_whole_object_or_none(archive: Archive) -> None:
    data = DATA * 256
    for number in range(4):
        name = f"site/p/cancelled/{number:06d}"
        task = asyncio.create_task(put(archive, name, data))
        await asyncio.sleep(0.002 * number)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await put(archive, name, data)
        assert await archive.get(name) == data
