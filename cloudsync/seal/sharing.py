"""What a site gives to a sibling (a hub, an escrow), so that it can read: the KEK of every epoch, sealed for its certificate alone.

Never the signing key: whoever reads cannot write the site's catalog. The plaintext is JSON that a person can use by hand: each KEK in
hexadecimal, as `openssl cms -secretkey` takes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate, ExtensionNotFound, KeyUsage, SubjectKeyIdentifier, load_pem_x509_certificate

from cloudsync.seal import part
from cloudsync.seal.certificates import key_id, sibling_certificate
from cloudsync.seal.keys import Keys, private_pem, read_file
from cloudsync.seal.part import Kek, NotOurs, seal_for
from edge.durable import write_whole
from edge.errors import Refused
from edge.model import Digest, parse_digest

_KEY, _CERTIFICATE = "sibling.key", "sibling.pem"


class UnfitCertificate(Refused):
    """Nothing can be sealed for this certificate. The message says why; `outpost keys certificate` on the sibling prints a fit one."""


@dataclass(frozen=True, slots=True)
class Sibling:
    """The key pair by which this box reads what other sites share with it; no object of its own site is sealed for it."""

    certificate: Certificate
    private: ec.EllipticCurvePrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class Shared:
    """What a site has shared: enough to verify its catalog and to open all that it sealed until `epoch` ended."""

    site_id: str
    trust_root: Digest
    """SHA-256 of the first signing certificate. Anyone can seal for a certificate: this is what the two operators compare by voice."""
    keks: Mapping[int, Kek] = field(repr=False)
    """By epoch, 1 to `epoch` without a gap."""

    @property
    def epoch(self) -> int:
        """The newest epoch that was shared."""
        return max(self.keks)

    def open(self, sealed: bytes, place: str) -> bytes:
        """The data of an object of the site: an Opener of its catalog chain. Errors as part.open_with_kek; WrongKey for a later epoch."""
        epoch = part.epoch_of(sealed, place)
        if epoch not in self.keks:
            raise part.WrongKey(f"{place} is sealed under epoch {epoch}; site {self.site_id} has shared epochs 1 to {self.epoch}")
        return part.open_with_kek(sealed, place, self.keks[epoch])


def share(keys: Keys, sibling: Certificate) -> bytes:
    """The KEKs of all epochs until now, for the holder of the sibling's private key alone. Raises UnfitCertificate as `check`."""
    keks = {str(epoch): keks.key.hex() for epoch, keks in sorted(keys.keks.items())}
    return seal_for(place(keys.site_id, sibling), msgspec.json.encode(_Text(1, keys.site_id, keys.trust_root, keks)), sibling)


def open_shared(sealed: bytes, site_id: str, sibling: Sibling) -> Shared:
    """What `share` sealed for this sibling. Raises NotOurs, or WrongKey when it was sealed for another certificate."""
    name = place(site_id, sibling.certificate)
    opened = part.open_with_recovery(sealed, name, sibling.private)
    try:
        text = msgspec.json.decode(opened, type=_Text)
        keks = {int(epoch): Kek(int(epoch), bytes.fromhex(key)) for epoch, key in text.keks.items()}
    except (ValueError, TypeError, msgspec.DecodeError) as fault:
        raise NotOurs(f"{name}: opens, but holds no keys of a site") from fault
    trust_root = parse_digest(text.trust_root)
    whole = sorted(keks) == list(range(1, len(text.keks) + 1)) and all(len(kek.key) == 32 for kek in keks.values())
    if (text.format, text.site) != (1, site_id) or trust_root is None or not keks or not whole:
        raise NotOurs(f"{name}: opens, but does not hold the keys of every epoch of site {site_id}")
    return Shared(site_id, trust_root, keks)


def place(site_id: str, sibling: Certificate) -> str:
    """What a share is sealed for: the site that gives, and the certificate by its SubjectKeyIdentifier in hexadecimal."""
    return f"{site_id}/k/{key_id(sibling).hex()}"


def check(certificate: Certificate, now: float) -> None:
    """Raises UnfitCertificate unless something can be sealed for it, now (seconds since the epoch) and so that its holder opens it."""
    key, at = certificate.public_key(), datetime.fromtimestamp(now, UTC)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise UnfitCertificate("its key is not on the curve P-384")
    try:
        named = certificate.extensions.get_extension_for_class(SubjectKeyIdentifier).value
        agrees = certificate.extensions.get_extension_for_class(KeyUsage).value.key_agreement
    except ExtensionNotFound as fault:
        raise UnfitCertificate("it has no SubjectKeyIdentifier, or does not say what its key is for (keyUsage)") from fault
    if named != SubjectKeyIdentifier.from_public_key(key):
        raise UnfitCertificate("its SubjectKeyIdentifier is not the SHA-1 of its key (RFC 5280 section 4.2.1.2, method 1)")
    if not agrees:
        raise UnfitCertificate("its key is not for key agreement (keyUsage)")
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise UnfitCertificate(f"it is valid from {certificate.not_valid_before_utc} to {certificate.not_valid_after_utc}, not now")


def make(directory: Path, site_id: str, *, now: float) -> Sibling:
    """This box's key pair for reading other sites: the one in the keys directory, made and flushed there at first. Errors as `load`."""
    if not (directory / _CERTIFICATE).exists():
        key = ec.generate_private_key(ec.SECP384R1())
        write_whole(directory / _KEY, private_pem(key), 0o600)
        write_whole(directory / _CERTIFICATE, sibling_certificate(site_id, key, now).public_bytes(Encoding.PEM), 0o600)
    return load(directory)


def load(directory: Path) -> Sibling:
    """The key pair in the keys directory. Raises KeysMissing, naming the file, where there is none, KeysExposed,
    and NotOurs where the two are damaged or do not belong together.
    """
    try:
        certificate = load_pem_x509_certificate(read_file(directory, _CERTIFICATE))
        key = serialization.load_pem_private_key(read_file(directory, _KEY), None)
    except (ValueError, TypeError) as fault:
        raise NotOurs(f"{_KEY} or {_CERTIFICATE} is damaged. Remove both, and have each site share its keys again.") from fault
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise NotOurs(f"{_KEY} and {_CERTIFICATE} do not belong together. Remove both, and have each site share its keys again.")
    return Sibling(certificate, key)


class _Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    site: str
    trust_root: str
    keks: dict[str, str]
