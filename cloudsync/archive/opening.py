"""Opens the archive that the settings name."""

from __future__ import annotations

from pathlib import Path

from cloudsync.archive.instances import InstanceArchive
from cloudsync.archive.line import Line, authorities
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
    if settings.kind in {"s3", "gcs"}:
        _check_bucket(settings)
    if settings.kind == "dicomweb":
        from cloudsync.archive import dicomweb  # noqa: PLC0415 - only the configured kind is imported

        dicomweb.check(settings.url)


def _check_bucket(settings: Settings) -> None:
    from cloudsync.archive import objecthttp, s3  # noqa: PLC0415

    objecthttp.check(settings.container, settings.endpoint)
    if settings.kind == "s3":
        s3.check(settings.region)
    if not settings.credential_file and (settings.kind == "s3" or not settings.endpoint):
        what = "an access key" if settings.kind == "s3" else "the key of a service account"
        raise ConfigError("archive.credential_file", "is empty", f"Name a file that holds {what}.")


def open_archive(
    settings: Settings,
    pacing: Pacing | None = None,
    far: FarClock | None = None,
    silence_seconds: float = Link().silence_seconds,
    known: Path | None = None,
) -> Archive:
    """The adapter for these settings, at this pace; nothing is sent yet.

    `far` is told what time the archive has; a connection on which nothing moves for `silence_seconds` is given up. `known` is a file
    that remembers which disk a folder lies on.
    Raises ConfigError as `check`, for a `ca_file` that holds no certificate, and for an archive that reads DICOM: nothing of a pack, of the
    catalog or of keys lies there.
    """
    check(settings)
    if settings.kind == "dicomweb":
        cure = "What needs a sealed archive (restore, drill, retention, keys) is not to be had with it."
        raise ConfigError("archive.kind", "is dicomweb: such an archive holds instances, and no catalog of this site", cure)
    if settings.kind == "folder":
        from cloudsync.archive.folder import Folder  # noqa: PLC0415

        folder = Folder(Path(settings.path), known)
        return folder if pacing is None else PacedArchive(folder, pacing)
    line = Line.of(pacing, far, authorities(settings.ca_file), silence_seconds)
    credential = Path(settings.credential_file) if settings.credential_file else None
    if settings.kind == "s3" and credential is not None:
        from cloudsync.archive.s3 import S3  # noqa: PLC0415

        return S3(settings.container, settings.region, settings.endpoint, credential, line)
    if settings.kind == "gcs":
        from cloudsync.archive.gcs import Gcs  # noqa: PLC0415

        return Gcs(settings.container, credential, settings.endpoint, line)
    from cloudsync.archive.azure_blob import AzureBlob  # noqa: PLC0415

    return AzureBlob(
        settings.container,
        Path(settings.credential_file),
        pacing,
        far,
        trust=authorities(settings.ca_file),
        silence_seconds=silence_seconds,
    )


def open_instances(
    settings: Settings, pacing: Pacing | None = None, far: FarClock | None = None, silence_seconds: float = Link().silence_seconds
) -> InstanceArchive:
    """The adapter for an archive that reads DICOM; the rest as `open_archive`."""
    from cloudsync.archive.dicomweb import DicomWeb  # noqa: PLC0415

    credential = Path(settings.credential_file) if settings.credential_file else None
    return DicomWeb(settings.url, credential, Line.of(pacing, far, authorities(settings.ca_file), silence_seconds))


def prepare(settings: Settings) -> None:
    """Make the place where the archive will be, where that is ours to make (a folder); a container or a store is made by its owner.

    Raises what `check` and Folder.prepare raise, and ConfigError when there is no credential in its file.
    """
    check(settings)
    match settings.kind:
        case "folder":
            from cloudsync.archive.folder import Folder  # noqa: PLC0415

            Folder.prepare(Path(settings.path))
        case "azure_blob":
            from cloudsync.archive.azure_blob import read_credential  # noqa: PLC0415

            read_credential(Path(settings.credential_file))
        case "s3":
            from cloudsync.archive import s3_credential  # noqa: PLC0415

            s3_credential.read(Path(settings.credential_file))
        case _ if settings.credential_file:
            from cloudsync.archive import access  # noqa: PLC0415

            access.check(Path(settings.credential_file))
        case _:
            pass


def address(settings: Settings) -> str:
    """Where the archive is, for the recovery kit and for people; holds no secret."""
    if settings.kind in {"folder", "dicomweb"}:
        return f"{settings.kind}:{settings.path if settings.kind == 'folder' else settings.url}"
    where = f" in {settings.region}" if settings.kind == "s3" else ""
    if settings.kind in {"s3", "gcs"} and settings.endpoint:
        where += f" at {settings.endpoint}"
    return f"{settings.kind}:{settings.container}{where}"
