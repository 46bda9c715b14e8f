"""`outpost retention`: what is due is planned and approved on the box, and deleted elsewhere, by somebody who may delete."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloudsync.terminal import DEFAULT_STATE, JSON, STATE, plainly, stopped
from edge.errors import ConfigError, Permanent

if TYPE_CHECKING:
    from cloudsync.archive.erasing import Eraser
    from cloudsync.ledger.ledger import Ledger
    from cloudsync.retention.rule import Rule
    from cloudsync.seal.keys import Keys
    from edge.config import Layout
    from edge.model import Digest

# What these commands need besides typer is imported when they run: `outpost --help` must not wait for it.

retention = typer.Typer(no_args_is_help=True, help="How long the archive keeps what it holds.")

_OUT = Annotated[Path, typer.Option("--out", help="The file to write, mode 0600.")]
_BY = Annotated[str, typer.Option("--by", help="Who is responsible, as it is to stand in the catalog for good.")]
_KEPT_EXIT = 77
_STOP = "Stop it first (`systemctl stop cloudsync.service`, or Ctrl-C)."


@retention.command("plan")
def plan(
    years: Annotated[int, typer.Option("--years", min=1, help="How many years a study is kept, counted from its date.")],
    law: Annotated[str, typer.Option("--law", help="The law that says so.")],
    reason: Annotated[str, typer.Option("--reason", help="Why what is due may be deleted.")],
    by: _BY,
    out: _OUT,
    state: STATE = DEFAULT_STATE,
    modality_years: Annotated[
        list[str] | None, typer.Option("--modality-years", metavar="MODALITY=YEARS", help="Another number of years; may be repeated.")
    ] = None,
    minors_until: Annotated[
        int | None,
        typer.Option("--minors-until", min=18, help="Keep studies of patients who were under 18 at least until this birthday."),
    ] = None,
    as_json: JSON = False,
) -> None:
    """Write a signed list of the studies that are due by a rule, for review. Changes nothing. Cloudsync has to be stopped."""
    import asyncio  # noqa: PLC0415

    from cloudsync.retention import paper, planner  # noqa: PLC0415
    from cloudsync.retention.rule import Rule  # noqa: PLC0415
    from edge.clock import SystemClock, utc  # noqa: PLC0415
    from edge.config import Layout  # noqa: PLC0415

    with plainly():
        rule = Rule(years, dict(map(_modality, modality_years or ())), minors_until)
        _signed_by(by, law, reason)
        keys = _keys(Layout(state))
        with stopped(state, _STOP) as layout:
            now = SystemClock().now()

            async def find() -> planner.Due:
                async with _ledger(layout) as ledger:
                    return await planner.due(ledger, rule, now)

            due = asyncio.run(find())
        fields = paper.common(keys, utc(now), by, law, reason)
        paper.write(out, paper.Plan(**fields, rule=_words(rule), studies=due.studies), keys)  # type: ignore[arg-type]
    figures = {
        "plan": str(out),
        "studies": len(due.studies),
        "packs": sum(len(study.packs) for study in due.studies),
        "instances": sum(study.instances for study in due.studies),
        "bytes": sum(study.bytes for study in due.studies),
        "not_decided": due.undecided,
    }
    if as_json:
        typer.echo(json.dumps(figures))
        return
    typer.echo(f"{figures['studies']} studies with {figures['instances']} instances in {figures['packs']} packs are due: {out}.")
    for study in due.undecided:
        typer.echo(f"{study} would be due, but not all of it is in the archive yet: it is not in the plan.", err=True)
    typer.echo("Nothing was changed. Review it with `outpost retention show`, then `outpost retention approve` it.")


@retention.command("show")
def show(
    file: Annotated[Path, typer.Argument(metavar="PLAN", help="What `outpost retention plan` wrote.")],
    state: STATE = DEFAULT_STATE,
    as_json: JSON = False,
) -> None:
    """Print a plan, one study a line, if this box signed it."""
    import msgspec  # noqa: PLC0415

    from cloudsync.retention import paper  # noqa: PLC0415
    from edge.config import Layout  # noqa: PLC0415

    with plainly():
        keys = _keys(Layout(state))
        found = paper.read(file, paper.Plan, _signing(keys))
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(found) | {"signing": _signing(keys)}))
        return
    typer.echo(f"Planned {found.at} by {found.by}, for site {found.site}: {found.rule}. {found.law}: {found.reason}")
    for study in found.studies:
        counted = "" if study.dated else " (without a study date of its own)"
        typer.echo(
            f"{study.study}  {study.date}{counted}  {','.join(study.modalities) or '-'}  kept until {study.kept_until}  "
            f"{study.instances} instances in {len(study.packs)} packs"
        )


@retention.command("approve")
def approve(
    file: Annotated[Path, typer.Argument(metavar="PLAN", help="What `outpost retention plan` wrote, reviewed.")],
    by: _BY,
    out: _OUT,
    state: STATE = DEFAULT_STATE,
    excepted: Annotated[
        list[str] | None, typer.Option("--except", metavar="STUDY", help="A Study Instance UID that stays; may be repeated.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Put tombstones for what a plan names into the archive's catalog: the studies answer no more, here and on any box that is rebuilt.
    Then write the signed list that `outpost retention apply` takes. Cannot be taken back. Cloudsync has to be stopped.
    """
    import asyncio  # noqa: PLC0415

    from cloudsync import epochs  # noqa: PLC0415
    from cloudsync.archive.opening import open_archive  # noqa: PLC0415
    from cloudsync.lane import CatalogLane  # noqa: PLC0415
    from cloudsync.retention import paper, planner  # noqa: PLC0415
    from cloudsync.teller import Teller  # noqa: PLC0415
    from edge.clock import SystemClock  # noqa: PLC0415
    from edge.config import Layout, load  # noqa: PLC0415
    from edge.doorbell import ring  # noqa: PLC0415
    from edge.journalfiles import JournalWriter  # noqa: PLC0415

    with plainly():
        _signed_by(by)
        keys = _keys(Layout(state))
        if out.exists():
            raise ConfigError("--out", f"{out} is there already", "Name a file that is not.")
        planned = paper.read(file, paper.Plan, _signing(keys))
        if unknown := set(excepted or ()) - {study.study for study in planned.studies}:
            raise ConfigError("--except", f"{sorted(unknown)[0]} is not in {file}", "Compare it with `outpost retention show`.")
        with stopped(state, _STOP) as layout:
            config, clock = load(layout.config), SystemClock()

            async def retire() -> tuple[planner.Approved, int]:
                archive, facts = open_archive(config.archive, known=layout.archive_mark), JournalWriter(layout.facts)
                try:
                    async with _ledger(layout) as ledger:
                        teller = Teller(ledger, facts, lambda: ring(layout.edge_bell))
                        current = await epochs.current(layout.keys, ledger)
                        lane = CatalogLane(ledger, current, archive, teller, clock, 0.0, lambda sequence: None)
                        # What is owed from before goes first: an archive that does not answer ends this before anything is decided.
                        await planner.say(lane, ledger)
                        approved = await planner.approve(ledger, planned, excepted or (), by, clock.now())
                        sequence = await planner.say(lane, ledger)
                        await teller.flush()
                        return approved, sequence
                finally:
                    facts.close()
                    await archive.close()

            approved, sequence = asyncio.run(retire())
        paper.write(out, planner.deletions(keys, planned, approved, sequence, by, clock.now()), keys)
    if as_json:
        figures = {
            "list": str(out),
            "studies": approved.studies,
            "packs": len(approved.packs),
            "retired": approved.retired,
            "sequence": sequence,
            "changed": approved.changed,
            "excepted": approved.excepted,
        }
        typer.echo(json.dumps(figures))
        return
    for study in approved.changed:
        typer.echo(f"{study} is not as it was planned: more of it came since. It stays; plan again.", err=True)
    typer.echo(f"{approved.studies} studies are retired: the catalog says so up to number {sequence}. Start cloudsync.")
    typer.echo(f"Next, where the credential is that may delete: outpost retention apply {out} --signing-sha256 {_signing(keys)} ...")


@retention.command("apply")
def apply(
    file: Annotated[Path, typer.Argument(metavar="LIST", help="What `outpost retention approve` wrote.")],
    kit: Annotated[Path | None, typer.Option("--kit", help="The recovery kit, which names the certificate that is trusted.")] = None,
    signing_sha256: Annotated[
        str | None, typer.Option("--signing-sha256", metavar="DIGEST", help="Instead: SHA-256 of the signing certificate.")
    ] = None,
    archive_folder: Annotated[Path | None, typer.Option("--archive-folder", help="The archive's directory.")] = None,
    azure_container: Annotated[str | None, typer.Option("--azure-container", help="The archive's container.")] = None,
    credential_file: Annotated[
        Path | None, typer.Option("--credential-file", help="A credential that may list and delete: not the box's.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted, and delete nothing.")] = False,
    as_json: JSON = False,
) -> None:
    """Delete the objects of the packs that an approved list names, and nothing else. Needs no box and no key.

    What the archive does not let go of is named and left (exit code 77): run it again when its lock ends.
    """
    import asyncio  # noqa: PLC0415

    from cloudsync.retention import paper  # noqa: PLC0415
    from cloudsync.retention.deletion import Deleted, delete  # noqa: PLC0415

    with plainly("Ended before it was finished. What is deleted is deleted: run it again for the rest."):
        wanted = paper.read(file, paper.Deletions, _trusted(kit, signing_sha256))
        archive = _eraser(archive_folder, azure_container, credential_file)

        async def run() -> Deleted:
            try:
                return await delete(wanted, archive, _progress, dry=dry_run)
            finally:
                await archive.close()

        deleted = asyncio.run(run())
    if as_json:
        figures = {
            "site": wanted.site,
            "dry_run": dry_run,
            "packs": deleted.packs,
            "absent": deleted.absent,
            "objects": deleted.objects,
            "bytes": deleted.bytes,
            "kept": deleted.kept,
        }
        typer.echo(json.dumps(figures))
    else:
        done, left = ("would be deleted", "would be") if dry_run else ("are deleted", "is")
        typer.echo(f"{deleted.objects} objects ({deleted.bytes} bytes) {done}; of {deleted.packs} packs nothing {left} left.")
    for each in deleted.kept:
        typer.echo(f"Kept: {each}", err=True)
    if deleted.kept:
        raise typer.Exit(_KEPT_EXIT)


def _keys(layout: Layout) -> Keys:
    from cloudsync.key_commands import load  # noqa: PLC0415

    return load(layout.state)


@asynccontextmanager
async def _ledger(layout: Layout) -> AsyncIterator[Ledger]:
    """The ledger, which knows all that the archive has. Raises NotRead."""
    from cloudsync.lane import check_read  # noqa: PLC0415
    from cloudsync.ledger.ledger import Ledger  # noqa: PLC0415

    ledger = await Ledger.open(layout.ledger)
    try:
        await check_read(ledger)
        yield ledger
    finally:
        await ledger.close()


def _signing(keys: Keys) -> Digest:
    from cloudsync.seal.certificates import fingerprint  # noqa: PLC0415
    from edge.model import Digest  # noqa: PLC0415

    return Digest(fingerprint(keys.signing))


def _trusted(kit: Path | None, signing_sha256: str | None) -> Digest:
    from cloudsync.seal.kit import look  # noqa: PLC0415
    from edge.model import parse_digest  # noqa: PLC0415

    if (kit is None) == (signing_sha256 is None):
        raise ConfigError("--kit", "or --signing-sha256 says whose signature counts", "Give the one or the other.")
    if kit is not None:
        return look(kit).trust_root
    digest = parse_digest("".join((signing_sha256 or "").split()).replace(":", "").lower())
    if digest is None:
        raise ConfigError("--signing-sha256", "has not 64 hexadecimal digits", "`outpost keys show` prints it.")
    return digest


def _eraser(folder: Path | None, container: str | None, credential: Path | None) -> Eraser:
    from cloudsync.archive.erasing import ErasingAzureBlob, ErasingFolder  # noqa: PLC0415

    if folder is not None and container is None and credential is None:
        return ErasingFolder(folder.resolve())
    if folder is None and container is not None and credential is not None:
        return ErasingAzureBlob(container, credential)
    fault = "--archive-folder, or --azure-container with --credential-file, says where the archive is"
    raise ConfigError("archive", fault, "Give the one or the other.")


def _modality(text: str) -> tuple[str, int]:
    modality, _, years = text.partition("=")
    if not modality or not (years.isascii() and years.isdigit()) or not int(years):
        raise ConfigError("--modality-years", f"{text!r} is no modality with a number of years", "Write it as in MG=30.")
    return modality, int(years)


def _words(rule: Rule) -> str:
    others = "".join(f", {modality} {years}" for modality, years in sorted(rule.by_modality.items()))
    minors = "" if rule.minors_until is None else f"; patients under 18 at least until they are {rule.minors_until}"
    return f"kept {rule.years} years{others}{minors}"


def _signed_by(*texts: str) -> None:
    """What stands in the catalog for good is said."""
    if not all(text.strip() for text in texts):
        raise Permanent("--by, --law and --reason stand in the catalog for good: none of them may be empty.")


def _progress(done: int, packs: int) -> None:
    if sys.stderr.isatty():
        typer.echo(f"\r{done} of {packs} packs", nl=done == packs, err=True)
    elif done == packs or done % max(1, packs // 20) == 0:
        typer.echo(f"{done} of {packs} packs", err=True)
