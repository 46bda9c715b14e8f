"""`outpost follow | unfollow | followed`: read what another site of the same archive has, which shares its keys with this one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloudsync.key_commands import NotAllowed
from cloudsync.key_commands import load as load_keys
from cloudsync.terminal import DEFAULT_STATE, JSON, STATE, plainly
from edge.errors import ConfigError, Refused

if TYPE_CHECKING:
    from edge.model import Digest

# What these commands need besides typer is imported when they run: `outpost --help` must not wait for it.

app = typer.Typer()
"""Mounted at the top."""

SITE = Annotated[str, typer.Argument(help="The site's id, 10 characters: its `outpost keys show` and its recovery sheet say it.")]
KEYS = Annotated[Path, typer.Option("--keys", help="The file that `outpost keys export` wrote there for this box.")]
_NEXT = "Next: systemctl restart cloudsync.service, or stop and start `outpost run`."
ROOT = Annotated[
    str | None, typer.Option("--trust-root", help="Where its catalog began, SHA-256: from its sheet, or its `outpost keys show`.")
]


class NotCompared(Refused):
    """Nothing was changed: anyone can write such a file. Give --trust-root, or compare it at the terminal with the site's sheet."""


class NotFollowed(Refused):
    """This box does not follow that site. `outpost followed` lists those that it follows."""


@app.command("follow")
def follow(site: SITE, keys: KEYS, trust_root: ROOT = None, state: STATE = DEFAULT_STATE, as_json: JSON = False) -> None:
    """Answer for the studies of another site of this archive too, as NEARLINE, and recall them. What it ships from now on is sent on by the
    routes of this box. Run it again when that site has begun a new epoch without this box, or a fault says so.
    """
    from cloudsync.seal import followed, sharing  # noqa: PLC0415
    from cloudsync.seal.keys import is_site_id  # noqa: PLC0415
    from cloudsync.users import acting_as_owner  # noqa: PLC0415
    from edge.clock import SystemClock  # noqa: PLC0415
    from edge.config import Layout  # noqa: PLC0415

    layout = Layout(state)
    with plainly():
        own = load_keys(state)
        if not is_site_id(site) or site == own.site_id:
            raise ConfigError("SITE", f"{site!r} is no id of another site", "Use the one that `outpost keys show` says there.")
        try:
            sealed = keys.read_bytes()
        except OSError as fault:
            raise ConfigError(
                "--keys", f"{keys} cannot be read ({fault.strerror})", "Name what `outpost keys export` wrote there."
            ) from fault
        try:
            sibling = sharing.load(layout.keys)
            shared = sharing.open_shared(sealed, site, sibling)
            root = _compared(trust_root, shared.trust_root)
            with acting_as_owner(layout.cloudsync):
                followed.keep(layout.followed, sealed, site, root, sibling, SystemClock().now())
        except PermissionError as fault:
            raise NotAllowed from fault
    if as_json:
        typer.echo(json.dumps({"site": site, "trust_root": root, "epoch": shared.epoch}))
        return
    typer.echo(f"Site {site} is followed once cloudsync is started again; what it sealed in epochs 1 to {shared.epoch} opens here.")
    typer.echo(_NEXT)


@app.command("unfollow")
def unfollow(site: SITE, state: STATE = DEFAULT_STATE, as_json: JSON = False) -> None:
    """Follow a site no more: its studies answer here no longer, and what was recalled of them goes. There, all stays as it is."""
    from cloudsync.seal import followed  # noqa: PLC0415
    from cloudsync.users import acting_as_owner  # noqa: PLC0415
    from edge.config import Layout  # noqa: PLC0415

    layout = Layout(state)
    with plainly():
        load_keys(state)
        try:
            with acting_as_owner(layout.cloudsync):
                gone = followed.drop(layout.followed, site)
        except PermissionError as fault:
            raise NotAllowed from fault
        if not gone:
            raise NotFollowed
    if as_json:
        typer.echo(json.dumps({"site": site}))
        return
    typer.echo(f"Site {site} is forgotten once cloudsync is started again.")
    typer.echo(_NEXT)
    typer.echo("What it shared can still be read by whoever has the keys of this box: have it run `outpost keys revoke`.")


@app.command("followed")
def list_followed(state: STATE = DEFAULT_STATE, as_json: JSON = False) -> None:
    """The sites that this box follows, and whose keys do not open. What is wrong with their catalogs, `outpost status` says."""
    from cloudsync.seal import followed  # noqa: PLC0415
    from edge.clock import utc  # noqa: PLC0415
    from edge.config import Layout  # noqa: PLC0415

    layout = Layout(state)
    with plainly():
        load_keys(state)
        try:
            found = followed.load(layout.followed, layout.keys)
        except PermissionError as fault:
            raise NotAllowed from fault
    if as_json:
        sites = [
            {"site": each.shared.site_id, "since": utc(each.since), "epoch": each.shared.epoch, "trust_root": each.shared.trust_root}
            for each in found.sites
        ]
        typer.echo(json.dumps({"followed": sites, "faults": found.faults}))
        return
    for each in found.sites:
        typer.echo(f"{each.shared.site_id}  since {utc(each.since)}, epochs 1 to {each.shared.epoch}")
    for sentence in found.faults.values():
        typer.echo(sentence)
    if not found.names:
        typer.echo("No other site is followed.")


def _compared(given: str | None, found: Digest) -> Digest:
    """The trust root that a person knows from elsewhere. Raises NotCompared, and ConfigError for what is none."""
    from edge.model import parse_digest  # noqa: PLC0415

    if given is not None:
        digest = parse_digest(given.strip().lower())
        if digest is None:
            raise ConfigError("--trust-root", "is no SHA-256", "Give the 64 hexadecimal digits of the site's sheet.")
        return digest
    if not sys.stdin.isatty():
        raise NotCompared
    typer.echo(
        "The file says that the catalog of this site began with the certificate of this SHA-256. Compare it with its sheet:", err=True
    )
    typer.echo(f"    {found}", err=True)
    if not typer.confirm("Is it the same?", err=True):
        raise NotCompared
    return found
