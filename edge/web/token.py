"""The token of this first cut: whoever can read it in the state directory may read and store over HTTP on this machine."""

from __future__ import annotations

import hmac
import os
import re
import secrets
from pathlib import Path

from edge.durable import write_whole
from edge.errors import ConfigError
from edge.web.rights import Right

_TOKEN = re.compile(rb"[A-Za-z0-9_-]{43,86}")


class Token:
    """256 random bits in URL-safe base64, and what they allow."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.rights = frozenset({Right.NONE, Right.READ, Right.STORE})

    def __repr__(self) -> str:
        return "<Token>"

    def is_in(self, authorization: str) -> bool:
        """Whether an Authorization header carries it (RFC 6750 section 2.1); takes as long whether or not it does."""
        scheme, _, given = authorization.partition(" ")
        return hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._secret) and scheme.lower() == "bearer"


def load(path: Path) -> Token:
    """The token at `path`, made there when there is none. Raises ConfigError when others can read the file, or it holds no token."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        write_whole(path, secrets.token_urlsafe(32).encode() + b"\n", 0o600)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise ConfigError(str(path), "others can read it", f"Remove the file, so that a new token is made: rm {path}")
        secret = file.read(128).strip()
    if not _TOKEN.fullmatch(secret):
        raise ConfigError(str(path), "holds no token", f"Remove the file, so that a new one is made: rm {path}")
    return Token(secret)
