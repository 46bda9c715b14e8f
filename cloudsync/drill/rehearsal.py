"""A restore as after a fire, in a directory that is thrown away: catalog, keys, site state, then a sample of packs to the last bit."""

from __future__ import annotations

import asyncio
import math
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cryptography.x509 import SubjectKeyIdentifier

from cloudsync.archive.port import Archive, Damaged, NotThere, ObjectRefused
from cloudsync.drill.certificate import Certificate
from cloudsync.drill.decoder import Decoder
from cloudsync.drill.reading import Reading
from cloudsync.ledger.ledger import Ledger
from cloudsync.ledger.values import Stored
from cloudsync.rebuild import NothingThere, Rebuilt, RolledBack, rebuild
from cloudsync.seal import keys as seal_keys
from cloudsync.seal import sums
from cloudsync.seal.keys import Keys
from cloudsync.seal.kit import Kit
from cloudsync.seal.part import NotOurs, WrongKey
from edge.clock import Clock, utc
from edge.config import Layout
from edge.errors import Corrupt

_STUDY_UID = "0020000D"
_FAULTS = (NotThere, Damaged, ObjectRefused, NotOurs, WrongKey, Corrupt, NothingThere, RolledBack)
"""What a rehearsal finds out. Anything else (the link, the disk, a wrong setting) ends it without a certificate."""


@dataclass(slots=True)
class _Found:
    rebuilt: Rebuilt | None = None
    studies: int = 0
    packs: int = 0
    sampled_packs: int = 0
    instances: int = 0
    answering_seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is rehearsed."""

    kit: Kit
    settings: str
    """The text of the settings that a rebuilt box would get."""
    source: str
    """What their faults are blamed on."""
    address: str
    """Of the archive, without a secret."""
    percent: float
    """So much of the packs is restored to the last bit; one at least."""
    last_sequence: int | None
    patience_seconds: float


async def rehearse(wanted: Wanted, scratch: Path, archive: Archive, clock: Clock, say: Callable[[str], None]) -> Certificate:
    """Rebuild the site below `scratch`, an empty directory, and restore a sample; whoever made it removes it.

    What is wrong with kit or archive stands in the certificate. Raises LinkDown when the archive did not answer for `patience_seconds`, and
    what `rebuild` raises for settings and credential; there is no certificate then.
    """
    begun, began = clock.now(), clock.monotonic()
    reading, found = Reading(archive, clock, wanted.patience_seconds), _Found()
    try:
        found.rebuilt = await rebuild(
            scratch / "state",
            wanted.settings,
            wanted.kit,
            say,
            last_sequence=wanted.last_sequence,
            archive=reading,
            source=wanted.source,
            patience_seconds=wanted.patience_seconds,
        )
        found.answering_seconds = clock.monotonic() - began
        await _sample(wanted, scratch, reading, found, say)
    except _FAULTS as fault:
        found.faults.append(str(fault))
    finally:
        await reading.end()
    rebuilt = found.rebuilt
    return Certificate(
        at=utc(begun),
        result="failed" if found.faults else "passed",
        site=wanted.kit.site_id,
        archive=wanted.address,
        kit=SubjectKeyIdentifier.from_public_key(wanted.kit.recovery.private.public_key()).digest.hex(),
        trust_root=wanted.kit.trust_root,
        segments=rebuilt.sequence if rebuilt else 0,
        proven_end=rebuilt is not None and wanted.last_sequence is not None,
        site_state=rebuilt is not None and rebuilt.site_state,
        studies=found.studies,
        packs=found.packs,
        sample_percent=wanted.percent,
        sampled_packs=found.sampled_packs,
        sampled_instances=found.instances,
        read_bytes=reading.read_bytes,
        answering_seconds=round(found.answering_seconds, 1),
        seconds=round(clock.monotonic() - began, 1),
        faults=found.faults,
    )


async def _sample(wanted: Wanted, scratch: Path, archive: Reading, found: _Found, say: Callable[[str], None]) -> None:
    layout = Layout(scratch / "state")
    keys = seal_keys.load(layout.keys)
    ledger = await Ledger.open(layout.ledger)
    try:
        found.studies = len({str(pack.study.get(_STUDY_UID)) async for pack in ledger.retiring.known()})
        holdings = await ledger.verifying.stored("")
        found.packs = len(holdings)
        chosen = random.SystemRandom().sample(holdings, sample_size(len(holdings), wanted.percent))
        async with Decoder() as decoder:
            for number, holding in enumerate(chosen, 1):
                try:
                    found.instances += await _restore(scratch / "pack", ledger, keys, archive, decoder, holding)
                    found.sampled_packs += 1
                except _FAULTS as fault:
                    found.faults.append(str(fault))
                say(f"{number} of {len(chosen)} packs of the sample are restored and compared.")
    finally:
        await ledger.close()


async def _restore(place: Path, ledger: Ledger, keys: Keys, archive: Reading, decoder: Decoder, holding: Stored) -> int:
    """Restore one pack from the archive, and compare it with what the signed catalog says; how many instances it has."""
    row = await ledger.holdings.pack(holding.pack)
    assert row is not None
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    text = await archive.patiently(sums.Sums(keys.site_id, holding.stored_as, ()).place)
    whole = sums.proven(text, holding.sums_digest, keys.site_id, holding.stored_as)
    for each in whole.objects:
        sealed = await archive.patiently(whole.place_of(each.number))
        plain = await asyncio.to_thread(whole.open, each.number, sealed, keys.open)
        await asyncio.to_thread((place / f"{each.number:06d}").write_bytes, plain)
    parts = {each.number: place / f"{each.number:06d}" for each in whole.objects if each.number}
    instances = await decoder.restore(holding.pack, place / f"{0:06d}", parts, place / "pack.tar")
    if await asyncio.to_thread(_digest, place / "pack.tar") != row.sha256 or instances != row.instances:
        raise Corrupt(f"pack {holding.pack} does not come back as the catalog names it")
    shutil.rmtree(place)
    return instances


def sample_size(packs: int, percent: float) -> int:
    """How many of so many packs are restored: rounded up, one at least where there are any."""
    return min(packs, max(1, math.ceil(packs * percent / 100)))


def _digest(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
    return digest.hexdigest()
