"""The keys on the box: a KEK for each epoch, the signing key, and the certificates. The recovery private key is never among them.

One flat directory, mode 0700, files 0600, so that systemd credentials of the same names do as well:
`site.json`, `kek-<epoch, 6 digits>` (64 hexadecimal digits), `signing.key`, `signing.pem`, `recovery.pem`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import Certificate

from cloudsync.seal.part import Kek
from edge.errors import Permanent, Refused
from edge.model import Digest


class KeysMissing(Permanent):
    """The keys are not there or not whole. Run `outpost setup` for a new site, or `outpost restore` with the recovery kit."""


class KeysThere(Refused):
    """There are keys already. Set-up never replaces them: objects in the archive may depend on them."""


class KeysExposed(Refused):
    """A key file can be read by every user of this machine. Run `chmod 600` on it, and rotate the keys if anyone else has an account."""


@dataclass(frozen=True, slots=True)
class RecoveryKey:
    """The EC P-384 private key that opens everything of a site. It lives in the recovery kit only; drop it once the kit is written."""

    private: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def scalar(self) -> bytes:
        """The 48-byte private scalar, big-endian."""
        return self.private.private_numbers().private_value.to_bytes(48, "big")

    def open(self, sealed: bytes, place: str) -> bytes:
        """The data of a sealed object; errors as part.open_with_recovery."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Keys:
    """What the box seals, opens and signs with."""

    site_id: str
    """10 random characters of lower-case base32; the first step of every archive name."""
    epoch: int
    """The current epoch; new objects are sealed under its KEK."""
    keks: Mapping[int, Kek] = field(repr=False)
    """By epoch; old ones stay for reading."""
    recovery: Certificate
    signing_key: ec.EllipticCurvePrivateKey = field(repr=False)
    signing: Certificate

    @property
    def kek(self) -> Kek:
        """The KEK of the current epoch."""
        return self.keks[self.epoch]

    @property
    def trust_root(self) -> Digest:
        """SHA-256 of the signing certificate in DER: what the kit carries."""
        raise NotImplementedError

    def seal(self, place: str, data: bytes) -> bytes:
        """A part under the current epoch; see part.seal."""
        raise NotImplementedError

    def open(self, sealed: bytes, place: str) -> bytes:
        """The data, by the KEK of the epoch that the part names; errors as part.open_with_kek, WrongKey when we have no such epoch."""
        raise NotImplementedError


def make(directory: Path, site_id: str | None = None, *, now: float) -> tuple[Keys, RecoveryKey]:
    """New keys, flushed in `directory`, and the recovery key, which is stored nowhere: write the kit before the first object is sealed.

    `now` (seconds since the epoch) is the beginning of validity. Raises KeysThere when the directory has keys already. After a crash
    in between, the directory holds no `site.json` and `make` starts anew.
    """
    raise NotImplementedError


def save(directory: Path, keys: Keys) -> None:
    """Keys that came from elsewhere (a rebuild), flushed in `directory`; `site.json` last. Raises KeysThere as `make`."""
    raise NotImplementedError


def load(directory: Path) -> Keys:
    """The keys in `directory`. Raises KeysMissing naming the file, or KeysExposed."""
    raise NotImplementedError
