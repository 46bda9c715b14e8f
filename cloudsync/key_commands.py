"""`outpost kit test` and `outpost keys show`: is the recovery kit right, who can open what this box seals? No secret is printed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloudsync.terminal import DEFAULT_STATE, JSON, STATE, WORDS, plainly, words
from edge.errors import Refused

if TYPE_CHECKING:
    from cloudsync.seal.keys import Keys
    from cloudsync.seal.kit import Kit

# What these commands need besides typer is imported when they run: `outpost --help` must not wait for it.

kit = typer.Typer(no_args_is_help=True, help="The recovery kit.")
keys = typer.Typer(no_args_is_help=True, help="The keys of this box.")

_CLEAR = "\033[H\033[2J\033[3J"
"""Of the screen and of what it remembers."""


class NotAllowed(Refused):
    """This user may not read the keys. Use sudo."""


@kit.command("test")
def test(
    state: STATE = DEFAULT_STATE,
    directory: Annotated[Path | None, typer.Option("--kit", help="Test the files and the eight words, instead of the sheet.")] = None,
    passphrase_file: WORDS = None,
    as_json: JSON = False,
) -> None:
    """Type the printed sheet back in (or name the kit's directory): proves that it opens what this box seals. Changes nothing."""
    from cloudsync.seal import tested  # noqa: PLC0415
    from cloudsync.seal.kit import look, prove  # noqa: PLC0415
    from edge.clock import SystemClock  # noqa: PLC0415
    from edge.config import Layout  # noqa: PLC0415

    layout = Layout(state)
    with plainly("Ended before it was finished. The kit counts as not tested."):
        own = load(state)
        typed = _from_sheet(own) if directory is None else look(directory).open(words(passphrase_file))
        prove(typed, own)
        passed = tested.record(layout.kit_tested, own, "sheet" if directory is None else "kit", now=SystemClock().now())
    if as_json:
        typer.echo(json.dumps({"site": own.site_id, "at": passed.at, "by": passed.by, "recovery_key": passed.recovery_key}))
        return
    what = "sheet" if directory is None else f"kit in {directory}"
    typer.echo(f"The {what} is right: it opens what site {own.site_id} seals. Put it back into the safe.")


@keys.command("show")
def show(state: STATE = DEFAULT_STATE, as_json: JSON = False) -> None:
    """Who can open what this box seals, the epochs and since when, the fingerprints, and when the recovery kit was last tested."""
    from cloudsync.seal import tested  # noqa: PLC0415
    from cloudsync.seal.certificates import fingerprint, key_id  # noqa: PLC0415
    from edge.clock import utc  # noqa: PLC0415
    from edge.config import Layout  # noqa: PLC0415

    layout = Layout(state)
    with plainly():
        own = load(state)
        passed = tested.last(layout.kit_tested, own)
    recovery, signing = (
        {"sha256": fingerprint(each), "key_id": key_id(each).hex(), "made": f"{each.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}"}
        for each in (own.recovery, own.signing)
    )
    epochs = [(epoch, utc(own.began[epoch]) if epoch in own.began else None) for epoch in sorted(own.keks)]
    siblings = [{"key_id": key_id(each).hex(), "sha256": fingerprint(each), "name": each.subject.rfc4514_string()} for each in own.siblings]
    if as_json:
        found = {
            "site": own.site_id,
            "epoch": own.epoch,
            "epochs": [{"epoch": epoch, "began": began} for epoch, began in epochs],
            "shared_with": siblings,
            "recovery": recovery,
            "signing": signing,
            "trust_root": own.trust_root,
            "kit_tested": None if passed is None else {"at": passed.at, "by": passed.by},
        }
        typer.echo(json.dumps(found))
        return
    typer.echo(f"Site {own.site_id} seals each object for two recipients:")
    typer.echo(f"  this box      the key of epoch {own.epoch}")
    typer.echo(f"  recovery kit  certificate of {recovery['made']}, key {recovery['key_id']}")
    typer.echo(f"                SHA-256 {recovery['sha256']}")
    for epoch, began in epochs:
        typer.echo(f"Epoch {epoch} began {began or 'before that was written down'}" + (", for reading" if epoch != own.epoch else ""))
    for each in siblings:
        typer.echo(f"All epochs are shared with the key {each['key_id']} ({each['name']})")
        typer.echo(f"                SHA-256 {each['sha256']}")
    if not siblings:
        typer.echo("No key is shared with another site.")
    typer.echo(f"Its catalog is signed by the certificate of {signing['made']}, key {signing['key_id']}")
    typer.echo(f"                SHA-256 {signing['sha256']}")
    typer.echo(f"and began with  SHA-256 {own.trust_root}, which stands on the sheet")
    typer.echo(
        "The recovery kit was never tested here: run `outpost kit test`."
        if passed is None
        else f"The recovery kit was last tested on {passed.at}, by its {'printed sheet' if passed.by == 'sheet' else 'files and words'}."
    )


def load(state: Path) -> Keys:
    """The keys of a site. Raises NotAllowed, KeysMissing or KeysExposed."""
    from cloudsync.seal import keys as seal_keys  # noqa: PLC0415
    from edge.config import Layout  # noqa: PLC0415

    try:
        return seal_keys.load(Layout(state).keys)
    except PermissionError as fault:
        raise NotAllowed from fault


def _from_sheet(own: Keys) -> Kit:
    """The kit, from eight lines that are typed in or come by a pipe."""
    from cloudsync.seal.kit import from_sheet_lines  # noqa: PLC0415
    from cloudsync.seal.paper import LINES  # noqa: PLC0415

    attended = sys.stdin.isatty()
    lines = [_line(number) for number in range(1, LINES + 1)] if attended else sys.stdin.read().splitlines()
    if attended:
        typer.echo(_CLEAR, nl=False, err=True)
    return from_sheet_lines(lines, own.site_id, "", own.trust_root)


def _line(number: int) -> str:
    """One line, asked for until its check letter is right."""
    from cloudsync.seal.paper import fault_in  # noqa: PLC0415

    while True:
        typed = str(typer.prompt(f"Line {number} of the sheet", err=True))
        fault = fault_in(number, typed)
        if fault is None:
            return typed
        typer.echo(f"Line {number} {fault}.", err=True)
