"""Set-up of a new site: its keys, its recovery kit, its archive's place, and a state directory that `outpost run` can start from."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from cloudsync import fresh
from cloudsync.archive import opening
from cloudsync.catalog import epoch_entry
from cloudsync.ledger.ledger import Ledger
from cloudsync.seal import keys as seal_keys
from cloudsync.seal import kit
from edge.clock import Clock, SystemClock
from edge.config import Layout, parse
from edge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class NewSite:
    """What set-up made. The passphrase is stored nowhere: show it once."""

    site_id: str
    archive: str
    """Where the archive is, without any secret."""
    passphrase: str = field(repr=False)


def setup(state: Path, config_text: str, kit_directory: Path, clock: Clock | None = None) -> NewSite:
    """Make a site in an empty state directory from the text of its settings, and its recovery kit in another place.

    Blocks for some seconds. Raises ConfigError naming the key, NotEmpty, and LinkDown, CredentialRefused or QuotaExceeded of a folder
    that cannot be made an archive. Broken off in the middle, it can be run again; the kit of the broken attempt is worth nothing.
    """
    clock = clock or SystemClock()
    config, layout = parse(config_text), Layout(state)
    opening.check(config.archive)
    if (kit_directory / "kit.json").exists():
        raise ConfigError("--kit-out", f"{kit_directory} holds a recovery kit already", "Name an empty directory.")
    fresh.claim(layout)
    opening.prepare(config.archive)
    now = clock.now()
    keys, recovery = seal_keys.make(layout.keys, now=now)
    try:
        passphrase = kit.write(kit_directory, keys, recovery, opening.address(config.archive), now=now)
    except OSError as fault:
        raise ConfigError("--kit-out", f"{kit_directory}: {fault.strerror}", "Name a directory that this user can write.") from fault
    asyncio.run(_owe_epoch(layout, keys, now))
    fresh.finish(layout, config_text, config.wall)
    return NewSite(keys.site_id, opening.address(config.archive), passphrase)


async def _owe_epoch(layout: Layout, keys: seal_keys.Keys, now: float) -> None:
    """The keys travel sealed in the first catalog segment, which ships before anything else: the kit alone opens the rest by it."""
    ledger = await Ledger.open(layout.ledger)
    try:
        await ledger.chain.owe(msgspec.json.encode(epoch_entry(keys, now)), now)
    finally:
        await ledger.close()
