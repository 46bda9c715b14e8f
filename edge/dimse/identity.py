"""User identity (PS3.7 section D.3.3.7), for peers whose row names a user. Passcodes are kept as scrypt hashes and nowhere in clear."""

from __future__ import annotations

import hashlib
import hmac
import os

from edge.dimse.associate import UserIdentity
from edge.model import Peer

_USER_NAME, _USER_NAME_AND_PASSCODE = 1, 2
_SCHEME = "scrypt"
_COST, _BLOCKS, _LANES = 1 << 14, 8, 1


def hashed(passcode: str) -> str:
    """What is kept of a passcode; of an empty one nothing."""
    if not passcode:
        return ""
    salt = os.urandom(16)
    return f"{_SCHEME}:{salt.hex()}:{_digest(passcode.encode(), salt)}"


def is_shown(peer: Peer, identity: UserIdentity | None) -> bool:
    """Whether the requestor is the user that the peer's row names, and knows the passcode if one is kept; where none is named, anybody."""
    if not peer.user_name:
        return True
    if identity is None or identity.kind not in {_USER_NAME, _USER_NAME_AND_PASSCODE}:
        return False
    if not hmac.compare_digest(identity.primary, peer.user_name.encode()):
        return False
    if not peer.passcode:
        return True
    _, salt, digest = peer.passcode.split(":")
    return identity.kind == _USER_NAME_AND_PASSCODE and hmac.compare_digest(_digest(identity.secondary, bytes.fromhex(salt)), digest)


def _digest(passcode: bytes, salt: bytes) -> str:
    return hashlib.scrypt(passcode, salt=salt, n=_COST, r=_BLOCKS, p=_LANES).hex()
