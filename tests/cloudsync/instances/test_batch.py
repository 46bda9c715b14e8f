"""What goes into one request, and which instances are read again."""

from __future__ import annotations

import random
from collections import deque

import pytest

from cloudsync.instances.batch import outlasts, request_bytes, sampled, take
from cloudsync.ledger.values import Instance
from edge.model import UID, Digest, PackId

MIB = 1 << 20


def instance(number: int, size: int) -> Instance:
    return Instance(PackId("a" * 26), number, UID("1.2"), UID("1.3"), UID(f"1.3.{number}"), size, Digest("0" * 64), "asked")


@pytest.mark.parametrize(
    ("goodput", "lanes", "expected"),
    [
        (0.0, 4, 128 << 10),  # nothing was measured yet
        (16_000.0, 1, 480_000),  # 128 kbit/s: half a minute
        (16_000.0, 4, 128 << 10),
        (48_000.0, 1, 1_440_000),  # 384 kbit/s
        (1_250_000.0, 4, 9_375_000),  # 10 Mbit/s, four at once
        (1e9, 4, 64 * MIB),
    ],
)
def test_a_request_takes_half_a_minute_of_its_share_within_its_bounds(goodput: float, lanes: int, expected: int) -> None:
    assert request_bytes(goodput, lanes, 1800, 64 * MIB) == expected


@pytest.mark.parametrize("goodput", [1_000.0, 16_000.0, 48_000.0, 125_000.0, 12_500_000.0])
@pytest.mark.parametrize("most_seconds", [60.0, 1800.0, 3600.0])
def test_a_request_ends_long_before_the_archive_ends_it(goodput: float, most_seconds: float) -> None:
    size = request_bytes(goodput, 1, most_seconds, 1 << 40)
    assert size == 128 << 10 or size / goodput <= most_seconds / 4


def test_a_batch_holds_what_fits_and_one_at_least_in_order() -> None:
    source = random.Random(7)
    waiting = deque(instance(number, source.choice([1_000, 40_000, 700_000])) for number in range(1000))
    sent: list[int] = []
    while waiting:
        batch = take(waiting, 300_000)
        assert len(batch) == 1 or sum(one.size for one in batch) <= 300_000
        assert len(batch) <= 200
        sent += [one.number for one in batch]
    assert sent == list(range(1000))


def test_an_instance_that_takes_longer_than_the_archive_waits_is_known_before_it_is_sent() -> None:
    assert outlasts(100 * MIB, 16_000.0, 1800)
    assert not outlasts(25_000_000, 16_000.0, 1800)
    assert not outlasts(100 * MIB, 0.0, 1800)


def test_a_sample_is_always_the_same_and_as_large_as_it_says() -> None:
    source = random.Random(7)
    digests = [Digest(f"{source.getrandbits(256):064x}") for _ in range(20_000)]
    of_them = [digest for digest in digests if sampled(digest, 1.0)]
    assert 150 <= len(of_them) <= 250
    assert all(sampled(digest, 5.0) for digest in of_them)
    assert all(sampled(digest, 100.0) for digest in digests)
    assert not any(sampled(digest, 0.0) for digest in digests)
