"""The commands of this side. `outpost setup` and `outpost restore`: what is done as root, with cloudsync stopped."""

from __future__ import annotations

import json
import math
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Annotated

import typer

from cloudsync import drill_commands, epoch_commands, follow_commands, key_commands, retention_commands, takeover_commands
from cloudsync.terminal import JSON, WORDS, plainly, words
from edge.errors import ConfigError

# What these commands need besides typer is imported when they run: `outpost --help` must not wait for it.

app = typer.Typer(no_args_is_help=True)
app.registered_commands += drill_commands.app.registered_commands
app.add_typer(key_commands.kit, name="kit")
app.add_typer(key_commands.keys, name="keys")
app.registered_commands += follow_commands.app.registered_commands + takeover_commands.app.registered_commands
key_commands.keys.registered_commands += epoch_commands.app.registered_commands
app.add_typer(retention_commands.retention, name="retention")

UNATTENDED_SECONDS = 120.0
"""How long `outpost restore` waits for an archive that does not answer where nobody sits at a terminal."""

State = Annotated[Path, typer.Option("--state", help="The state directory.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A TOML file with the settings, instead of single options.")]
Folder = Annotated[Path | None, typer.Option("--archive-folder", help="The archive's directory: a second disk, a NAS, a USB drive.")]
Container = Annotated[str | None, typer.Option("--azure-container", help="The archive's container in Azure Blob Storage.")]
Credential = Annotated[Path | None, typer.Option("--credential-file", help="A file with its connection string or container SAS address.")]
Name = Annotated[str | None, typer.Option("--name", help="The name of the site.")]
Title = Annotated[str | None, typer.Option("--ae-title", help="The AE title that modalities call.")]
Port = Annotated[int | None, typer.Option("--port", help="The DICOM port.")]
WebPort = Annotated[int | None, typer.Option("--web-port", help="The port of DICOMweb.")]


@dataclass(frozen=True, slots=True)
class _Options:
    """The settings as single options; None is what was not given."""

    archive_folder: Path | None
    azure_container: str | None
    credential_file: Path | None
    name: str | None
    ae_title: str | None
    port: int | None
    web_port: int | None


@app.command()
def setup(
    state: State,
    kit_out: Annotated[Path, typer.Option("--kit-out", help="Where the recovery kit goes: a USB stick for the safe.")],
    config: ConfigFile = None,
    archive_folder: Folder = None,
    azure_container: Container = None,
    credential_file: Credential = None,
    name: Name = None,
    ae_title: Title = None,
    port: Port = None,
    web_port: WebPort = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was made as one JSON object, the passphrase included.")] = False,
) -> None:
    """Make a new site: keys, recovery kit, state directory. Prints the kit's passphrase once."""
    from cloudsync.setup import setup as make  # noqa: PLC0415

    with plainly():
        text = _settings(config, _Options(archive_folder, azure_container, credential_file, name, ae_title, port, web_port))
        site = make(state, text, kit_out, source=_source(config), say=lambda sentence: typer.echo(sentence, err=as_json))
    if as_json:
        typer.echo(json.dumps({"site": site.site_id, "archive": site.archive, "kit": str(kit_out), "passphrase": site.passphrase}))
        return
    typer.echo(f"Site {site.site_id} is ready in {state}; its archive is {site.archive}.")
    typer.echo(f"\nRecovery kit: {kit_out}. Its eight words, shown only now:\n")
    typer.echo(f"    {site.passphrase}\n")
    typer.echo(
        "Print sheet.pdf (or sheet.html), then delete both files; the printed page and the eight words belong into a safe, the kit away"
        " from this machine."
    )
    if site.archive.startswith("dicomweb:"):
        typer.echo(
            "This archive reads the images, which lie there unencrypted, and holds nothing that the kit opens: keep a copy of edge/site.db"
            " of the state directory. docs/operations-archive.md says more."
        )
    typer.echo(f"Next: ./outpost run --state {state}")


@app.command()
def restore(
    state: State,
    kit: Annotated[Path, typer.Option("--kit", help="The recovery kit, or one of its files.")],
    config: ConfigFile = None,
    archive_folder: Folder = None,
    azure_container: Container = None,
    credential_file: Credential = None,
    name: Name = None,
    ae_title: Title = None,
    port: Port = None,
    web_port: WebPort = None,
    passphrase_file: WORDS = None,
    last_sequence: Annotated[
        int | None,
        typer.Option("--last-sequence", help="The catalog number that the lost box showed last: proves that nothing was rolled back."),
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Read the whole catalog now; else what is older than the site's own decisions is read by `run`.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """Rebuild a box from its archive with the recovery kit, in an empty state directory. The kit says where the archive was."""
    import asyncio  # noqa: PLC0415
    from dataclasses import asdict  # noqa: PLC0415
    from functools import partial  # noqa: PLC0415

    from cloudsync import fresh  # noqa: PLC0415
    from cloudsync.rebuild import rebuild  # noqa: PLC0415
    from cloudsync.seal.kit import look  # noqa: PLC0415
    from edge.config import Layout, parse  # noqa: PLC0415

    attended = passphrase_file is None
    with plainly():
        closed = look(kit)
        kind, _, place = closed.archive.partition(":")
        if config is None and archive_folder is None and azure_container is None:
            archive_folder = Path(place) if kind == "folder" else None
            azure_container = place if kind == "azure_blob" else None
        text = _settings(config, _Options(archive_folder, azure_container, credential_file, name, ae_title, port, web_port))
        parse(text, _source(config))
        fresh.check(Layout(state))
        opened = closed.open(words(passphrase_file))
        rebuilt = asyncio.run(
            rebuild(
                state,
                text,
                opened,
                partial(typer.echo, err=as_json),
                last_sequence=last_sequence,
                source=_source(config),
                patience_seconds=math.inf if attended else UNATTENDED_SECONDS,
                whole=whole,
            )
        )
    if as_json:
        typer.echo(json.dumps(asdict(rebuilt)))
        return
    typer.echo(f"Site {rebuilt.site_id} is rebuilt in {state}: {rebuilt.holdings} packs, catalog number {rebuilt.sequence}.")
    if rebuilt.left:
        typer.echo(
            f"Modalities can send as soon as Outpost runs. {rebuilt.left} older segments of the catalog are not read yet: it reads them"
            " meanwhile, the newest first, and `outpost status` says how far it is."
        )
    typer.echo("From now on this box writes the site's catalog: the old box must never run again.")
    typer.echo(f"Next: ./outpost run --state {state}")


def _settings(config: Path | None, options: _Options) -> str:
    """The text of the settings, from a file or from the options."""
    from cloudsync.fresh import settings_text  # noqa: PLC0415

    if config is not None:
        if any(value is not None for value in astuple(options)):
            raise ConfigError("--config", "is given together with single settings", "Put them all into the file.")
        try:
            return config.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as fault:
            raise ConfigError("--config", f"{config} cannot be read ({fault})", "Name a text file that this user can read.") from fault
    site: dict[str, str | int] = {} if options.name is None else {"name": options.name}
    if options.ae_title is not None:
        site |= {"ae_title": options.ae_title, "stat_ae_title": f"{options.ae_title[:11]}_STAT"}
    return settings_text(
        {
            "site": site,
            "dicom": {} if options.port is None else {"port": options.port},
            "web": {} if options.web_port is None else {"port": options.web_port},
            "archive": _archive(options),
        }
    )


def _archive(options: _Options) -> dict[str, str | int]:
    if options.archive_folder is not None and options.azure_container is None and options.credential_file is None:
        return {"kind": "folder", "path": str(options.archive_folder.resolve())}
    if options.archive_folder is None and options.azure_container is not None and options.credential_file is not None:
        credential = str(options.credential_file.resolve())
        return {"kind": "azure_blob", "container": options.azure_container, "credential_file": credential}
    fault = "--archive-folder, or --azure-container with --credential-file, says where the archive is"
    raise ConfigError("archive", fault, "Give the one or the other, or a file of settings with --config.")


def _source(config: Path | None) -> str:
    """What a fault in the settings is blamed on."""
    return "the options" if config is None else str(config)
