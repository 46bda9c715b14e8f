"""The commands with which people settle conflicts and clear quarantine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from edge import status
from edge.clock import utc
from edge.control.conflicts import Choose, Chosen, Conflict, ListConflicts, SharedId, ShowConflict, VariantRow
from edge.control.quarantine import DiscardQuarantined, ExportQuarantined, ListQuarantine, Quarantined, ReadmitQuarantined, ShowQuarantined
from edge.terminal import DEFAULT_STATE, JSON, PHI, STATE, ask, json_lines

conflicts = typer.Typer(no_args_is_help=True, help="Instances that came twice and differ; Patient IDs of several people.")
quarantine = typer.Typer(no_args_is_help=True, help="What could not be filed.")

INSTANCE = Annotated[str | None, typer.Option("--instance", help="Only this SOP Instance UID.")]
DIGEST = Annotated[str, typer.Argument(help="Digest, or its first eight digits or more.")]


@conflicts.command("ls")
def list_conflicts(state: STATE = DEFAULT_STATE, as_json: JSON = False, show_phi: PHI = False) -> None:
    """List studies with instances in conflict, and Patient IDs that several people have."""
    for row in ask(state, ListConflicts()):
        if as_json:
            hidden = isinstance(row, SharedId) and not show_phi
            json_lines([SharedId(patient_id="", issuer="", people=row.people) if hidden and isinstance(row, SharedId) else row])
        elif isinstance(row, Conflict):
            typer.echo(f"{row.study}  {row.instances} instances since {utc(row.since)}: {'; '.join(row.reasons)}")
        elif isinstance(row, SharedId):
            named = f" {row.patient_id} of {row.issuer or 'no issuer'}" if show_phi else ""
            typer.echo(f"Patient ID{named}: {row.people} people. `outpost studies correct` with --merge-into joins them")


@conflicts.command("show")
def show_conflict(study: str, state: STATE = DEFAULT_STATE, as_json: JSON = False) -> None:
    """Show the variants of each instance that is in conflict, in the order in which they came."""
    last = ""
    for row in ask(state, ShowConflict(study=study)):
        assert isinstance(row, VariantRow)
        if as_json:
            json_lines([row])
            continue
        if row.instance != last:
            typer.echo(f"instance {row.instance} of series {row.series}")
        last = row.instance
        seen = "visible" if row.visible else "hidden "
        says = row.because or row.standing or "first"
        typer.echo(f"  {seen}  {row.digest[:16]}  {utc(row.received_at)}  from {row.source_ae:16}  {status.size(row.bytes):>9}  {says}")


@conflicts.command("keep-first")
def keep_first(study: str, instance: INSTANCE = None, state: STATE = DEFAULT_STATE) -> None:
    """Keep what is visible now. Every variant stays stored."""
    _choose(state, study, "first", instance)


@conflicts.command("keep-newest")
def keep_newest(study: str, instance: INSTANCE = None, state: STATE = DEFAULT_STATE) -> None:
    """Make the variant visible that came last. Every variant stays stored."""
    _choose(state, study, "newest", instance)


@quarantine.command("ls")
def list_quarantine(state: STATE = DEFAULT_STATE, as_json: JSON = False) -> None:
    """List what was set aside, newest first."""
    for row in ask(state, ListQuarantine()):
        assert isinstance(row, Quarantined)
        if as_json:
            json_lines([row])
        else:
            typer.echo(f"{row.digest[:16]}  {utc(row.received_at)}  from {row.source_ae:16}  {status.size(row.bytes):>9}  {row.reason}")


@quarantine.command("show")
def show_quarantined(digest: DIGEST, state: STATE = DEFAULT_STATE, as_json: JSON = False) -> None:
    """Show one dataset, and what it says it is."""
    for row in ask(state, ShowQuarantined(digest=digest)):
        assert isinstance(row, Quarantined)
        if as_json:
            json_lines([row])
            continue
        typer.echo(f"digest           {row.digest}")
        typer.echo(f"received         {utc(row.received_at)} from {row.source_ae}, {status.size(row.bytes)}")
        typer.echo(f"transfer syntax  {row.transfer_syntax}")
        typer.echo(f"set aside        {row.reason}")
        for name, uid in zip(("SOP class", "SOP instance", "series", "study"), row.identity or (), strict=False):
            typer.echo(f"{name:15}  {uid}")
        typer.echo("`outpost quarantine readmit` files it" if row.identity else "It does not say what it is.")


@quarantine.command("export")
def export_quarantined(digest: DIGEST, file: Path, state: STATE = DEFAULT_STATE) -> None:
    """Write one dataset to a new file, to look at it with other tools."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as fault:
        typer.echo(f"{file}: {fault.strerror}.", err=True)
        raise typer.Exit(73) from fault
    try:
        list(ask(state, ExportQuarantined(digest=digest), descriptor))
    except BaseException:
        file.unlink()
        raise
    finally:
        os.close(descriptor)
    typer.echo(f"{file} is written. It holds patient data.")


@quarantine.command("readmit")
def readmit_quarantined(digest: DIGEST, state: STATE = DEFAULT_STATE) -> None:
    """File one dataset under what it says itself that it is; then it leaves quarantine."""
    for row in ask(state, ReadmitQuarantined(digest=digest)):
        assert isinstance(row, Quarantined)
        typer.echo(f"It is filed in study {row.identity[3] if row.identity else ''}.")


@quarantine.command("discard")
def discard_quarantined(
    digest: DIGEST, state: STATE = DEFAULT_STATE, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Delete one dataset for good."""
    if not yes:
        typer.confirm("There may be no other copy of it. Delete it?", abort=True)
    list(ask(state, DiscardQuarantined(digest=digest)))
    typer.echo("It is deleted.")


def _choose(state: Path, study: str, keep: Literal["first", "newest"], instance: str | None) -> None:
    for row in ask(state, Choose(study=study, keep=keep, instance=instance)):
        assert isinstance(row, Chosen)
        typer.echo(f"{row.instances} instances are decided; it shows within seconds.")
