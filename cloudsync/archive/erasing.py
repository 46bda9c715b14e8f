"""Deleting from an archive, for whoever was given the right: never the box. Its own credential has no right to delete, and none of its
processes imports this.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from cloudsync.archive.azure_blob import AzureBlob
from cloudsync.archive.folder import Folder
from cloudsync.archive.port import CredentialRefused, LinkDown, NotThere, ObjectRefused, Stat
from edge.durable import flush_directory
from edge.errors import Refused

_DENIED = {errno.EACCES, errno.EROFS}


class Kept(Refused):
    """The archive does not let go of this object: an immutability policy, a legal hold or a lease keeps it. It was left as it is."""


class Eraser(Protocol):
    """Every method may raise LinkDown, Throttled, CredentialRefused and QuotaExceeded, as an archive does."""

    def list(self, prefix: str) -> AsyncIterator[Stat]:
        """As `Archive.list`."""
        ...

    async def erase(self, name: str) -> None:
        """Nothing of that name is there when it returns; so too when nothing was. Raises Kept where the archive does not let go of it."""
        ...

    async def close(self) -> None:
        """As `Archive.close`."""
        ...


class ErasingFolder(Folder):
    """A folder archive whose files may be removed. A file that is immutable (`chattr +i`) is kept."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._place_of = root

    async def erase(self, name: str) -> None:
        await asyncio.to_thread(self._erase, self._place_of.joinpath(*name.split("/")))

    def _erase(self, path: Path) -> None:
        try:
            with suppress(FileNotFoundError):
                path.unlink()
            with suppress(OSError):  # it goes with its last file
                path.parent.rmdir()
            flush_directory(next(parent for parent in path.parents if parent.is_dir()))
        except OSError as fault:
            if fault.errno == errno.EPERM:
                raise Kept(f"{path.name}: {fault.strerror}") from fault
            if fault.errno in _DENIED:
                raise CredentialRefused(f"this user may not delete in {path.parent} ({fault.strerror})") from fault
            raise LinkDown(f"the archive's disk does not answer ({os.strerror(fault.errno or 0)}): check cable and mount") from fault


class ErasingAzureBlob(AzureBlob):
    """A container whose blobs may be deleted: a SAS with list and delete is enough."""

    async def erase(self, name: str) -> None:
        try:
            with suppress(NotThere):
                async with self._mapped(name):
                    await self._connected().get_blob_client(name).delete_blob()
        except ObjectRefused as fault:
            raise Kept(f"{name}: {fault}") from fault
