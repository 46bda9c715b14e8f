"""The worker that decodes what strangers wrote opens nothing any more (Landlock, Linux 5.13): it has the descriptors that it was lent."""

from __future__ import annotations

import ctypes
import os
import struct

_CREATE_RULESET, _RESTRICT_SELF = 444, 446
"""Numbers of the system calls, the same on every architecture."""
_VERSION = 1
_NO_NEW_PRIVILEGES = 38
_FILES = {1: 13, 2: 14, 3: 15, 4: 15}
"""Version of Landlock -> how many rights on files it knows; 16 from version 5 on."""
_ALL_FILES = 16
_NET_SINCE, _SCOPES_SINCE = 4, 6
_TWO = 0b11
"""To bind and to connect; abstract sockets and signals of others."""


def confine() -> bool:
    """From here on this process opens and makes no file, and no TCP connection; False where the kernel cannot keep it from that."""
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    if version < 1:
        return False
    rights = [(1 << _FILES.get(version, _ALL_FILES)) - 1]
    rights += [_TWO] * ((version >= _NET_SINCE) + (version >= _SCOPES_SINCE))
    rules = struct.pack(f"={len(rights)}Q", *rights)
    descriptor = libc.syscall(_CREATE_RULESET, rules, ctypes.c_size_t(len(rules)), 0)
    if descriptor < 0:
        return False
    try:
        return bool(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0 and libc.syscall(_RESTRICT_SELF, descriptor, 0) == 0)
    finally:
        os.close(descriptor)
