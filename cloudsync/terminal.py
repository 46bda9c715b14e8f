"""What the commands of this side have in common: their options, the eight words, and how an error is said."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from edge.errors import ConfigError, OutpostError

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
