"""An address that a person wrote down: whether it is one, and whether it may be spoken to."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from edge.errors import ConfigError

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def check(key: str, url: str, what: str, cure: str) -> None:
    """Raises ConfigError, naming `key`, where the address is none of `what`, holds a password, or can be overheard."""
    address = parsed(url)
    if address is None or address.query or address.fragment:
        raise ConfigError(key, f"{url!r} is no address of {what}", cure)
    if address.username or address.password:
        raise ConfigError(key, "holds a password", "Put it in archive.credential_file: both sides of the wall read this file.")
    if not is_private(address):
        raise ConfigError(key, "names an address without TLS", "Use an https address.")


def parsed(url: str) -> SplitResult | None:
    """An address over HTTP with a host, and with a port that is one or none; None for anything else."""
    try:
        address = urlsplit(url)
        whole = address.scheme in {"http", "https"} and bool(address.hostname) and (address.port is None or address.port > 0)
    except ValueError:
        return None
    return address if whole else None


def is_private(address: SplitResult) -> bool:
    """Whether nobody on the way reads along: by TLS, or because it does not leave this machine."""
    return address.scheme == "https" or address.hostname in _LOOPBACK
