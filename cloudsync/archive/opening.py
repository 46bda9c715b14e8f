"""Opens the archive that the settings name."""

from __future__ import annotations

from pathlib import Path

from cloudsync.archive.line import authorities
from cloudsync.archive.paced_archive import PacedArchive
from cloudsync.archive.port import Archive
from cloudsync.link.farclock import FarClock
from cloudsync.link.pacing import Pacing
from edge.config import Archive as Settings
from edge.config import Link
from edge.errors import ConfigError


def check(settings: Settings) -> None:
    """Raises ConfigError, naming the key, when the settings do not say where the archive is."""
    if settings.kind == "folder" and not settings.path:
        raise ConfigError("archive.path", "is empty", "Name the directory of the archive: a second disk, a NAS, a USB drive.")
    if settings.kind == "azure_blob" and not settings.credential_file:
        raise ConfigError("archive.credential_file", "is empty", "Name a file that holds a connection string or a container SAS address.")


def open_archive(
    settings: Settings, pacing: Pacing | None = None, far: FarClock | None = None, silence_seconds: float = Link().silence_seconds
) -> Archive:
    """The adapter for these settings, at this pace; nothing is sent yet.

    `far` is told what time the archive has; a connection on which nothing moves for `silence_seconds` is given up.
    Raises ConfigError as `check`, and for a `ca_file` that holds no certificate.
    """
    check(settings)
    if settings.kind == "folder":
        from cloudsync.archive.folder import Folder  # noqa: PLC0415 - only the configured kind is imported

        folder = Folder(Path(settings.path))
        return folder if pacing is None else PacedArchive(folder, pacing)
    from cloudsync.archive.azure_blob import AzureBlob  # noqa: PLC0415

    return AzureBlob(
        settings.container,
        Path(settings.credential_file),
        pacing,
        far,
        trust=authorities(settings.ca_file),
        silence_seconds=silence_seconds,
    )


def prepare(settings: Settings) -> None:
    """Make the place where the archive will be, where that is ours to make (a folder); a container is made by its owner.

    Raises what `check` and Folder.prepare raise, and ConfigError when there is no credential in its file.
    """
    check(settings)
    if settings.kind == "folder":
        from cloudsync.archive.folder import Folder  # noqa: PLC0415

        Folder.prepare(Path(settings.path))
    else:
        from cloudsync.archive.azure_blob import read_credential  # noqa: PLC0415

        read_credential(Path(settings.credential_file))


def address(settings: Settings) -> str:
    """Where the archive is, for the recovery kit and for people; holds no secret."""
    return f"folder:{settings.path}" if settings.kind == "folder" else f"azure_blob:{settings.container}"
