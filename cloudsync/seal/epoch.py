"""An epoch's secrets on their way to the one who may restore a site: sealed for the recovery certificate alone, inside the catalog.

The plaintext is JSON that a person can use by hand: the KEK in hexadecimal, as `openssl cms -secretkey` takes it, and the signing key
in PEM.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cloudsync.seal.keys import Keys, RecoveryKey, private_pem
from cloudsync.seal.part import Kek, NotOurs, seal_for


@dataclass(frozen=True, slots=True)
class EpochSecrets:
    """What began with an epoch."""

    kek: Kek
    signing_key: ec.EllipticCurvePrivateKey = field(repr=False)


def seal_epoch(keys: Keys) -> bytes:
    """The secrets of the current epoch, for the recovery certificate alone."""
    text = _Secrets(1, keys.site_id, keys.epoch, keys.kek.key.hex(), private_pem(keys.signing_key).decode())
    return seal_for(_place(keys.site_id, keys.epoch), msgspec.json.encode(text), keys.recovery)


def open_epoch(sealed: bytes, site_id: str, epoch: int, recovery: RecoveryKey) -> EpochSecrets:
    """What `seal_epoch` sealed. Raises NotOurs, or WrongKey when it was sealed for another recovery key."""
    place = _place(site_id, epoch)
    opened = recovery.open(sealed, place)
    try:
        text = msgspec.json.decode(opened, type=_Secrets)
        kek, signing_key = bytes.fromhex(text.kek), load_pem_private_key(text.signing_key.encode(), None)
    except (ValueError, TypeError, msgspec.DecodeError) as fault:
        raise NotOurs(f"{place}: opens, but holds no keys of an epoch") from fault
    if (text.format, text.site, text.epoch, len(kek)) != (1, site_id, epoch, 32) or not isinstance(signing_key, ec.EllipticCurvePrivateKey):
        raise NotOurs(f"{place}: opens, but holds the keys of another epoch")
    return EpochSecrets(Kek(epoch, kek), signing_key)


class _Secrets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    site: str
    epoch: int
    kek: str
    signing_key: str


def _place(site_id: str, epoch: int) -> str:
    return f"{site_id}/k/{epoch:06d}"
