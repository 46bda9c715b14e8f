"""What somebody can make who may open a part: a hub, a sibling, whoever found a key."""

from __future__ import annotations

from cryptography.hazmat.primitives import keywrap
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cloudsync.seal import envelope
from cloudsync.seal.part import Kek


def forged(kek: Kek, sealed: bytes, data: bytes) -> bytes:
    """Other data at the place of `sealed`, for the same recipients, under the same content key, with a tag that is right."""
    found, *_ = envelope.read(sealed)
    assert found.kek
    made = AESGCM(keywrap.aes_key_unwrap(kek.key, found.kek.wrapped)).encrypt(found.nonce, data, None)
    return envelope.write(found, made[: len(data)], made[len(data) :])
