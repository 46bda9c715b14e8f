"""A signed text: CMS SignedData (RFC 5652) with ECDSA P-256 and SHA-256, the content inside and no certificate, in one form.

The signature is over the content itself: there are no signed attributes, and content begins as zstd does, so that a signature over
attributes cannot be passed off as one over content. Of the two values of s that verify, the lower one is the form.

By hand: openssl cms -verify -inform DER -in SIGNED -certfile signing.pem -nointern -noverify -binary -out CONTENT
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.x509 import Certificate

from cloudsync.seal.certificates import key_id, public_key
from cloudsync.seal.der import OCTET_STRING, SEQUENCE, SET, NotDer, Reader, context, integer, oid, tlv
from cloudsync.seal.part import NotOurs

_SIGNED = oid("1.2.840.113549.1.7.2")
_DATA = oid("1.2.840.113549.1.7.1")
_SHA256 = tlv(SEQUENCE, oid("2.16.840.1.101.3.4.2.1"))
_ECDSA_SHA256 = tlv(SEQUENCE, oid("1.2.840.10045.4.3.2"))
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256


class BadSignature(NotOurs):
    """A catalog segment is not signed by this site's key. Nothing of it was used; find out who can write to the archive."""


def sign(content: bytes, key: ec.EllipticCurvePrivateKey, certificate: Certificate) -> bytes:
    """The content and a signature by `key`, whose certificate is named by its SubjectKeyIdentifier."""
    r, s = decode_dss_signature(key.sign(content, ec.ECDSA(hashes.SHA256())))
    return _write(content, key_id(certificate), encode_dss_signature(r, min(s, _ORDER - s)))


def content_of(der: bytes, name: str) -> bytes:
    """The content of exactly what `sign` writes, not verified. Raises NotOurs, naming `name`, for any other form."""
    return _read(der, name)[0]


def verify(der: bytes, certificate: Certificate, name: str) -> bytes:
    """The content, if `certificate` signed it. Raises NotOurs for another form, BadSignature when it is not signed by that key.

    `name` is the text's archive name: what an error names.
    """
    content, signer, signature = _read(der, name)
    if signer != key_id(certificate):
        raise BadSignature(f"{name}: signed by the key {signer.hex()}; this site's is {key_id(certificate).hex()}")
    try:
        public_key(certificate).verify(signature, content, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as fault:
        raise BadSignature(f"{name}: its content is not signed by this site's key") from fault
    return content


def _write(content: bytes, signer: bytes, signature: bytes) -> bytes:
    held = tlv(SEQUENCE, _DATA, tlv(context(0), tlv(OCTET_STRING, content)))
    info = tlv(
        SEQUENCE,
        integer(3),
        tlv(context(0, primitive=True), signer),
        _SHA256,
        _ECDSA_SHA256,
        tlv(OCTET_STRING, signature),
    )
    return tlv(SEQUENCE, _SIGNED, tlv(context(0), tlv(SEQUENCE, integer(3), tlv(SET, _SHA256), held, tlv(SET, info))))


def _read(der: bytes, name: str) -> tuple[bytes, bytes, bytes]:
    try:
        outer = Reader(der).enter(SEQUENCE)
        outer.skip(_SIGNED)
        signed = outer.enter(context(0)).enter(SEQUENCE)
        signed.skip(integer(3))
        signed.skip(tlv(SET, _SHA256))
        held = signed.enter(SEQUENCE)
        held.skip(_DATA)
        content = bytes(held.enter(context(0)).take(OCTET_STRING))
        info = signed.enter(SET).enter(SEQUENCE)
        info.skip(integer(3))
        signer = bytes(info.take(context(0, primitive=True)))
        info.skip(_SHA256)
        info.skip(_ECDSA_SHA256)
        signature = bytes(info.take(OCTET_STRING))
        r, s = decode_dss_signature(signature)
    except (NotDer, ValueError) as fault:
        raise NotOurs(f"{name}: not in the one form in which this site signs") from fault
    if (
        not (0 < r < _ORDER and 0 < s <= _ORDER // 2)
        or encode_dss_signature(r, s) != signature
        or _write(content, signer, signature) != der
    ):
        raise NotOurs(f"{name}: not in the one form in which this site signs")
    return content, signer, signature
