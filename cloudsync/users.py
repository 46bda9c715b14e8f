"""The Unix users that the settings name."""

from __future__ import annotations

import pwd

from edge.errors import ConfigError


def user_id(key: str, name: str) -> int | None:
    """The id of the user that the setting `key` names; None for an empty name. Raises ConfigError when there is no such user."""
    if not name:
        return None
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError as fault:
        raise ConfigError(key, f"there is no user {name!r}", "Make the user (systemd-sysusers), or leave the setting empty.") from fault
