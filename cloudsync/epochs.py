"""Epochs of keys, and who else may read. A change is recorded in the ledger, as the catalog entries that say it, then beside the keys.

The one transaction of the ledger decides: before it nothing has begun, after it `current` finishes what was broken off. Only a KEK that
no record names yet is written before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
from cryptography.x509 import Certificate, load_der_x509_certificate

from cloudsync.catalog import Entry, EpochEntry, SharedEntry, epoch_entry, shared_entry
from cloudsync.ledger.ledger import Ledger
from cloudsync.seal import keys as seal_keys
from cloudsync.seal.keys import Keys


async def current(directory: Path, ledger: Ledger) -> Keys:
    """The keys as the ledger has them: a change that was broken off is finished. Call it before anything is sealed."""
    keys = seal_keys.load(directory)
    after = keys
    for entry in _read(await ledger.chain.owed()):
        match entry:
            case EpochEntry(epoch=epoch, began=began) if epoch == after.epoch + 1:
                kek = seal_keys.read_kek(directory, epoch)
                after = replace(after, epoch=epoch, keks={**after.keks, epoch: kek}, began={**after.began, epoch: began}, siblings=())
            case SharedEntry(epoch=epoch, sibling=sibling) if epoch == after.epoch:
                after = _with(after, load_der_x509_certificate(sibling))
    if (after.epoch, after.siblings) != (keys.epoch, keys.siblings):
        seal_keys.replace(directory, after)
    return after


async def begin(directory: Path, ledger: Ledger, keys: Keys, siblings: Sequence[Certificate], now: float) -> Keys:
    """Start the next epoch, whose KEK these siblings get too. `keys` are those of `current`; `now` in seconds since the epoch."""
    kek = seal_keys.new_kek(directory, keys.epoch + 1)
    after = replace(
        keys, epoch=kek.epoch, keks={**keys.keks, kek.epoch: kek}, began={**keys.began, kek.epoch: now}, siblings=tuple(siblings)
    )
    await _record(directory, ledger, after, [epoch_entry(after, now), *(shared_entry(after, each, now) for each in siblings)], now)
    return after


async def share(directory: Path, ledger: Ledger, keys: Keys, sibling: Certificate, now: float) -> Keys:
    """Let a sibling read too, from the first epoch on; nothing where it does already. Raises UnfitCertificate. Values as in `begin`."""
    after = _with(keys, sibling)
    if after is not keys:
        await _record(directory, ledger, after, [shared_entry(keys, sibling, now)], now)
    return after


def reads_too(directory: Path, keys: Keys, entry: SharedEntry) -> Keys:
    """A sibling that the catalog of a rebuilt box names, before those that it names further on, stands beside the keys. Idempotent."""
    sibling = load_der_x509_certificate(entry.sibling)
    if entry.epoch != keys.epoch or sibling in keys.siblings:
        return keys
    after = replace(keys, siblings=(sibling, *keys.siblings))
    seal_keys.replace(directory, after)
    return after


def in_force(keys: Keys, owed: Sequence[bytes]) -> Keys:
    """The keys under which the next segment is sealed, while the catalog still owes these entries.

    A segment that says an epoch, and each one before it, is sealed under the epoch before: a sibling opens it, and finds the next KEK
    in it.
    """
    owes = next((entry.epoch for entry in _read(owed) if isinstance(entry, EpochEntry)), keys.epoch + 1)
    return replace(keys, epoch=max(1, owes - 1))


def _with(keys: Keys, sibling: Certificate) -> Keys:
    return keys if sibling in keys.siblings else replace(keys, siblings=(*keys.siblings, sibling))


async def _record(directory: Path, ledger: Ledger, after: Keys, entries: Sequence[Entry], now: float) -> None:
    await ledger.chain.owe([msgspec.json.encode(entry) for entry in entries], now)
    seal_keys.replace(directory, after)


def _read(owed: Sequence[bytes]) -> list[Entry]:
    return [msgspec.json.decode(entry, type=Entry) for entry in owed]
