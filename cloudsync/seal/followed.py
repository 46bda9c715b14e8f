"""What a box keeps of a site that it follows: what that site has shared, sealed as it came, and the trust root that a person compared.

One file for each site, `<site id>.json`, mode 0600. It opens nothing without the box's own `sibling.key`.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from cloudsync.seal import sharing
from cloudsync.seal.keys import KeysExposed, KeysMissing, is_site_id, read_file
from cloudsync.seal.part import NotOurs, WrongKey
from cloudsync.seal.sharing import Shared, Sibling
from edge.durable import flush_directory, write_whole
from edge.errors import OutpostError, Refused
from edge.model import Digest, parse_digest


class AnotherRoot(Refused):
    """The catalog of this site began with another certificate than the one that was named. Compare both with the site's recovery sheet."""


@dataclass(frozen=True, slots=True)
class Site:
    """A site that is followed."""

    shared: Shared
    since: float
    """Seconds since the epoch, by the clock of this box, when it was followed first."""


@dataclass(frozen=True, slots=True)
class Followed:
    """The sites that a box follows, as they were found at its start."""

    sibling: Sibling | None = None
    """The key for which they share; None where no site is followed."""
    sites: tuple[Site, ...] = ()
    faults: dict[str, str] = field(default_factory=dict)
    """By site: why what is kept of it does not open."""

    @property
    def names(self) -> frozenset[str]:
        """The ids of all of them, those with a fault included."""
        return frozenset(self.faults) | {site.shared.site_id for site in self.sites}


def keep(directory: Path, sealed: bytes, site: str, trust_root: Digest, sibling: Sibling, now: float) -> Shared:
    """Keep what a site has shared, flushed, in place of what it shared before; what it says. It counts as followed since `now` (seconds
    since the epoch), or since before.

    `trust_root` is the one that a person compared with the site's sheet. Raises AnotherRoot, and NotOurs or WrongKey as `open_shared`.
    """
    shared = sharing.open_shared(sealed, site, sibling)
    if shared.trust_root != trust_root:
        raise AnotherRoot
    directory.mkdir(mode=0o700, exist_ok=True)
    since = now
    if (directory / f"{site}.json").exists():
        with contextlib.suppress(NotOurs):  # what is damaged is what this is to mend
            since = _read(directory, site).since
    write_whole(directory / f"{site}.json", msgspec.json.encode(_File(1, site, trust_root, sealed, since)), 0o600)
    flush_directory(directory.parent)
    return shared


def drop(directory: Path, site: str) -> bool:
    """Follow a site no more; False where it is not followed. Flushed."""
    path = directory / f"{site}.json"
    if not is_site_id(site) or not path.exists():
        return False
    path.unlink()
    flush_directory(directory)
    return True


def load(directory: Path, keys: Path) -> Followed:
    """What `directory` holds, opened by the sibling key in the keys directory. What does not open is a fault of its site alone."""
    names = sorted(path.stem for path in directory.glob("*.json")) if directory.is_dir() else []
    if not names:
        return Followed()
    try:
        sibling = sharing.load(keys)
    except (KeysMissing, KeysExposed, NotOurs) as fault:
        return Followed(faults={site: _sentence(site, fault) for site in names})
    sites, faults = [], {}
    for site in names:
        try:
            sites.append(_open(directory, site, sibling))
        except (KeysExposed, NotOurs, WrongKey, AnotherRoot) as fault:
            faults[site] = _sentence(site, fault)
    return Followed(sibling, tuple(sites), faults)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    site: str
    trust_root: str
    shared: bytes
    since: float


def _open(directory: Path, site: str, sibling: Sibling) -> Site:
    kept = _read(directory, site)
    shared = sharing.open_shared(kept.shared, site, sibling)
    if shared.trust_root != kept.trust_root:
        raise AnotherRoot
    return Site(shared, kept.since)


def _read(directory: Path, site: str) -> _File:
    try:
        kept = msgspec.json.decode(read_file(directory, f"{site}.json"), type=_File)
    except msgspec.DecodeError as fault:
        raise NotOurs(f"{directory / site}.json is damaged") from fault
    if kept.format != 1 or kept.site != site or not is_site_id(site) or parse_digest(kept.trust_root) is None:
        raise NotOurs(f"{directory / site}.json is of another site or format")
    return kept


def _sentence(site: str, fault: OutpostError) -> str:
    said = str(fault).rstrip(".")
    return f"Site {site} is not followed: {said}. Have it export its keys once more, and run `outpost follow` with that file."
