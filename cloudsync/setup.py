"""Set-up of a new site: its keys, its recovery kit, its archive's place, and a state directory that `outpost run` can start from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from cloudsync import fresh
from cloudsync.archive import opening
from cloudsync.archive.port import CredentialRefused, LinkDown
from cloudsync.catalog import epoch_entry
from cloudsync.ledger.ledger import Ledger
from cloudsync.seal import keys as seal_keys
from cloudsync.seal import kit
from edge.clock import Clock, SystemClock
from edge.config import Config, Layout, parse
from edge.errors import ConfigError

_PLACE = "archive.path (--archive-folder)"


@dataclass(frozen=True, slots=True)
class NewSite:
    """What set-up made. The passphrase is stored nowhere: show it once."""

    site_id: str
    archive: str
    """Where the archive is, without any secret."""
    passphrase: str = field(repr=False)


def setup(
    state: Path,
    config_text: str,
    kit_directory: Path,
    clock: Clock | None = None,
    *,
    source: str = "outpost.toml",
    say: Callable[[str], None] = lambda _: None,
) -> NewSite:
    """Make a site in an empty state directory from the text of its settings, and its recovery kit in another place.

    `source` names the text in errors; `say` gets a sentence once the settings and every place were found to be right. Blocks for some
    seconds. Raises ConfigError naming the key, NotEmpty, and QuotaExceeded of a folder whose disk is full; nothing is left behind by
    what is wrong with a setting or a place. Broken off later, it can be run again; the kit of the broken attempt is worth nothing.
    """
    clock = clock or SystemClock()
    config, layout = parse(config_text, source), Layout(state)
    _check(config, layout, kit_directory)
    _prepare(config)
    fresh.claim(layout)
    say("Making keys and the recovery kit (a few seconds) ...")
    now = clock.now()
    keys, recovery = seal_keys.make(layout.keys, now=now)
    try:
        passphrase = kit.write(kit_directory, keys, recovery, opening.address(config.archive), now=now)
    except OSError as fault:
        raise ConfigError("--kit-out", f"{kit_directory}: {fault.strerror}", "Name a directory that this user can write.") from fault
    asyncio.run(_owe_epoch(layout, keys, now))
    fresh.finish(layout, config_text, config.wall)
    return NewSite(keys.site_id, opening.address(config.archive), passphrase)


def _check(config: Config, layout: Layout, kit_directory: Path) -> None:
    """Every place, before anything is made."""
    opening.check(config.archive)
    fresh.check(layout)
    others = [(layout.state, "the state directory")]
    if config.archive.kind == "folder":
        fresh.check_place(_PLACE, Path(config.archive.path))
        others.append((Path(config.archive.path).resolve(), "the archive"))
    fresh.check_place("--kit-out", kit_directory)
    if (kit_directory / "kit.json").exists():
        raise ConfigError("--kit-out", f"{kit_directory} holds a recovery kit already", "Name an empty directory.")
    for other, name in others:
        if kit_directory.resolve().is_relative_to(other):
            raise ConfigError(
                "--kit-out", f"{kit_directory} lies inside {name}", "Name a place of its own, best on a USB stick for the safe."
            )


def _prepare(config: Config) -> None:
    try:
        opening.prepare(config.archive)
    except (LinkDown, CredentialRefused) as fault:
        raise ConfigError(_PLACE, f"{config.archive.path} cannot be made an archive ({fault})", "Name another directory.") from fault


async def _owe_epoch(layout: Layout, keys: seal_keys.Keys, now: float) -> None:
    """The keys travel sealed in the first catalog segment, which ships before anything else: the kit alone opens the rest by it."""
    ledger = await Ledger.open(layout.ledger)
    try:
        await ledger.chain.owe([msgspec.json.encode(epoch_entry(keys, now))], now)
    finally:
        await ledger.close()
