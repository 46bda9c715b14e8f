"""openssl opens what we seal, by either key, and we read only what we seal."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from cloudsync.seal.keys import private_pem
from cloudsync.seal.part import NotOurs, seal_for

from .conftest import Site

PLACE = "k7q2abcdef/p/mzxw6ytbmzxw6ytbmzxw6ytbmz/000003"
Openssl = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def openssl(tool: Callable[[str], str], tmp_path: Path, site: Site) -> Openssl:
    (tmp_path / "recovery.key").write_bytes(private_pem(site.recovery.private))
    (tmp_path / "recovery.pem").write_bytes(site.keys.recovery.public_bytes(Encoding.PEM))
    program = tool("openssl")

    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([program, *arguments], cwd=tmp_path, capture_output=True)

    return run


@pytest.mark.parametrize("size", [0, 1, 1 << 20])
def test_openssl_opens_a_part_by_either_key(openssl: Openssl, tmp_path: Path, site: Site, size: int) -> None:
    data = bytes(range(256)) * (size // 256) or b"x" * size
    (tmp_path / "part").write_bytes(site.keys.seal(PLACE, data))
    by_recovery = ("-inkey", "recovery.key", "-recip", "recovery.pem")
    by_kek = ("-secretkey", site.keys.kek.key.hex(), "-secretkeyid", b"epoch 1".hex())
    for key in (by_recovery, by_kek, ("-inkey", "recovery.key")):
        done = openssl("cms", "-decrypt", "-inform", "DER", "-in", "part", "-binary", "-out", "plain", *key)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "plain").read_bytes() == data


def test_openssl_opens_what_is_sealed_for_the_recovery_certificate_alone(openssl: Openssl, tmp_path: Path, site: Site) -> None:
    (tmp_path / "part").write_bytes(seal_for(PLACE, b"keys", site.keys.recovery))
    done = openssl("cms", "-decrypt", "-inform", "DER", "-in", "part", "-binary", "-inkey", "recovery.key", "-recip", "recovery.pem")
    assert (done.returncode, done.stdout) == (0, b"keys")


def test_openssl_refuses_an_altered_part(openssl: Openssl, tmp_path: Path, site: Site) -> None:
    sealed = bytearray(site.keys.seal(PLACE, bytes(1000)))
    sealed[-100] ^= 1
    (tmp_path / "part").write_bytes(sealed)
    done = openssl("cms", "-decrypt", "-inform", "DER", "-in", "part", "-binary", "-inkey", "recovery.key", "-recip", "recovery.pem")
    assert done.returncode != 0


def test_a_part_that_openssl_made_for_the_same_keys_is_not_ours(openssl: Openssl, tmp_path: Path, site: Site) -> None:
    (tmp_path / "plain").write_bytes(b"data")
    made = openssl(
        *("cms", "-encrypt", "-aes-256-gcm", "-outform", "DER", "-in", "plain", "-binary", "-out", "part", "-keyid"),
        *("-secretkey", site.keys.kek.key.hex(), "-secretkeyid", b"epoch 1".hex(), "-recip", "recovery.pem"),
    )
    assert made.returncode == 0, made.stderr
    with pytest.raises(NotOurs):
        site.keys.open((tmp_path / "part").read_bytes(), PLACE)
