"""The command that makes the catalogue again while Outpost does not run."""

from __future__ import annotations

import os
import sys
import time

import typer

from edge.errors import OutpostError
from edge.terminal import DEFAULT_STATE, STATE, fail, stopped_site

catalogue = typer.Typer(no_args_is_help=True, help="Edge's index of what exists.")


@catalogue.callback()
def _verbs() -> None:
    """A verb has to follow."""


@catalogue.command("rebuild")
def rebuild_catalogue(state: STATE = DEFAULT_STATE) -> None:
    """Make the catalogue again from packs and heads, while Outpost is stopped. The next start does it by itself where it is lost."""
    # Imported when it is asked for: the supervisor, and every other command, does without it.
    from edge.rebuild import rebuild  # noqa: PLC0415
    from edge.store.anew import standing  # noqa: PLC0415
    from edge.store.decisions import Decisions  # noqa: PLC0415
    from edge.store.site import SiteState  # noqa: PLC0415

    begun = time.monotonic()
    try:
        layout = stopped_site(state, "catalogue rebuild")
        os.umask(0o027)
        site = SiteState(layout.site)
        try:
            made = rebuild(layout, standing(layout.catalogue), Decisions(site).corrections(), site.issuer_of, _say)
        finally:
            site.close()
    except OutpostError as fault:
        fail(fault)
    except KeyboardInterrupt as fault:
        typer.echo("\nEnded before it was finished. The catalogue is as it was.", err=True)
        raise typer.Exit(130) from fault
    seconds = max(time.monotonic() - begun, 0.001)
    typer.echo(f"{made.packs} packs with {made.instances} instances in {seconds:.1f} s ({made.instances / seconds:.0f} instances/s).")
    if made.unproven:
        typer.echo(
            f"{made.unproven} packs or instances do not prove themselves and are not in the catalogue; they are named above.", err=True
        )
    typer.echo("Start Outpost: what the archive holds is told again then. Until that is done nothing is evicted.")


def _say(done: int, packs: int) -> None:
    if sys.stderr.isatty():
        typer.echo(f"\r{done} of {packs} packs", nl=done == packs, err=True)
    elif done == packs or done % max(1, packs // 20) == 0:
        typer.echo(f"{done} of {packs} packs", err=True)
