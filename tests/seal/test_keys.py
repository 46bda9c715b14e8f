"""The keys of a site on the box."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from cloudsync.seal import keys
from cloudsync.seal.certificates import fingerprint
from cloudsync.seal.keys import KeysExposed, KeysMissing, KeysThere

from .conftest import NOW, Site


def test_what_was_made_is_loaded(site: Site) -> None:
    loaded = keys.load(site.directory)
    assert (loaded.site_id, loaded.epoch, loaded.keks) == (site.keys.site_id, 1, site.keys.keks)
    assert (loaded.recovery, loaded.signing, loaded.trust_root) == (site.keys.recovery, site.keys.signing, site.keys.trust_root)
    assert loaded.open(site.keys.seal("place", b"data"), "place") == b"data"


def test_a_site_id_is_ten_characters_of_base32_and_never_the_same(tmp_path: Path) -> None:
    made = {keys.make(tmp_path / str(number), now=NOW)[0].site_id for number in range(5)}
    assert len(made) == 5
    assert all(keys.is_site_id(each) for each in made)


def test_a_site_id_may_be_given_and_is_checked(tmp_path: Path) -> None:
    assert keys.make(tmp_path / "a", "k7q2abcdef", now=NOW)[0].site_id == "k7q2abcdef"
    for wrong in ("K7Q2ABCDEF", "k7q2abcde", "k7q2abcdef1", "k7q2/bcdef", "k7q2abcde1"):
        with pytest.raises(ValueError, match="no site id"):
            keys.make(tmp_path / "b", wrong, now=NOW)


def test_only_their_owner_may_read_them(site: Site) -> None:
    assert site.directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in site.directory.iterdir()} == {0o600}


def test_the_recovery_key_is_not_among_them(site: Site) -> None:
    held = b"".join(path.read_bytes() for path in site.directory.iterdir())
    assert {path.name for path in site.directory.iterdir()} == {"site.json", "kek-000001", "signing.key", "signing.pem", "recovery.pem"}
    assert site.recovery.scalar not in held
    assert site.recovery.scalar.hex().encode() not in held
    assert held.count(b"PRIVATE KEY-----") == 2


def test_keys_are_never_replaced(site: Site) -> None:
    with pytest.raises(KeysThere):
        keys.make(site.directory, now=NOW)
    with pytest.raises(KeysThere):
        keys.save(site.directory, site.keys)


def test_making_starts_anew_where_it_was_cut_off(tmp_path: Path) -> None:
    keys.make(tmp_path, now=NOW)
    (tmp_path / "site.json").unlink()
    made, _ = keys.make(tmp_path, now=NOW)
    assert keys.load(tmp_path).keks == made.keks


def test_old_epochs_stay_for_reading(tmp_path: Path, site: Site) -> None:
    second = keys.Kek(2, bytes(range(32)))
    rotated = dataclasses.replace(site.keys, epoch=2, keks={**site.keys.keks, 2: second})
    keys.save(tmp_path / "keys", rotated)
    loaded = keys.load(tmp_path / "keys")
    assert loaded.kek == second
    assert loaded.open(site.keys.seal("place", b"old"), "place") == b"old"
    assert loaded.open(loaded.seal("place", b"new"), "place") == b"new"


@pytest.mark.parametrize("name", ["site.json", "kek-000001", "signing.key", "signing.pem", "recovery.pem"])
def test_a_missing_or_damaged_file_is_named_with_the_cure(tmp_path: Path, name: str) -> None:
    keys.make(tmp_path, now=NOW)
    whole = (tmp_path / name).read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"\xff" * 64):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(KeysMissing, match="outpost restore"):
            keys.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(KeysMissing, match=name):
        keys.load(tmp_path)


def test_the_signing_key_of_another_site_is_noticed(tmp_path: Path, other_site: Site) -> None:
    keys.make(tmp_path, now=NOW)
    (tmp_path / "signing.key").write_bytes((other_site.directory / "signing.key").read_bytes())
    with pytest.raises(KeysMissing, match="do not belong together"):
        keys.load(tmp_path)


def test_a_key_that_everybody_can_read_is_refused(tmp_path: Path) -> None:
    keys.make(tmp_path, now=NOW)
    (tmp_path / "kek-000001").chmod(0o644)
    with pytest.raises(KeysExposed, match="kek-000001"):
        keys.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "curve", "usage"), [("recovery", ec.SECP384R1, "key_agreement"), ("signing", ec.SECP256R1, "digital_signature")]
)
def test_the_certificates_say_what_they_are_for_and_name_no_person(site: Site, name: str, curve: type, usage: str) -> None:
    certificate: x509.Certificate = getattr(site.keys, name)
    public = certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert isinstance(public.curve, curve)
    assert certificate.subject.rfc4514_string() == f"CN=Outpost site {site.keys.site_id} {name}"
    assert certificate.issuer == certificate.subject
    certificate.verify_directly_issued_by(certificate)
    key_usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert getattr(key_usage, usage)
    assert key_usage.digital_signature is not key_usage.key_agreement
    key_id = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert key_id == x509.SubjectKeyIdentifier.from_public_key(public)


def test_the_trust_root_is_the_fingerprint_that_openssl_prints(site: Site, tool: Callable[[str], str]) -> None:
    command = [tool("openssl"), "x509", "-in", str(site.directory / "signing.pem"), "-noout", "-fingerprint", "-sha256"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().partition("=")[2]
    assert printed.replace(":", "").lower() == site.keys.trust_root == fingerprint(site.keys.signing)
