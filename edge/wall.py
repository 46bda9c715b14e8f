"""The one way to open what crosses the wall between the edge and the cloudsync user.

What the other side wrote is not trusted: a symbolic link in `outbox/` to the key file would otherwise be sealed, shipped and
recalled to the thief. Each path step is opened without following links, and the file itself is looked at before it is opened.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edge.errors import Refused

_NAME_MAX = 255


class Trespass(Refused):
    """Something that is no plain file of the other side lies where only such files belong. It was not read. Find out who put it there."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A directory that the other side writes and we read."""

    root: Path
    owner: int | None = None
    """The user id that must own the files; None where everything runs as one user (there is no wall then)."""

    def open(self, name: str, max_bytes: int) -> int:
        """A read-only descriptor of the regular file `name` below the root; the caller closes it.

        Raises FileNotFoundError when it is not there, and Trespass, before a byte is read, when a step is a link, or the thing is
        no regular file, has another owner or a second name, may not be read, or is larger than `max_bytes`.
        """
        steps = PurePosixPath(name).parts
        if not steps or name.startswith("/") or ".." in steps or not name.isprintable() or len(name) > _NAME_MAX:
            raise Trespass(f"{name[:_NAME_MAX]!r} is no name below {self.root.name}/")
        try:
            place = os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except NotADirectoryError as fault:
            raise Trespass(f"{self.root.name} is a symbolic link, or no directory") from fault
        try:
            for step in steps:
                inner = os.open(step, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
                os.close(place)
                place = inner
                if stat.S_ISLNK(os.fstat(place).st_mode):
                    raise Trespass(f"{self.root.name}/{name}: a symbolic link")
            self._inspect(name, os.fstat(place), max_bytes)
            return os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC)
        except NotADirectoryError as fault:
            raise Trespass(f"{self.root.name}/{name}: a step is no directory") from fault
        except PermissionError as fault:
            raise Trespass(f"{self.root.name}/{name}: its owner does not let it be read") from fault
        finally:
            os.close(place)

    def read(self, name: str, max_bytes: int) -> bytes:
        """The whole file; errors as `open`."""
        with os.fdopen(self.open(name, max_bytes), "rb") as file:
            data = file.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise Trespass(f"{self.root.name}/{name}: grew over {max_bytes} bytes while it was read")
        return data

    def _inspect(self, name: str, found: os.stat_result, max_bytes: int) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise Trespass(f"{self.root.name}/{name}: not a regular file")
        if self.owner is not None and found.st_uid != self.owner:
            raise Trespass(f"{self.root.name}/{name}: owned by user {found.st_uid}, expected {self.owner}")
        if found.st_nlink != 1:
            raise Trespass(f"{self.root.name}/{name}: has {found.st_nlink} names, expected one")
        if found.st_size > max_bytes:
            raise Trespass(f"{self.root.name}/{name}: {found.st_size} bytes, at most {max_bytes} belong there")
