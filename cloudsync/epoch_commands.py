"""`outpost keys rotate | share | revoke | export | certificate`: new epochs, and who else may read. No key is ever shown in clear."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloudsync.key_commands import NotAllowed, load
from cloudsync.terminal import DEFAULT_STATE, JSON, STATE, plainly, stopped
from edge.errors import Refused

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from cloudsync.ledger.ledger import Ledger
    from cloudsync.seal.keys import Keys
    from edge.config import Layout

# What these commands need besides typer is imported when they run: `outpost --help` must not wait for it.

app = typer.Typer()
"""Mounted beside `outpost keys show`."""

_ENDED = "Ended before it was finished: `outpost keys show` says whether it has happened."
CERTIFICATE = Annotated[Path, typer.Argument(help="The sibling's certificate, PEM: what `outpost keys certificate` prints there.")]


class NotConfirmed(Refused):
    """Nothing was shared: it takes a yes at the terminal, or --yes."""


class UnknownSibling(Refused):
    """This site shares its keys with nobody of that name. `outpost keys show` lists whom it shares them with."""


@app.command("rotate")
def rotate(state: STATE = DEFAULT_STATE, as_json: JSON = False) -> None:
    """Start a new epoch of keys, with cloudsync stopped: what is sealed from now on opens by a new key. The kit stays right."""
    with plainly(_ENDED):
        before, after = _change(state, "rotate", _turn(lambda own: own.siblings))
    _say_epoch(before, after, as_json)


@app.command("share")
def share(
    certificate: CERTIFICATE,
    state: STATE = DEFAULT_STATE,
    yes: Annotated[bool, typer.Option("--yes", help="The two fingerprints were compared: do not ask.")] = False,
    as_json: JSON = False,
) -> None:
    """Let a sibling (a hub, an escrow) read all that this site has sealed and will seal, with cloudsync stopped. It cannot write."""
    from cloudsync import epochs  # noqa: PLC0415
    from cloudsync.seal.certificates import fingerprint, key_id  # noqa: PLC0415
    from edge.clock import SystemClock  # noqa: PLC0415

    with plainly(_ENDED):
        sibling = _certificate(certificate)
        _confirm(sibling, yes)

        async def change(directory: Path, ledger: Ledger, own: Keys) -> Keys:
            return await epochs.share(directory, ledger, own, sibling, SystemClock().now())

        before, after = _change(state, "share", change)
    if as_json:
        found = {"site": after.site_id, "epoch": after.epoch, "key_id": key_id(sibling).hex(), "sha256": fingerprint(sibling)}
        typer.echo(json.dumps(found | {"shared_before": sibling in before.siblings}))
        return
    if sibling in before.siblings:
        typer.echo(f"Site {after.site_id} shares its keys with {key_id(sibling).hex()} already. Nothing was changed.")
    else:
        typer.echo(f"From now on the holder of the key {key_id(sibling).hex()} reads all that site {after.site_id} seals, of every epoch.")
    typer.echo(f"Next: start cloudsync, and take it the file that `outpost keys export {certificate} --out FILE` writes.")


@app.command("revoke")
def revoke(
    sibling: Annotated[str, typer.Argument(help="The key's id as `outpost keys show` prints it, or the certificate's file.")],
    state: STATE = DEFAULT_STATE,
    as_json: JSON = False,
) -> None:
    """Start a new epoch of keys, not shared with a sibling any more, with cloudsync stopped. It still reads what was shared."""
    with plainly(_ENDED):
        leaving = _key_id(sibling)  # read before this becomes the user of cloudsync
        before, after = _change(state, "revoke", _turn(lambda own: _without(own, leaving)))
    _say_epoch(before, after, as_json)
    if not as_json:
        typer.echo(
            f"Nothing can be taken back: what was sealed in epochs 1 to {before.epoch} stays readable for whoever was given their keys and"
            " can read the archive. Take away the sibling's right to read the archive too."
        )


@app.command("export")
def export(
    sibling: Annotated[str, typer.Argument(help="The key's id as `outpost keys show` prints it, or the certificate's file.")],
    out: Annotated[Path, typer.Option("--out", help="The file to write.")],
    state: STATE = DEFAULT_STATE,
    as_json: JSON = False,
) -> None:
    """Write the keys of all epochs, sealed for a sibling that they are shared with: what it needs to begin reading. No signing key."""
    from cloudsync.seal import sharing  # noqa: PLC0415
    from edge.durable import write_whole  # noqa: PLC0415
    from edge.errors import ConfigError  # noqa: PLC0415

    with plainly():
        own = load(state)
        certificate = _named(own, _key_id(sibling))
        if out.exists():
            raise ConfigError("--out", f"{out} is there already", "Name a new file.")
        try:
            write_whole(out, sharing.share(own, certificate), 0o644)
        except OSError as fault:
            raise ConfigError("--out", f"{out}: {fault.strerror}", "Name a file that this user can write.") from fault
    if as_json:
        typer.echo(json.dumps({"site": own.site_id, "trust_root": own.trust_root, "epoch": own.epoch, "file": str(out)}))
        return
    typer.echo(f"{out} opens with the sibling's private key alone. It brings the keys of epochs 1 to {own.epoch} of site {own.site_id}.")
    typer.echo("Anyone can write such a file: have the sibling compare, by voice, where the catalog of this site began:")
    typer.echo(f"    {own.trust_root}")


@app.command("certificate")
def certificate(state: STATE = DEFAULT_STATE, as_json: JSON = False) -> None:
    """Print this box's certificate for reading other sites: their `outpost keys share` takes it. It is made at first use."""
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    from cloudsync.seal import sharing  # noqa: PLC0415
    from cloudsync.seal.certificates import fingerprint, key_id  # noqa: PLC0415
    from cloudsync.users import acting_as_owner  # noqa: PLC0415
    from edge.clock import SystemClock  # noqa: PLC0415
    from edge.config import Layout  # noqa: PLC0415

    with plainly():
        own, directory = load(state), Layout(state).keys
        with acting_as_owner(directory):
            own_pair = sharing.make(directory, own.site_id, now=SystemClock().now())
    pem = own_pair.certificate.public_bytes(Encoding.PEM).decode()
    sha256 = fingerprint(own_pair.certificate)
    if as_json:
        typer.echo(json.dumps({"certificate": pem, "sha256": sha256, "key_id": key_id(own_pair.certificate).hex()}))
        return
    typer.echo(pem, nl=False)
    typer.echo(f"SHA-256, to be compared by voice: {sha256}", err=True)


_Change = Callable[[Path, "Ledger", "Keys"], Awaitable["Keys"]]


def _turn(siblings: Callable[[Keys], tuple[Certificate, ...]]) -> _Change:
    from cloudsync import epochs  # noqa: PLC0415
    from edge.clock import SystemClock  # noqa: PLC0415

    async def change(directory: Path, ledger: Ledger, own: Keys) -> Keys:
        return await epochs.begin(directory, ledger, own, siblings(own), SystemClock().now())

    return change


def _change(state: Path, command: str, change: _Change) -> tuple[Keys, Keys]:
    """Change the keys of a site whose cloudsync does not run, and cannot be started meanwhile; the keys before and after."""
    from cloudsync import epochs  # noqa: PLC0415
    from cloudsync.lane import check_read  # noqa: PLC0415
    from cloudsync.ledger.ledger import Ledger  # noqa: PLC0415

    async def changed(layout: Layout) -> tuple[Keys, Keys]:
        ledger = await Ledger.open(layout.ledger)
        try:
            await check_read(ledger)
            before = await epochs.current(layout.keys, ledger)
            return before, await change(layout.keys, ledger, before)
        finally:
            await ledger.close()

    load(state)
    cure = f"Stop it for `outpost keys {command}`: `systemctl stop cloudsync.service`, or Ctrl-C in `outpost run`."
    try:
        with stopped(state, cure) as layout:
            return asyncio.run(changed(layout))
    except PermissionError as fault:
        raise NotAllowed from fault


def _confirm(sibling: Certificate, yes: bool) -> None:
    from cloudsync.seal import sharing  # noqa: PLC0415
    from cloudsync.seal.certificates import fingerprint  # noqa: PLC0415
    from edge.clock import SystemClock  # noqa: PLC0415

    sharing.check(sibling, SystemClock().now())
    if yes:
        return
    if not sys.stdin.isatty():
        raise NotConfirmed
    typer.echo(
        "Its holder will read every study of this site. Compare the certificate's SHA-256 with the sibling's operator, by voice:", err=True
    )
    typer.echo(f"    {fingerprint(sibling)}", err=True)
    if not typer.confirm("Is it the same?", err=True):
        raise NotConfirmed


def _certificate(path: Path) -> Certificate:
    from cryptography.x509 import load_pem_x509_certificate  # noqa: PLC0415

    from edge.errors import ConfigError  # noqa: PLC0415

    try:
        return load_pem_x509_certificate(path.read_bytes())
    except OSError as fault:
        raise ConfigError("CERTIFICATE", f"{path} cannot be read ({fault.strerror})", "Name the sibling's certificate.") from fault
    except ValueError as fault:
        raise ConfigError("CERTIFICATE", f"{path} is no certificate in PEM", "Name what `outpost keys certificate` printed.") from fault


def _key_id(name: str) -> str:
    """40 hexadecimal digits as they are; else those of the certificate in the file of this name."""
    from cloudsync.seal.certificates import key_id  # noqa: PLC0415

    if len(name) == 40 and set(name.lower()) <= set("0123456789abcdef"):
        return name.lower()
    return key_id(_certificate(Path(name))).hex()


def _named(own: Keys, wanted: str) -> Certificate:
    """The sibling of this key id. Raises UnknownSibling."""
    from cloudsync.seal.certificates import key_id  # noqa: PLC0415

    found = next((each for each in own.siblings if key_id(each).hex() == wanted), None)
    if found is None:
        raise UnknownSibling(f"site {own.site_id} shares its keys with no {wanted}. `outpost keys show` lists whom it shares them with.")
    return found


def _without(own: Keys, wanted: str) -> tuple[Certificate, ...]:
    leaving = _named(own, wanted)
    return tuple(each for each in own.siblings if each != leaving)


def _say_epoch(before: Keys, after: Keys, as_json: bool) -> None:
    from cloudsync.seal.certificates import key_id  # noqa: PLC0415
    from edge.clock import utc  # noqa: PLC0415

    siblings = [key_id(each).hex() for each in after.siblings]
    if as_json:
        found = {"site": after.site_id, "epoch": after.epoch, "began": utc(after.began[after.epoch]), "shared_with": siblings}
        typer.echo(json.dumps(found))
        return
    typer.echo(f"Epoch {after.epoch} of site {after.site_id} has begun: what is sealed from now on opens by its key.")
    typer.echo(f"The keys of epochs 1 to {before.epoch} stay for reading. The recovery kit opens all, and stays as it is.")
    for each in siblings:
        typer.echo(f"Shared with {each} too.")
    typer.echo("Next: start cloudsync.")
