"""A sealed part opens by either key at its own place, and nothing else opens."""

from __future__ import annotations

import random

import pytest

from cloudsync.seal import part
from cloudsync.seal.part import Kek, NotOurs, WrongKey

from .conftest import Site
from .mutation import mutations

PLACE = "k7q2abcdef/p/mzxw6ytbmzxw6ytbmzxw6ytbmz/000003"
SIZES = [0, 1, 127, 128, 255, 256, 65_535, 65_536, 1 << 20]


@pytest.mark.parametrize("size", SIZES)
def test_either_key_opens_what_was_sealed(site: Site, size: int) -> None:
    data = random.Random(size).randbytes(size)
    sealed = site.keys.seal(PLACE, data)
    assert site.keys.open(sealed, PLACE) == data
    assert site.recovery.open(sealed, PLACE) == data
    assert len(sealed) - size <= part.MAX_OVERHEAD_BYTES


def test_the_same_data_is_never_sealed_to_the_same_bytes(site: Site) -> None:
    sealed = [site.keys.seal(PLACE, b"data") for _ in range(20)]
    assert len({each[-20:] for each in sealed}) == 20


def test_a_part_names_its_epoch(site: Site) -> None:
    assert part.epoch_of(site.keys.seal(PLACE, b"data"), PLACE) == 1
    kek = Kek(123_456_789, bytes(32))
    assert part.epoch_of(part.seal(PLACE, b"data", kek, site.keys.recovery), PLACE) == 123_456_789


@pytest.mark.parametrize("place", [PLACE[:-1], PLACE + ".1", PLACE.replace("000003", "000004"), "", PLACE + "\0", "é"])
def test_a_part_that_was_moved_does_not_open(site: Site, place: str) -> None:
    sealed = site.keys.seal(PLACE, b"data")
    for opener in (site.keys.open, site.recovery.open):
        with pytest.raises(NotOurs, match="another place"):
            opener(sealed, place)


def test_another_epoch_is_a_wrong_key_that_says_which_one_is_needed(site: Site) -> None:
    sealed = part.seal(PLACE, b"data", Kek(7, bytes(32)), site.keys.recovery)
    with pytest.raises(WrongKey, match=r"epoch 7.*epoch 1"):
        part.open_with_kek(sealed, PLACE, site.keys.kek)
    with pytest.raises(WrongKey, match="epoch 7, whose key is not here"):
        site.keys.open(sealed, PLACE)


def test_another_key_of_the_same_epoch_is_a_wrong_key(site: Site, other_site: Site) -> None:
    sealed = site.keys.seal(PLACE, b"data")
    with pytest.raises(WrongKey, match="another key sealed it"):
        other_site.keys.open(sealed, PLACE)


def test_another_recovery_key_is_a_wrong_key(site: Site, other_site: Site) -> None:
    sealed = site.keys.seal(PLACE, b"data")
    with pytest.raises(WrongKey, match="the key that was offered is another one"):
        other_site.recovery.open(sealed, PLACE)


def test_what_is_sealed_for_one_certificate_opens_by_its_key_alone(site: Site, other_site: Site) -> None:
    sealed = part.seal_for(PLACE, b"keys", site.keys.recovery)
    assert site.recovery.open(sealed, PLACE) == b"keys"
    for opener in (site.keys.open, other_site.keys.open, other_site.recovery.open):
        with pytest.raises(WrongKey):
            opener(sealed, PLACE)
    with pytest.raises(NotOurs):
        site.recovery.open(sealed, PLACE + "x")


def test_more_than_a_head_is_neither_sealed_nor_read(site: Site) -> None:
    with pytest.raises(ValueError, match="at most 67108864"):
        site.keys.seal(PLACE, bytes(part.MAX_DATA_BYTES + 1))
    with pytest.raises(NotOurs, match="longer"):
        site.keys.open(bytes(part.MAX_DATA_BYTES + part.MAX_OVERHEAD_BYTES + 1), PLACE)


def test_no_secret_is_shown_by_a_repr(site: Site) -> None:
    shown = f"{site.keys!r} {site.recovery!r} {site.keys.kek!r}"
    assert site.keys.kek.key.hex() not in shown
    assert repr(site.keys.kek.key) not in shown
    assert "PrivateKey" not in shown


@pytest.mark.parametrize("size", [0, 40, 300])
def test_none_of_thousands_of_mutations_opens(site: Site, size: int) -> None:
    sealed = site.keys.seal(PLACE, random.Random(size).randbytes(size))
    for number, mutated in enumerate(mutations(sealed, 5_000, seed=size)):
        opener = site.recovery.open if number % 4 == 0 else site.keys.open
        with pytest.raises(NotOurs):
            opener(mutated, PLACE)


def test_every_single_bit_counts(site: Site) -> None:
    sealed = site.keys.seal(PLACE, b"a")
    for position in range(len(sealed) * 8):
        flipped = bytearray(sealed)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(NotOurs):
            site.keys.open(bytes(flipped), PLACE)


def test_every_prefix_is_refused(site: Site) -> None:
    sealed = site.keys.seal(PLACE, b"a")
    for length in range(len(sealed)):
        with pytest.raises(NotOurs):
            site.keys.open(sealed[:length], PLACE)
