"""What the credential file of an S3 archive holds: an access key, as the AWS command line keeps it in `~/.aws/credentials`."""

from __future__ import annotations

import configparser
from dataclasses import dataclass, field
from pathlib import Path

from cloudsync.archive import access
from edge.errors import ConfigError

_CURE = "Write it as in ~/.aws/credentials: [default], aws_access_key_id = ..., aws_secret_access_key = ... (docs/operations-archive.md)."


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key; `token` is empty for one that does not expire."""

    key_id: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)


def read(path: Path) -> AccessKey:
    """Raises ConfigError when the file is missing, open to every user of this machine, or holds no access key."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(access.read(path, _CURE))
        held = parser["default"]
        key = AccessKey(held["aws_access_key_id"], held["aws_secret_access_key"], held.get("aws_session_token", ""))
    except (configparser.Error, KeyError):
        # Its text would tell a line of the file.
        raise ConfigError(access.KEY, f"{path} holds no access key", _CURE) from None
    if not key.key_id or not key.secret:
        raise ConfigError(access.KEY, f"{path} holds an empty access key", _CURE)
    return key
