"""An archive in a directory: a second disk, a NAS, a USB drive.

An object is written to a nameless file, flushed, and only then linked to its name: it appears whole or not at all and never replaces
another. Where the file system has no such files or no links (exFAT, SMB) a rename that refuses to replace does the same; where it
lacks that too, check and rename under a lock. Names that begin with a dot are ours and are no objects.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from cloudsync.archive.attempt import Attempt, Harm, Outcome
from cloudsync.archive.port import CredentialRefused, LinkDown, NotThere, Occupied, QuotaExceeded, Stat, md5_of, same
from edge.durable import flush_directory, write_all, write_whole
from edge.errors import OutpostError, Refused

MARK = ".outpost-archive"
"""The file that tells an archive from an empty mount point: without it the disk counts as unplugged."""

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 8
_UNSUPPORTED = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EISDIR}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1


class Folder:
    """The archive below `root`, which `prepare` made."""

    def __init__(self, root: Path, known: Path | None = None) -> None:
        """`known` is a file that remembers the mark of the disk; where there is none yet, the first disk that is met is the right one."""
        self._root = root
        self._known = known
        self._mark = None if known is None else _read(known)
        # Threads of its own: a disk that hangs must not take those that write the ledger's files.
        self._threads = ThreadPoolExecutor(_THREADS, "archive")

    def __repr__(self) -> str:
        return f"Folder({str(self._root)!r})"

    @staticmethod
    def prepare(root: Path) -> None:
        """Make `root` an archive; one that exists stays as it is. Raises LinkDown, CredentialRefused, QuotaExceeded."""
        with _mapped(root):
            root.mkdir(mode=0o750, parents=True, exist_ok=True)
            if not (root / MARK).exists():
                write_whole(root / MARK, os.urandom(16).hex().encode() + b"\n")

    async def put(self, name: str, data: bytes, md5: bytes) -> None:
        await self._run(self._put, name, data, md5)

    async def get(self, name: str) -> bytes:
        return await self._run(self._get, name)

    async def head(self, name: str) -> Stat | None:
        return await self._run(self._head, name)

    async def list(self, prefix: str) -> AsyncIterator[Stat]:
        for found in await self._run(self._sorted, prefix):
            yield found

    async def attempts(self, name: str, data: bytes) -> AsyncIterator[Attempt]:
        """As cloudsync.archive.attempt.Destructible promises: with the rights of this user, which are the credential of a folder."""
        path = self._place(name)
        deeds: tuple[tuple[str, Harm, Callable[[], None]], ...] = (
            ("write", "overwrite", lambda: _write_over(path, data)),
            ("rename", "overwrite", lambda: write_whole(path, data)),
            ("unlink", "delete", path.unlink),
        )
        for deed, harm, act in deeds:
            with _mapped(self._root):
                outcome, said = await self._run(_outcome, act)
            yield Attempt(deed, harm, outcome, said)
            if outcome == "done" and harm == "delete":
                await self.put(name, data, md5_of(data))

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, call: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(call, *arguments, **options))

    def _put(self, name: str, data: bytes, md5: bytes) -> None:
        path = self._place(name)
        with _mapped(self._root):
            self._attend()
            if not path.exists():
                _make_directories(self._root, path.parent)
                if _create(path, data, self._root / MARK):
                    return
        found = self._head(name)
        if found is None or not same(found, data, md5):
            raise Occupied(f"other bytes lie at {name} in the archive. {' '.join((Occupied.__doc__ or '').split())}")
        with _mapped(self._root):
            _flush(path.parent)

    def _get(self, name: str) -> bytes:
        path = self._place(name)
        with _mapped(self._root):
            self._attend()
            try:
                return path.read_bytes()
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as fault:
                raise NotThere(f"the archive has no {name}") from fault

    def _head(self, name: str) -> Stat | None:
        try:
            data = self._get(name)
        except NotThere:
            return None
        return Stat(name, len(data), md5_of(data))

    def _sorted(self, prefix: str) -> tuple[Stat, ...]:
        with _mapped(self._root):
            self._attend()
            return tuple(sorted(self._walk(self._root, prefix), key=lambda found: found.name))

    def _walk(self, directory: Path, prefix: str) -> Iterator[Stat]:
        with os.scandir(directory) as entries:
            for entry in entries:
                name = Path(entry.path).relative_to(self._root).as_posix()
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if prefix.startswith(name + "/") or name.startswith(prefix):
                        yield from self._walk(Path(entry.path), prefix)
                elif name.startswith(prefix) and entry.is_file(follow_symlinks=False):
                    yield Stat(name, entry.stat(follow_symlinks=False).st_size, None)

    def _attend(self) -> None:
        mark = _read(self._root / MARK)
        if mark is None:
            raise LinkDown(f"there is no archive at {self._root}: plug the disk in or mount it")
        if mark == self._mark:
            return
        if self._mark is not None and (self._known is None or self._known.exists()):
            cure = f", or delete {self._known} if this one is the archive from now on" if self._known else ""
            raise LinkDown(f"another disk than the archive's is plugged in at {self._root}: plug in the right one{cure}")
        self._mark = mark
        if self._known is not None:
            # A disk of ours that is full is not to be blamed on the archive's: then the next start remembers it.
            with contextlib.suppress(OSError):
                write_whole(self._known, mark)

    def _place(self, name: str) -> Path:
        steps = name.split("/")
        if any(step.startswith(".") or not step for step in steps):
            raise Refused(f"{name!r} is no name of an object")
        return self._root.joinpath(*steps)


def _read(path: Path) -> bytes | None:
    """What a small file holds; None where there is none."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _create(path: Path, data: bytes, lock: Path) -> bool:
    """Put `data` at `path`, flushed; False, and nothing changed, when the name is taken."""
    try:
        created = _by_link(path, data)
    except OSError as fault:
        if fault.errno not in _UNSUPPORTED:
            raise
        created = _by_temporary(path, data, lock)
    if created:
        _flush(path.parent)
    return created


def _by_link(path: Path, data: bytes) -> bool:
    descriptor = os.open(path.parent, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o640)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
        # linkat(2) follows the link in /proc only when it is given a directory; an absolute name makes nothing of it.
        os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True)
    except FileExistsError:
        return False
    finally:
        os.close(descriptor)
    return True


def _by_temporary(path: Path, data: bytes, lock: Path) -> bool:
    # The name is random: a call that was given up may still be writing its own while the next one tries again.
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
        _by_rename(temporary, path)
    except FileExistsError:
        return False
    except OSError as fault:
        if fault.errno not in _UNSUPPORTED:
            raise
        return _by_lock(temporary, path, lock)
    finally:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)
    return True


def _by_rename(temporary: Path, path: Path) -> None:
    """renameat2(2) with RENAME_NOREPLACE, which the standard library does not offer."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    source, target = os.fsencode(temporary), os.fsencode(path)
    if library.renameat2(_AT_FDCWD, source, _AT_FDCWD, target, _RENAME_NOREPLACE):
        fault = ctypes.get_errno()
        raise OSError(fault, os.strerror(fault), str(path))


def _by_lock(temporary: Path, path: Path, lock: Path) -> bool:
    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if path.exists():
            return False
        temporary.rename(path)
        return True


def _outcome(act: Callable[[], None]) -> tuple[Outcome, str]:
    try:
        act()
    except OSError as fault:
        if fault.errno not in _DENIED:
            raise
        return "refused", os.strerror(fault.errno)
    return "done", ""


def _write_over(path: Path, data: bytes) -> None:
    """Without O_TRUNC: broken off, the file still is what it was."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        write_all(descriptor, data)
    finally:
        os.close(descriptor)


def _make_directories(root: Path, directory: Path) -> None:
    """Make the directories down to `directory`, each name flushed."""
    missing = []
    while directory != root and not directory.exists():
        missing.append(directory)
        directory = directory.parent
    for step in reversed(missing):
        step.mkdir(mode=0o750, exist_ok=True)
        _flush(step.parent)


def _flush(directory: Path) -> None:
    try:
        flush_directory(directory)
    except OSError as fault:
        # SMB and some FUSE file systems cannot flush a directory; there is nothing more to do there.
        if fault.errno not in _UNSUPPORTED:
            raise


@contextlib.contextmanager
def _mapped(root: Path) -> Iterator[None]:
    try:
        yield
    except OutpostError:
        raise
    except OSError as fault:
        reason = f"{root}: {fault.strerror}"
        if fault.errno in _FULL:
            raise QuotaExceeded(f"the archive's disk is full ({reason}): free space there") from fault
        if fault.errno in _DENIED:
            raise CredentialRefused(
                f"the archive's directory refuses us ({reason}): give cloudsync's user the right to write there"
            ) from fault
        raise LinkDown(f"the archive's disk does not answer ({reason}): check cable and mount") from fault
