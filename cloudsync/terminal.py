"""What the commands of this side have in common: their options, the eight words, and how an error is said."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.errors import AlreadyRunning, ConfigError, OutpostError

if TYPE_CHECKING:
    from edge.config import Layout

STATE = Annotated[Path, typer.Option("--state", envvar="OUTPOST_STATE", help="The state directory.", show_default=True)]
DEFAULT_STATE = Path("/var/lib/outpost")
JSON = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]
WORDS = Annotated[Path | None, typer.Option("--passphrase-file", help="A file with the eight words.")]


def words(path: Path | None) -> str:
    """The eight words, from a file or typed in."""
    if path is None and sys.stdin.isatty():
        return str(typer.prompt("The eight words of the kit", hide_input=True))
    if path is None:
        raise ConfigError(
            "--passphrase-file", "is not given, and there is no terminal to ask for the eight words", "Use --passphrase-file."
        )
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError("--passphrase-file", f"{path} cannot be read ({fault})", "Name a text file with the eight words.") from fault


@contextlib.contextmanager
def plainly(ended: str = "Ended before it was finished. Nothing is lost: run the command again.") -> Iterator[None]:
    """Say an error as a sentence, and exit with its code; so too for Ctrl-C, where `ended` is said."""
    try:
        yield
    except (KeyboardInterrupt, typer.Abort) as fault:
        typer.echo(f"\n{ended}", err=True)
        raise typer.Exit(130) from fault
    except OutpostError as fault:
        typer.echo(f"Error: {fault}", err=True)
        raise typer.Exit(fault.exit_code) from fault


@contextlib.contextmanager
def stopped(state: Path, cure: str) -> Iterator[Layout]:
    """The layout of a site whose cloudsync does not run, and cannot be started before the block ends; root acts as its user meanwhile.

    What is made there is for that user and its group. Raises AlreadyRunning with `cure`, how to stop it, and what `load` raises.
    """
    from cloudsync.users import acting_as_owner  # noqa: PLC0415
    from edge import process  # noqa: PLC0415
    from edge.config import Layout, load  # noqa: PLC0415

    layout = Layout(state)
    load(layout.config)
    umask = os.umask(0o027)
    try:
        with acting_as_owner(layout.keys):
            try:
                lock = process.lock(layout.cloudsync_lock)
            except AlreadyRunning as fault:
                raise AlreadyRunning(f"cloudsync runs on {state}. {cure} With systemd, reception goes on meanwhile.") from fault
            try:
                yield layout
            finally:
                os.close(lock)
    finally:
        os.umask(umask)
