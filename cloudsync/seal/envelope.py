"""The one form of a sealed object: ContentInfo with AuthEnvelopedData (RFC 5083, RFC 5084), written and strictly read. No keys here.

ContentInfo     id-ct-authEnvelopedData
  version 0
  recipientInfos  SET: kari (RFC 5753), then kekri (RFC 5652 section 6.2.3) unless the object is for one certificate alone
  content         id-data, id-aes256-GCM with 12 bytes of nonce and a tag of 16 bytes, the ciphertext
  mac             the tag
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

from cloudsync.seal.der import BIT_STRING, OCTET_STRING, SEQUENCE, SET, NotDer, Reader, context, header, integer, oid, tlv

NONCE_BYTES, TAG_BYTES = 12, 16
KEY_ID_BYTES, POINT_BYTES, WRAPPED_BYTES = 20, 97, 40

WRAP = tlv(SEQUENCE, oid("2.16.840.1.101.3.4.1.45"))
"""AlgorithmIdentifier of id-aes256-wrap, which has no parameters (RFC 3565)."""
_AGREE = tlv(SEQUENCE, oid("1.3.132.1.11.2"), WRAP)  # dhSinglePass-stdDH-sha384kdf-scheme
_P384 = tlv(SEQUENCE, oid("1.2.840.10045.2.1"), oid("1.3.132.0.34"))  # id-ecPublicKey, secp384r1
_AUTH_ENVELOPED = oid("1.2.840.113549.1.9.16.1.23")
_DATA = oid("1.2.840.113549.1.7.1")
_GCM = oid("2.16.840.1.101.3.4.1.46")
_BEFORE_TAG = header(OCTET_STRING, TAG_BYTES)
_EPOCH = re.compile(rb"epoch ([1-9][0-9]{0,8})")


@dataclass(frozen=True, slots=True)
class AgreeRecipient:
    """KeyAgreeRecipientInfo: a certificate by its SubjectKeyIdentifier."""

    key_id: bytes
    point: bytes
    """The ephemeral public key, uncompressed (X9.62)."""
    wrapped: bytes

    def encode(self) -> bytes:
        sender = tlv(context(1), _P384, tlv(BIT_STRING, b"\0", self.point))
        identifier = tlv(context(0), tlv(OCTET_STRING, self.key_id))
        keys = tlv(SEQUENCE, tlv(SEQUENCE, identifier, tlv(OCTET_STRING, self.wrapped)))
        return tlv(context(1), integer(3), tlv(context(0), sender), _AGREE, keys)


@dataclass(frozen=True, slots=True)
class KekRecipient:
    """KEKRecipientInfo: the KEK of an epoch."""

    epoch: int
    wrapped: bytes

    def encode(self) -> bytes:
        identifier = tlv(SEQUENCE, tlv(OCTET_STRING, kek_identifier(self.epoch)))
        return tlv(context(2), integer(4), identifier, WRAP, tlv(OCTET_STRING, self.wrapped))


def kek_identifier(epoch: int) -> bytes:
    """As it stands in a part; `openssl cms -secretkeyid` takes it in hexadecimal."""
    return b"epoch %d" % epoch


@dataclass(frozen=True, slots=True)
class Envelope:
    """A sealed object without its content: who may open it, and the nonce."""

    agree: AgreeRecipient
    kek: KekRecipient | None
    """None in the one-recipient form."""
    nonce: bytes

    @classmethod
    def at(cls, place: str, agree: AgreeRecipient, kek: KekRecipient | None) -> Envelope:
        """The envelope for `place`: its nonce is the hash of the place and of the recipients."""
        return cls(agree, kek, _nonce(place, _recipients(agree, kek)))

    def is_at(self, place: str) -> bool:
        return self.nonce == _nonce(place, _recipients(self.agree, self.kek))

    def front(self, length: int) -> bytes:
        """Everything before a ciphertext of `length` bytes."""
        gcm = tlv(SEQUENCE, _GCM, tlv(SEQUENCE, tlv(OCTET_STRING, self.nonce), integer(TAG_BYTES)))
        content = header(context(0, primitive=True), length)
        front = _DATA + gcm + content
        front = integer(0) + _recipients(self.agree, self.kek) + header(SEQUENCE, len(front) + length) + front
        follows = length + len(_BEFORE_TAG) + TAG_BYTES
        front = header(SEQUENCE, len(front) + follows) + front
        front = _AUTH_ENVELOPED + header(context(0), len(front) + follows) + front
        return header(SEQUENCE, len(front) + follows) + front


def write(envelope: Envelope, ciphertext: bytes | memoryview, tag: bytes | memoryview) -> bytes:
    """The DER of the whole object."""
    return b"".join((envelope.front(len(ciphertext)), ciphertext, _BEFORE_TAG, tag))


def read(der: bytes) -> tuple[Envelope, memoryview, memoryview]:
    """Envelope, ciphertext and tag of exactly what `write` writes; anything else raises NotDer.

    The values are taken out, the one form is built from them again, and every byte is compared.
    """
    outer = Reader(der).enter(SEQUENCE)
    outer.skip(_AUTH_ENVELOPED)
    enveloped = outer.enter(context(0)).enter(SEQUENCE)
    enveloped.skip(integer(0))
    infos = enveloped.enter(SET)
    agree = _read_agree(infos.enter(context(1)))
    kek = _read_kek(infos.enter(context(2))) if infos else None
    content = enveloped.enter(SEQUENCE)
    content.skip(_DATA)
    algorithm = content.enter(SEQUENCE)
    algorithm.skip(_GCM)
    nonce = algorithm.enter(SEQUENCE).sized(OCTET_STRING, NONCE_BYTES)
    ciphertext = content.take(context(0, primitive=True))
    tag = enveloped.take(OCTET_STRING)
    envelope = Envelope(agree, kek, nonce)
    front, view = envelope.front(len(ciphertext)), memoryview(der)
    if len(tag) != TAG_BYTES or view[: len(front)] != front or len(view) != len(front) + len(ciphertext) + len(_BEFORE_TAG) + TAG_BYTES:
        raise NotDer
    return envelope, ciphertext, tag


def _read_agree(info: Reader) -> AgreeRecipient:
    info.skip(integer(3))
    sender = info.enter(context(0)).enter(context(1))
    sender.skip(_P384)
    point = sender.sized(BIT_STRING, 1 + POINT_BYTES)[1:]
    info.skip(_AGREE)
    key = info.enter(SEQUENCE).enter(SEQUENCE)
    key_id = key.enter(context(0)).sized(OCTET_STRING, KEY_ID_BYTES)
    return AgreeRecipient(key_id, point, key.sized(OCTET_STRING, WRAPPED_BYTES))


def _read_kek(info: Reader) -> KekRecipient:
    info.skip(integer(4))
    named = _EPOCH.fullmatch(info.enter(SEQUENCE).take(OCTET_STRING))
    if named is None:
        raise NotDer
    info.skip(WRAP)
    return KekRecipient(int(named[1]), info.sized(OCTET_STRING, WRAPPED_BYTES))


def _recipients(agree: AgreeRecipient, kek: KekRecipient | None) -> bytes:
    # DER orders a SET OF by its encodings: [1] comes before [2].
    return tlv(SET, agree.encode(), kek.encode() if kek else b"")


def _nonce(place: str, recipients: bytes) -> bytes:
    return sha256(b"outpost part 1\0" + place.encode() + b"\0" + recipients).digest()[:NONCE_BYTES]
