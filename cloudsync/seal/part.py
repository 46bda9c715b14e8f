"""A sealed part: CMS AuthEnvelopedData (RFC 5083) with AES-256-GCM (RFC 5084) for a KEK and an EC P-384 recipient (RFC 5753).

There is one form and no option in it, so that the reader rebuilds it and compares. The nonce is the hash of the part's place and of
its recipients: a part that was moved, or whose recipients were changed, does not open. The content key and the ephemeral key are fresh
for each part, so no nonce repeats under a key. There are no authenticated attributes, because OpenSSL 3.0 cannot read them.

Whoever else may open a part (the recovery key, a hub, a sibling) knows its content key and could make another part under the same wrap.
Open only bytes whose SHA-256 the ledger names, or sums whose digest stands in a verified catalog.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import Certificate

from cloudsync.seal.der import OCTET_STRING, SEQUENCE, context, oid, tlv
from edge.errors import Corrupt, Permanent

MAX_DATA_BYTES = 64 << 20
"""The largest plaintext: a head. A part holds at most 4 MiB, which the coder sees to."""
MAX_OVERHEAD_BYTES = 512
"""What a seal adds at most."""

_TAG_BYTES = 16
_WRAP = tlv(SEQUENCE, oid("2.16.840.1.101.3.4.1.45"))  # id-aes256-wrap, RFC 3565: no parameters
_AGREE = tlv(SEQUENCE, oid("1.3.132.1.11.2"), _WRAP)  # dhSinglePass-stdDH-sha384kdf-scheme, RFC 5753
_P384 = tlv(SEQUENCE, oid("1.2.840.10045.2.1"), oid("1.3.132.0.34"))  # id-ecPublicKey, secp384r1
_AUTH_ENVELOPED = oid("1.2.840.113549.1.9.16.1.23")  # id-ct-authEnvelopedData
_DATA = oid("1.2.840.113549.1.7.1")  # id-data
_GCM = oid("2.16.840.1.101.3.4.1.46")  # id-aes256-GCM
_SHARED_INFO = tlv(SEQUENCE, _WRAP, tlv(context(2), tlv(OCTET_STRING, (256).to_bytes(4, "big"))))  # RFC 5753 section 7.2


class NotOurs(Corrupt):
    """An object is not what this site made for this place. Nothing of it was kept; `outpost verify` names what is affected."""


class WrongKey(Permanent):
    """The object is whole, but the key that was offered is not one that it was sealed for. Use the kit or the epoch it names."""


@dataclass(frozen=True, slots=True)
class Kek:
    """The site's key-encryption key of one epoch."""

    epoch: int
    key: bytes = field(repr=False)
    """32 bytes."""

    @property
    def identifier(self) -> bytes:
        """As it stands in a part: `openssl cms -secretkeyid` takes it in hexadecimal."""
        return b"epoch %d" % self.epoch


def seal(place: str, data: bytes, kek: Kek, recovery: Certificate) -> bytes:
    """One part in DER for its full archive name. `data` is at most 64 MiB.

    Never the same bytes twice: store them, and their digest in the ledger, before the first byte is sent.
    """
    raise NotImplementedError


def seal_for(place: str, data: bytes, recipient: Certificate) -> bytes:
    """The one-recipient form, for keys that travel in the catalog: only the holder of the recipient's private key opens it."""
    raise NotImplementedError


def epoch_of(der: bytes) -> int:
    """The epoch whose KEK a part names. Raises NotOurs when it is no part. Proves nothing about the rest."""
    raise NotImplementedError


def open_with_kek(der: bytes, place: str, kek: Kek) -> bytes:
    """The data, if `der` is exactly what seal() writes for `place` under `kek`.

    Raises NotOurs for any other bytes or another place, WrongKey when the part is whole but sealed under another epoch or KEK.
    """
    raise NotImplementedError


def open_with_recovery(der: bytes, place: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The data of either form, by the recipient's private key. Errors as `open_with_kek`."""
    raise NotImplementedError
