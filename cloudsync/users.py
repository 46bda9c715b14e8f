"""The Unix users that the settings name, and what is done in the name of one of them."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

from edge.errors import ConfigError


def user_id(key: str, name: str) -> int | None:
    """The id of the user that the setting `key` names; None for an empty name. Raises ConfigError when there is no such user."""
    if not name:
        return None
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError as fault:
        raise ConfigError(key, f"there is no user {name!r}", "Make the user (systemd-sysusers), or leave the setting empty.") from fault


@contextlib.contextmanager
def acting_as_owner(directory: Path) -> Iterator[None]:
    """Root acts as the owner of `directory` in the block, so that whatever it makes there is readable for who owns it.

    Anyone else stays who they are. Raises FileNotFoundError.
    """
    owner = directory.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        yield
        return
    group = os.getegid()
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
