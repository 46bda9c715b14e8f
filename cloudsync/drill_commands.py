"""`outpost drill`: is there a way back? Rehearsed with the kit and the archive, beside the live box and without touching it."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloudsync.terminal import JSON, WORDS, plainly, words
from edge.errors import ConfigError, Corrupt

if TYPE_CHECKING:
    from cloudsync.archive.port import Archive
    from edge.config import Config

# What these commands need besides typer is imported when they run: `outpost --help` must not wait for it.

app = typer.Typer()

_STATE = Annotated[
    Path, typer.Option("--state", envvar="OUTPOST_STATE", help="The live state directory, if it is here.", show_default=True)
]
_UNATTENDED_SECONDS = 120.0
"""How long it waits for an archive that does not answer where nobody sits at a terminal."""


@app.command("drill")
def drill(
    kit: Annotated[Path, typer.Option("--kit", help="The recovery kit, or one of its files.")],
    out: Annotated[Path, typer.Option("--out", help="The directory for the certificate.")],
    state: _STATE = Path("/var/lib/outpost"),
    sample: Annotated[float, typer.Option("--sample", min=0, max=100, help="Restore so many percent of the packs; one at least.")] = 1.0,
    config: Annotated[Path | None, typer.Option("--config", help="Settings, where the live box is not here.")] = None,
    archive_folder: Annotated[Path | None, typer.Option("--archive-folder", help="Instead: the archive's directory.")] = None,
    azure_container: Annotated[str | None, typer.Option("--azure-container", help="Instead: the archive's container.")] = None,
    credential_file: Annotated[Path | None, typer.Option("--credential-file", help="Its credential; to read and list is enough.")] = None,
    scratch: Annotated[
        Path | None, typer.Option("--scratch", help="Where the temporary site is made, and removed; it holds keys and patients meanwhile.")
    ] = None,
    passphrase_file: WORDS = None,
    last_sequence: Annotated[
        int | None, typer.Option("--last-sequence", help="The catalog number that `outpost status` shows: nothing is missing at its end.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Rehearse a restore: rebuild the site in a temporary directory with the kit, restore a sample of packs and compare each bit, and write
    a dated certificate. The live box goes on, and nothing is written to the archive. Exit code 65: it would not come back.
    """
    import asyncio  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    from cloudsync.archive import opening  # noqa: PLC0415
    from cloudsync.drill import certificate  # noqa: PLC0415
    from cloudsync.drill.rehearsal import Wanted, rehearse  # noqa: PLC0415
    from cloudsync.seal.kit import look  # noqa: PLC0415
    from edge.clock import SystemClock  # noqa: PLC0415
    from edge.config import Layout, parse  # noqa: PLC0415

    live, clock = Layout(state), SystemClock()
    with plainly("Ended before it was finished. Nothing was changed, and no certificate was written."):
        closed = look(kit)
        source, text = _settings(live.config, config, archive_folder, azure_container, credential_file, closed.archive)
        settings = parse(text, source)
        opened = closed.open(words(passphrase_file))
        wanted = Wanted(
            kit=opened,
            settings=text,
            source=source,
            address=opening.address(settings.archive),
            percent=sample,
            last_sequence=last_sequence,
            patience_seconds=math.inf if passphrase_file is None else _UNATTENDED_SECONDS,
        )
        try:
            place = Path(tempfile.mkdtemp(prefix="outpost-drill-", dir=scratch))  # mode 0700
        except OSError as fault:
            raise ConfigError("--scratch", f"{scratch}: {fault.strerror}", "Name a directory that this user can write.") from fault
        try:
            archive = _paced(settings)
            found = asyncio.run(rehearse(wanted, place, archive, clock, lambda sentence: typer.echo(sentence, err=True)))
        finally:
            shutil.rmtree(place, ignore_errors=True)
        page, data = certificate.write(out, found)
        if live.config.exists():
            try:
                certificate.record(live.drilled, found)
            except OSError as fault:
                typer.echo(f"`outpost status` will not know of it: {live.drilled}: {fault.strerror}. Use sudo.", err=True)
        if as_json:
            typer.echo(json.dumps(msgspec.to_builtins(found) | {"certificate": [str(page), str(data)]}))
        else:
            typer.echo(
                f"{found.studies} studies in {found.packs} packs answer after {found.answering_seconds:.0f} s; {found.sampled_packs} packs "
                f"with {found.sampled_instances} instances were restored and are, bit for bit, what was received."
            )
            typer.echo(f"The certificate: {page}")
        if found.faults:
            raise Corrupt(f"site {found.site} does not come back as it should: {'; '.join(found.faults)}")


def _settings(
    live: Path, config: Path | None, folder: Path | None, container: str | None, credential: Path | None, kits: str
) -> tuple[str, str]:
    """What faults of the settings are blamed on, and the settings of the rehearsed box: given, or the live box's, or made of where the kit
    says that the archive is.
    """
    from cloudsync.fresh import settings_text  # noqa: PLC0415

    given = folder is not None or container is not None or credential is not None
    named = config or (live if live.exists() and not given else None)
    if named is not None:
        if given:
            raise ConfigError("--config", "is given together with single settings", "Put them all into the file.")
        try:
            return str(named), named.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as fault:
            raise ConfigError("--config", f"{named} cannot be read ({fault})", "Name a text file that this user can read.") from fault
    kind, _, place = kits.partition(":")
    if folder is None and container is None:
        folder = Path(place) if kind == "folder" and credential is None else None
        container = place if kind == "azure_blob" else None
    if folder is not None and container is None and credential is None:
        return "the options", settings_text({"archive": {"kind": "folder", "path": str(folder.resolve())}})
    if folder is None and container is not None and credential is not None:
        archive = {"kind": "azure_blob", "container": container, "credential_file": str(credential.resolve())}
        return "the options", settings_text({"archive": archive})
    missing = "--archive-folder, or --azure-container with --credential-file, says where the archive is"
    raise ConfigError("archive", missing, "Give the one or the other, or a file of settings with --config.")


def _paced(settings: Config) -> Archive:
    """The archive at the pace that the settings allow now: the clinic's line is for its work."""
    from cloudsync.archive.opening import open_archive  # noqa: PLC0415
    from cloudsync.link.pacing import Pacing  # noqa: PLC0415
    from cloudsync.link.schedule import schedule  # noqa: PLC0415
    from edge.clock import SystemClock  # noqa: PLC0415

    clock, by_hours = SystemClock(), schedule(settings.link.cap_bytes_per_second, settings.link.schedule)

    def cap() -> float:
        return by_hours.cap_at(datetime.fromtimestamp(clock.now()))  # noqa: DTZ006 - the schedule means the local time

    return open_archive(settings.archive, Pacing(clock, cap, by_hours.cap_bytes_per_second))
