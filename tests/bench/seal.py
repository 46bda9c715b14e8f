"""How fast parts are sealed, with both digests that go with each, beside what openssl needs for the same passes over the bytes.

In CPU time, so that other work on the machine does not count.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from cloudsync.archive.port import md5_of
from cloudsync.seal import keys as seal_keys
from cloudsync.seal.keys import Keys
from tests.bench.table import Row

PROMISED = 300.0
"""MB/s."""
SIZES = {"128 KiB": 128 << 10, "1 MiB": 1 << 20}
_TOTAL = 128 << 20


def rows(runs: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        keys, _ = seal_keys.make(Path(scratch) / "keys", now=time.time())
        for name, size in SIZES.items():
            rates = [(_ours(keys, size), _openssl(size)) for _ in range(runs)]
            ours, peer = (statistics.median(each) for each in zip(*rates, strict=True))
            yield Row(f"seal parts of {name}, SHA-256 and MD5", ours, peer, "openssl speed, the same three passes", "MB/s", ours / peer, 0)
            yield Row(f"seal parts of {name}, SHA-256 and MD5", ours, PROMISED, "what is promised", "MB/s", ours / PROMISED, 1.0)


def _ours(keys: Keys, size: int) -> float:
    data = os.urandom(size)
    begin = time.process_time()
    for number in range(_TOTAL // size):
        sealed = keys.seal(f"{keys.site_id}/p/{'a' * 26}/{number:06d}", data)
        sha256(sealed).digest()
        md5_of(sealed)
    return _TOTAL / 1e6 / (time.process_time() - begin)


def _openssl(size: int) -> float:
    """MB/s of AES-256-GCM, SHA-256 and MD5 one after the other; no certificate, no key agreement and no DER in it."""
    return 1 / sum(1 / _speed(cipher, size) for cipher in ("aes-256-gcm", "sha256", "md5"))


def _speed(evp: str, size: int) -> float:
    command = ["openssl", "speed", "-mr", "-seconds", "1", "-bytes", str(size), "-evp", evp]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"^\+F:.*:([0-9.]+)\s*$", shown.stdout, re.MULTILINE)
    assert found, shown.stdout
    return float(found[1]) / 1e6
