"""The keys on the box: a KEK for each epoch, the signing key, and the certificates. The recovery private key is never among them.

One flat directory, mode 0700, files 0600, so that systemd credentials of the same names do as well:
`site.json`, `kek-<epoch, 6 digits>` (64 hexadecimal digits), `signing.key`, `signing.pem`, `recovery.pem`.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate, load_der_x509_certificate, load_pem_x509_certificate

from cloudsync.seal import part
from cloudsync.seal.certificates import fingerprint, recovery_certificate, signing_certificate, to_der
from cloudsync.seal.part import Kek, WrongKey
from edge.durable import flush_directory, write_whole
from edge.errors import Permanent, Refused
from edge.model import Digest, parse_digest

_SITE, _MODE = "site.json", 0o600


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
        return part.open_with_recovery(sealed, place, self.private)


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
    trust_root: Digest
    """SHA-256 of the first signing certificate of the site, in DER: what the kit carries."""
    began: Mapping[int, float] = field(default_factory=dict)
    """When each epoch began, in seconds since the epoch; one that began before that was kept is not among them."""
    siblings: tuple[Certificate, ...] = ()
    """Who was given the KEK of the current epoch too, for reading; in the order in which they were."""

    @property
    def kek(self) -> Kek:
        """The KEK of the current epoch."""
        return self.keks[self.epoch]

    def seal(self, place: str, data: bytes) -> bytes:
        """A part under the current epoch; see part.seal."""
        return part.seal(place, data, self.kek, self.recovery)

    def open(self, sealed: bytes, place: str) -> bytes:
        """The data, by the KEK of the epoch that the part names; errors as part.open_with_kek, WrongKey when we have no such epoch."""
        epoch = part.epoch_of(sealed, place)
        if epoch not in self.keks:
            raise WrongKey(f"{place} is sealed under epoch {epoch}, whose key is not here; `outpost restore` brings it from the catalog")
        return part.open_with_kek(sealed, place, self.keks[epoch])


def make(directory: Path, site_id: str | None = None, *, now: float) -> tuple[Keys, RecoveryKey]:
    """New keys, flushed in `directory`, and the recovery key, which is stored nowhere: write the kit before the first object is sealed.

    `now` (seconds since the epoch) is the beginning of validity. Raises KeysThere when the directory has keys already. After a crash
    in between, the directory holds no `site.json` and `make` starts anew.
    """
    site_id = site_id or _new_site_id()
    if not is_site_id(site_id):
        raise ValueError(f"{site_id!r} is no site id")
    recovery = RecoveryKey(ec.generate_private_key(ec.SECP384R1()))
    signing_key = ec.generate_private_key(ec.SECP256R1())
    signing = signing_certificate(site_id, signing_key, now)
    keys = Keys(
        site_id=site_id,
        epoch=1,
        keks={1: Kek(1, os.urandom(32))},
        recovery=recovery_certificate(site_id, recovery.private, now),
        signing_key=signing_key,
        signing=signing,
        trust_root=fingerprint(signing),
        began={1: now},
    )
    save(directory, keys)
    return keys, recovery


def save(directory: Path, keys: Keys) -> None:
    """Keys that came from elsewhere (a rebuild), flushed in `directory`; `site.json` last. Raises KeysThere as `make`."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (directory / _SITE).exists():
        raise KeysThere(f"{directory} holds the keys of a site already; they are never replaced")
    directory.chmod(0o700)
    for kek in keys.keks.values():
        write_whole(directory / _kek_name(kek.epoch), kek.key.hex().encode() + b"\n", _MODE)
    write_whole(directory / "signing.key", private_pem(keys.signing_key), _MODE)
    write_whole(directory / "signing.pem", keys.signing.public_bytes(Encoding.PEM), _MODE)
    write_whole(directory / "recovery.pem", keys.recovery.public_bytes(Encoding.PEM), _MODE)
    replace(directory, keys)
    flush_directory(directory.parent)


def replace(directory: Path, keys: Keys) -> None:
    """From now on the directory's current epoch, and who else has its KEK, are those of `keys`; their KEKs lie there already. Flushed."""
    siblings = [to_der(each) for each in keys.siblings]
    began = {str(epoch): at for epoch, at in keys.began.items()}
    site = _Site(2, keys.site_id, keys.epoch, keys.trust_root, began, siblings)
    write_whole(directory / _SITE, msgspec.json.encode(site), _MODE)


def new_kek(directory: Path, epoch: int) -> Kek:
    """A KEK for an epoch that has not begun, flushed in `directory`. Until a record names that epoch, another call replaces it."""
    kek = Kek(epoch, os.urandom(32))
    write_whole(directory / _kek_name(epoch), kek.key.hex().encode() + b"\n", _MODE)
    return kek


def read_kek(directory: Path, epoch: int) -> Kek:
    """The KEK of an epoch that lies in `directory`. Raises KeysMissing, KeysExposed, and ValueError for what is none."""
    key = bytes.fromhex(read_file(directory, _kek_name(epoch)).decode())
    if len(key) != 32:
        raise ValueError(f"{_kek_name(epoch)} has {len(key)} bytes")
    return Kek(epoch, key)


def load(directory: Path) -> Keys:
    """The keys in `directory`. Raises KeysMissing naming the file, or KeysExposed."""
    try:
        site = msgspec.json.decode(read_file(directory, _SITE), type=_Site)
        trust_root = parse_digest(site.trust_root)
        if site.format not in {1, 2} or not is_site_id(site.site_id) or trust_root is None:
            raise ValueError("of another format")
        signing_key = serialization.load_pem_private_key(read_file(directory, "signing.key"), None)
        signing = load_pem_x509_certificate(read_file(directory, "signing.pem"))
        recovery = load_pem_x509_certificate(read_file(directory, "recovery.pem"))
        if not isinstance(signing_key, ec.EllipticCurvePrivateKey) or signing_key.public_key() != signing.public_key():
            raise ValueError("signing.key and signing.pem do not belong together")
        return Keys(
            site_id=site.site_id,
            epoch=site.epoch,
            keks={epoch: read_kek(directory, epoch) for epoch in range(1, site.epoch + 1)},
            recovery=recovery,
            signing_key=signing_key,
            signing=signing,
            trust_root=trust_root,
            began={int(epoch): at for epoch, at in site.began.items()},
            siblings=tuple(map(load_der_x509_certificate, site.siblings)),
        )
    except (ValueError, TypeError, msgspec.DecodeError) as fault:
        raise KeysMissing(f"the keys in {directory} are damaged ({fault}). Run `outpost restore` with the recovery kit.") from fault


def read_file(directory: Path, name: str) -> bytes:
    """A file of the keys directory. Raises KeysMissing, naming it, or KeysExposed."""
    try:
        descriptor = os.open(directory / name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as fault:
        raise KeysMissing(
            f"{directory / name} is not there. Run `outpost setup` for a new site, or `outpost restore` with the recovery kit."
        ) from fault
    with os.fdopen(descriptor, "rb") as file:
        if os.fstat(descriptor).st_mode & 0o007:
            raise KeysExposed(f"every user of this machine can read {directory / name}. Run `chmod 600` on it.")
        return file.read()


def is_site_id(text: str) -> bool:
    """10 characters of lower-case base32."""
    return re.fullmatch(r"[a-z2-7]{10}", text) is not None


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS#8 in PEM, in clear."""
    return key.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


class _Site(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    site_id: str
    epoch: int
    trust_root: str
    began: dict[str, float] = {}
    """By epoch. Format 2, as the next."""
    siblings: list[bytes] = []
    """Their certificates, DER."""


def _new_site_id() -> str:
    return base64.b32encode(os.urandom(10)).decode()[:10].lower()


def _kek_name(epoch: int) -> str:
    return f"kek-{epoch:06d}"
