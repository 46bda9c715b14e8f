"""The self-signed certificates of a site. They name no person and never expire: what counts is their SHA-256, which people compare."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edge.model import Digest

_NO_EXPIRY = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # RFC 5280 section 4.1.2.5


def recovery_certificate(site_id: str, key: ec.EllipticCurvePrivateKey, now: float) -> x509.Certificate:
    """The recipient of every object: EC P-384, keyUsage keyAgreement, SubjectKeyIdentifier by method 1 of RFC 5280."""
    return _self_signed(f"Outpost site {site_id} recovery", key, _usage(agreement=True), hashes.SHA384(), now)


def signing_certificate(site_id: str, key: ec.EllipticCurvePrivateKey, now: float) -> x509.Certificate:
    """The signer of the catalog: EC P-256, keyUsage digitalSignature."""
    return _self_signed(f"Outpost site {site_id} signing", key, _usage(agreement=False), hashes.SHA256(), now)


def sibling_certificate(site_id: str, key: ec.EllipticCurvePrivateKey, now: float) -> x509.Certificate:
    """The recipient of what other sites share with this one: as the recovery certificate, under another name."""
    return _self_signed(f"Outpost site {site_id} sibling", key, _usage(agreement=True), hashes.SHA384(), now)


def public_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    """Its key. Raises ValueError when it is of another kind."""
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("a site's certificates have keys on elliptic curves")
    return key


def key_id(certificate: x509.Certificate) -> bytes:
    """Its SubjectKeyIdentifier."""
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def to_der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def fingerprint(certificate: x509.Certificate) -> Digest:
    """SHA-256 of the DER, as `openssl x509 -fingerprint -sha256` prints it but for the colons."""
    return Digest(certificate.fingerprint(hashes.SHA256()).hex())


def _usage(*, agreement: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not agreement,
        key_agreement=agreement,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _self_signed(
    name: str, key: ec.EllipticCurvePrivateKey, usage: x509.KeyUsage, algorithm: hashes.SHA256 | hashes.SHA384, now: float
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(int(now), UTC))
        .not_valid_after(_NO_EXPIRY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(usage, critical=True)
        .sign(key, algorithm)
    )
