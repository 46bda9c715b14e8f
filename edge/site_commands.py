"""The command that puts a copy of the site state in the place of one that is damaged, while Outpost does not run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.clock import utc
from edge.errors import OutpostError, Unknown
from edge.terminal import DEFAULT_STATE, STATE, fail, stopped_site

site = typer.Typer(no_args_is_help=True, help="What people decided: peers, routes, corrections, choices, pins.")

COPY = Annotated[
    Path | None, typer.Option("--from", help="A copy that `outpost restore` brought into another directory: DIR/cloudsync/inbox/site/*.")
]


@site.callback()
def _verbs() -> None:
    """A verb has to follow."""


@site.command("restore")
def restore_site(state: STATE = DEFAULT_STATE, copy: COPY = None) -> None:
    """Put the newest copy of the site state in its place, while Outpost is stopped. What is there now is kept beside it."""
    # Imported when it is asked for: every other command does without it.
    from edge.startup import restore_site as restore_newest  # noqa: PLC0415
    from edge.store import site as site_state  # noqa: PLC0415
    from edge.wall import Gate  # noqa: PLC0415

    try:
        layout = stopped_site(state, "site restore")
        made_at: float | None
        if copy is None:
            made_at = restore_newest(layout, Gate(layout.facts), Gate(layout.inbox))
        else:
            data = _read(copy)
            site_state.restore(layout.site, data)
            made_at = copy.stat().st_mtime
        if made_at is None:
            raise Unknown(
                f"There is no copy in {layout.outbox / 'site'}. The archive has one: run `outpost restore` with the recovery kit into "
                "another directory, which changes nothing in the archive, then `outpost site restore --from` the file in its "
                "cloudsync/inbox/site, and delete that directory."
            )
    except OutpostError as fault:
        fail(fault)
    typer.echo(f"The copy of {utc(made_at)} is the site state now; the one before is kept as {layout.site}.old.")
    typer.echo("What was decided since then has to be decided again. Start Outpost.")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as fault:
        raise Unknown(f"{path} cannot be read ({fault.strerror}). Name a file of cloudsync/inbox/site.") from fault
