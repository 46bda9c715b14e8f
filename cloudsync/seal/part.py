"""A sealed part: AES-256-GCM under a fresh content key, which the site's KEK and the recovery certificate each open.

The nonce is the hash of the part's place and of its recipients: a part that was moved, or whose recipients were changed, does not open.
The content key and the ephemeral key are fresh for each part, so no nonce repeats under a key. There are no authenticated attributes,
because OpenSSL 3.0 cannot read them.

Whoever else may open a part (the recovery key, a hub, a sibling) knows its content key and could make another part under the same wrap.
Open only bytes whose SHA-256 the ledger names, or sums whose digest stands in a verified catalog.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.x509 import Certificate, SubjectKeyIdentifier

from cloudsync.seal import envelope
from cloudsync.seal.certificates import key_id, public_key
from cloudsync.seal.der import OCTET_STRING, SEQUENCE, NotDer, context, tlv
from cloudsync.seal.envelope import AgreeRecipient, Envelope, KekRecipient
from edge.errors import Corrupt, Permanent

MAX_DATA_BYTES = 64 << 20
"""The largest plaintext: a head. A part holds at most 4 MiB, which the coder sees to."""
MAX_OVERHEAD_BYTES = 512
"""What a seal adds at most."""

_SHARED_INFO = tlv(SEQUENCE, envelope.WRAP, tlv(context(2), tlv(OCTET_STRING, (256).to_bytes(4, "big"))))  # RFC 5753 section 7.2


class NotOurs(Corrupt):
    """An object is not what this site made for this place. Nothing of it was kept; the message names it."""


class WrongKey(Permanent):
    """The object is whole, but the key that was offered is not one that it was sealed for. Use the kit or the epoch it names."""


@dataclass(frozen=True, slots=True)
class Kek:
    """The site's key-encryption key of one epoch."""

    epoch: int
    key: bytes = field(repr=False)
    """32 bytes."""


def seal(place: str, data: bytes, kek: Kek, recovery: Certificate) -> bytes:
    """One part in DER for its full archive name. `data` is at most 64 MiB.

    Never the same bytes twice: store them, and their digest in the ledger, before the first byte is sent.
    """
    content_key = os.urandom(32)
    wrapped = KekRecipient(kek.epoch, keywrap.aes_key_wrap(kek.key, content_key))
    return _seal(place, data, content_key, _agree(recovery, content_key), wrapped)


def seal_for(place: str, data: bytes, recipient: Certificate) -> bytes:
    """The one-recipient form, for keys that travel in the catalog: only the holder of the recipient's private key opens it."""
    content_key = os.urandom(32)
    return _seal(place, data, content_key, _agree(recipient, content_key), None)


def epoch_of(der: bytes, place: str) -> int:
    """The epoch whose KEK opens a part that was sealed for `place`; proves nothing about its content. Errors as `open_with_kek`."""
    found = _read(der, place)[0]
    _check_place(found, place)
    return _kek_recipient(found, place).epoch


def open_with_kek(der: bytes, place: str, kek: Kek) -> bytes:
    """The data, if `der` is exactly what seal() writes for `place` under `kek`.

    Raises NotOurs for any other bytes or another place, WrongKey when the part is whole but sealed under another epoch or KEK.
    """
    found, *sealed = _read(der, place)
    _check_place(found, place)
    named = _kek_recipient(found, place)
    if named.epoch != kek.epoch:
        raise WrongKey(f"{place} is sealed under epoch {named.epoch}; the key that was offered is of epoch {kek.epoch}")
    return _open(place, found.nonce, sealed, _unwrap(place, kek.key, named.wrapped))


def open_with_recovery(der: bytes, place: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The data of either form, by the recipient's private key. Errors as `open_with_kek`."""
    found, *sealed = _read(der, place)
    _check_place(found, place)
    agree = found.agree
    if agree.key_id != SubjectKeyIdentifier.from_public_key(key.public_key()).digest:
        raise WrongKey(f"{place} is sealed for the certificate {agree.key_id.hex()}; the key that was offered is another one")
    try:
        sender = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), agree.point)
    except ValueError as fault:
        raise NotOurs(f"{place}: the sender's key is no point of the curve") from fault
    return _open(place, found.nonce, sealed, _unwrap(place, _wrapping_key(key, sender), agree.wrapped))


def _seal(place: str, data: bytes, content_key: bytes, agree: AgreeRecipient, kek: KekRecipient | None) -> bytes:
    if len(data) > MAX_DATA_BYTES:
        raise ValueError(f"{len(data)} bytes; at most {MAX_DATA_BYTES} are sealed at once")
    made = Envelope.at(place, agree, kek)
    sealed = memoryview(AESGCM(content_key).encrypt(made.nonce, data, None))
    return envelope.write(made, sealed[: len(data)], sealed[len(data) :])


def _agree(recipient: Certificate, content_key: bytes) -> AgreeRecipient:
    key = public_key(recipient)
    ephemeral = ec.generate_private_key(ec.SECP384R1())
    point = ephemeral.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return AgreeRecipient(key_id(recipient), point, keywrap.aes_key_wrap(_wrapping_key(ephemeral, key), content_key))


def _wrapping_key(private: ec.EllipticCurvePrivateKey, public: ec.EllipticCurvePublicKey) -> bytes:
    return X963KDF(hashes.SHA384(), 32, _SHARED_INFO).derive(private.exchange(ec.ECDH(), public))


def _read(der: bytes, place: str) -> tuple[Envelope, memoryview, memoryview]:
    if len(der) > MAX_DATA_BYTES + MAX_OVERHEAD_BYTES:
        raise NotOurs(f"{place}: longer than anything that this site seals")
    try:
        return envelope.read(der)
    except NotDer as fault:
        raise NotOurs(f"{place}: not in the one form in which this site seals") from fault


def _check_place(found: Envelope, place: str) -> None:
    if not found.is_at(place):
        raise NotOurs(f"{place}: was sealed for another place, or its recipients were changed")


def _kek_recipient(found: Envelope, place: str) -> KekRecipient:
    if found.kek is None:
        raise WrongKey(f"{place} is sealed for one certificate alone; no epoch's key opens it")
    return found.kek


def _unwrap(place: str, wrapping_key: bytes, wrapped: bytes) -> bytes:
    try:
        return keywrap.aes_key_unwrap(wrapping_key, wrapped)
    except keywrap.InvalidUnwrap as fault:
        # The nonce has proven that the wrap is as it was sealed, so it is the key that is wrong.
        raise WrongKey(f"{place} names the key that was offered, but another key sealed it") from fault


def _open(place: str, nonce: bytes, sealed: list[memoryview], content_key: bytes) -> bytes:
    try:
        return AESGCM(content_key).decrypt(nonce, b"".join(sealed), None)
    except InvalidTag as fault:
        raise NotOurs(f"{place}: its content was altered") from fault
