"""What every archive of instances promises (cloudsync/archive/instances.py). One suite, run by each adapter and peer."""

from __future__ import annotations

import asyncio
import random
from io import BytesIO

import pytest

from cloudsync.archive.instances import InstanceArchive, InstanceName, Offer
from cloudsync.archive.part10 import dataset_digest, dataset_offset
from cloudsync.archive.port import Damaged, NotThere
from edge.model import UID
from tests.dicomweb import File, generated

pytestmark = pytest.mark.asyncio

AT_MOST = 1 << 20


def series_of(count: int, **options: bytes) -> list[File]:
    study = f"2.25.{random.getrandbits(100)}"
    return [generated(study, f"{study}.1", number, **options) for number in range(1, count + 1)]


async def retrieved(archive: InstanceArchive, name: InstanceName) -> bytes:
    into = BytesIO(b"from another attempt" * 1000)
    await archive.retrieve(name, into, AT_MOST)
    return into.getvalue()


def dataset(content: bytes) -> bytes:
    return content[dataset_offset(content) :]


async def test_what_was_stored_comes_back_with_the_same_dataset(instances: InstanceArchive) -> None:
    files = series_of(5)
    replies = await instances.store([file.offer for file in files])
    assert [(reply.sop_instance, reply.outcome) for reply in replies] == [(file.name.sop_instance, "stored") for file in files]
    for file in files:
        content = await retrieved(instances, file.name)
        assert dataset(content) == dataset(file.content)
        assert dataset_digest(BytesIO(content)) == dataset_digest(BytesIO(file.content))


async def test_what_is_stored_is_listed_in_its_series(instances: InstanceArchive) -> None:
    files = series_of(7)
    (study, series) = (files[0].name.study, files[0].name.series)
    assert await instances.exists(study, series) == frozenset()
    await instances.store([file.offer for file in files])
    assert await instances.exists(study, series) == {file.name.sop_instance for file in files}
    assert await instances.exists(study, UID("2.25.1")) == frozenset()


async def test_storing_the_same_again_is_success(instances: InstanceArchive) -> None:
    (file,) = series_of(1)
    for _ in range(2):
        (reply,) = await instances.store([file.offer])
        assert reply.outcome == "stored"


async def test_other_bytes_under_a_uid_do_not_replace_what_stands(instances: InstanceArchive) -> None:
    (file,) = series_of(1)
    other = generated(file.name.study, file.name.series, 1, note=b"another")
    await instances.store([file.offer])
    (reply,) = await instances.store([other.offer])
    assert reply.outcome in {"failed", "stored"}
    assert dataset(await retrieved(instances, file.name)) == dataset(file.content)


async def test_one_that_is_no_file_does_not_hold_up_the_others(instances: InstanceArchive) -> None:
    good, bad = series_of(2)
    garbage = Offer(bad.name, 4000, lambda offset, length: b"g" * length)
    first, second = await instances.store([good.offer, garbage])
    assert (first.outcome, second.outcome) == ("stored", "unsaid")
    (alone,) = await instances.store([garbage])
    assert alone.outcome == "failed"
    assert alone.reason


async def test_what_is_not_there_is_not_retrieved(instances: InstanceArchive) -> None:
    (file,) = series_of(1)
    with pytest.raises(NotThere):
        await retrieved(instances, file.name)
    await instances.store([file.offer])
    with pytest.raises(NotThere):
        await retrieved(instances, InstanceName(file.name.study, file.name.series, UID("2.25.2")))


async def test_more_bytes_than_allowed_are_damage(instances: InstanceArchive) -> None:
    (file,) = series_of(1)
    await instances.store([file.offer])
    with pytest.raises(Damaged):
        await instances.retrieve(file.name, BytesIO(), len(file.content) - 1)


async def test_the_list_has_every_instance_with_its_study_and_series(instances: InstanceArchive) -> None:
    files = [*series_of(4), *series_of(4)]
    await instances.store([file.offer for file in files])
    listed = [name async for name in instances.list()]
    assert {file.name for file in files} <= set(listed)
    assert len(listed) == len(set(listed))


async def test_a_cancelled_store_leaves_each_instance_whole_or_not_at_all(instances: InstanceArchive) -> None:
    files = series_of(20, note=bytes(4000))
    task = asyncio.create_task(instances.store([file.offer for file in files]))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for listed in await instances.exists(files[0].name.study, files[0].name.series):
        file = next(file for file in files if file.name.sop_instance == listed)
        assert dataset(await retrieved(instances, file.name)) == dataset(file.content)
    assert {reply.outcome for reply in await instances.store([file.offer for file in files])} == {"stored"}
