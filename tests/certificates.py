"""Certificates for tests: an authority that signs what it is asked for, good or bad."""

from __future__ import annotations

import datetime
import ipaddress
import itertools
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from edge.dimse.tls import Files

Name = list[tuple[x509.ObjectIdentifier, str]]
_NUMBERS = itertools.count(1000)
_DAY = datetime.timedelta(days=1)


class Authority:
    """A certificate authority in a directory; `certificate` is its file."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = _builder(self._name, self._name, self._key.public_key(), 30)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate = directory / f"{name}.pem"
        self.certificate.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(
        self, name: str, names: Name | None = None, host: str = "127.0.0.1", days: int = 30, as_rsa: bool = False, from_now: float = 0.0
    ) -> tuple[Path, Path]:
        """The certificate file and the key file of an entity; `days` below zero for one that expired,
        `from_now` for one that is issued so many days from now.
        """
        key = rsa.generate_private_key(65_537, 2048) if as_rsa else ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(kind, value) for kind, value in names or [(NameOID.COMMON_NAME, name)]])
        made = _builder(subject, self._name, key.public_key(), days, from_now)
        made = made.add_extension(x509.SubjectAlternativeName([_named(host)]), critical=False)
        certificate_file, key_file = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        certificate_file.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        plain = serialization.NoEncryption()
        key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
        return certificate_file, key_file

    def files(self, name: str, required: bool = True, **more: object) -> Files:
        """What an entity that trusts this authority is configured with."""
        return Files(*self.issue(name, **more), self.certificate, required)  # type: ignore[arg-type]


def _named(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(subject: x509.Name, issuer: x509.Name, key: object, days: int, from_now: float = 0.0) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC) + from_now * _DAY
    begins, ends = (now - _DAY, now + days * _DAY) if days > 0 else (now + (days - 1) * _DAY, now + days * _DAY)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)  # type: ignore[arg-type]
    return made.serial_number(next(_NUMBERS)).not_valid_before(begins).not_valid_after(ends)
