"""What is shared opens for the sibling alone, with openssl too, and holds nothing to write with."""

from __future__ import annotations

import dataclasses
import datetime
import json
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from cloudsync.seal import certificates, keys, sharing
from cloudsync.seal.keys import KeysExposed, KeysMissing, private_pem
from cloudsync.seal.part import Kek, NotOurs, WrongKey
from cloudsync.seal.sharing import UnfitCertificate

from .mutation import mutations

NOW = 1_767_225_600.0


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> keys.Keys:
    made, _ = keys.make(tmp_path_factory.mktemp("clinic"), now=NOW)
    return dataclasses.replace(made, epoch=2, keks={**made.keks, 2: Kek(2, b"2" * 32)})


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> sharing.Sibling:
    return sharing.make(tmp_path_factory.mktemp("hub"), "k7q2abcdef", now=NOW)


def test_the_sibling_opens_what_was_sealed_in_any_epoch_and_no_later_one(clinic: keys.Keys, hub: sharing.Sibling) -> None:
    shared = sharing.open_shared(sharing.share(clinic, hub.certificate), clinic.site_id, hub)
    assert (shared.site_id, shared.trust_root, shared.epoch) == (clinic.site_id, clinic.trust_root, 2)
    for epoch in (1, 2):
        sealed = dataclasses.replace(clinic, epoch=epoch).seal("a place", b"seen")
        assert shared.open(sealed, "a place") == b"seen"
    later = dataclasses.replace(clinic, epoch=3, keks={**clinic.keks, 3: Kek(3, b"3" * 32)})
    with pytest.raises(WrongKey, match=f"epoch 3; site {clinic.site_id} has shared epochs 1 to 2"):
        shared.open(later.seal("a place", b"unseen"), "a place")


def test_openssl_opens_it_and_no_signing_key_is_in_it(clinic: keys.Keys, hub: sharing.Sibling, tmp_path: Path) -> None:
    (tmp_path / "shared").write_bytes(sharing.share(clinic, hub.certificate))
    (tmp_path / "key").write_bytes(private_pem(hub.private))
    (tmp_path / "pem").write_bytes(hub.certificate.public_bytes(Encoding.PEM))
    command = ["openssl", "cms", "-decrypt", "-inform", "DER", "-in", "shared", "-inkey", "key", "-recip", "pem", "-binary"]
    opened = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
    assert json.loads(opened) == {
        "format": 1,
        "site": clinic.site_id,
        "trust_root": clinic.trust_root,
        "keks": {str(kek.epoch): kek.key.hex() for kek in clinic.keks.values()},
    }


def test_a_share_of_another_site_or_for_another_sibling_does_not_open(clinic: keys.Keys, hub: sharing.Sibling, tmp_path: Path) -> None:
    sealed = sharing.share(clinic, hub.certificate)
    with pytest.raises(NotOurs, match="another place"):
        sharing.open_shared(sealed, "a" * 10, hub)
    (tmp_path / "keys").mkdir()
    with pytest.raises(NotOurs, match="another place"):
        sharing.open_shared(sealed, clinic.site_id, sharing.make(tmp_path / "keys", "a" * 10, now=NOW))


def test_none_of_thousands_of_mutations_of_a_share_opens(clinic: keys.Keys, hub: sharing.Sibling) -> None:
    for mutated in mutations(sharing.share(clinic, hub.certificate), 3000, seed=20):
        with pytest.raises((NotOurs, WrongKey)):
            sharing.open_shared(mutated, clinic.site_id, hub)


def test_the_key_pair_is_made_once_and_stays_private(tmp_path: Path) -> None:
    with pytest.raises(KeysMissing, match=r"sibling\.pem"):
        sharing.load(tmp_path)
    made = sharing.make(tmp_path, "k7q2abcdef", now=NOW)
    again = sharing.make(tmp_path, "k7q2abcdef", now=NOW + 1)
    assert (made.certificate, made.private.private_numbers()) == (again.certificate, again.private.private_numbers())
    (tmp_path / "sibling.key").chmod(0o604)
    with pytest.raises(KeysExposed):
        sharing.load(tmp_path)


def test_a_key_without_its_certificate_from_a_broken_off_making_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "sibling.key").write_text("half")
    (tmp_path / "sibling.key").chmod(0o600)
    assert sharing.make(tmp_path, "k7q2abcdef", now=NOW).certificate


def certificate(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    *,
    usage: x509.KeyUsage | None = None,
    identifier: bytes | None = None,
    days: int = 1,
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "made elsewhere")])
    start = datetime.datetime.fromtimestamp(NOW, datetime.UTC) - datetime.timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(start).not_valid_after(start + datetime.timedelta(days=days, hours=1))
    if usage is not None:
        builder = builder.add_extension(usage, critical=True)
    if identifier is not None:
        builder = builder.add_extension(x509.SubjectKeyIdentifier(identifier), critical=False)
    return builder.sign(key, hashes.SHA384())


def test_only_a_certificate_whose_holder_can_open_it_is_taken(hub: sharing.Sibling, clinic: keys.Keys) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    right = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest
    agree, sign = certificates._usage(agreement=True), certificates._usage(agreement=False)
    sharing.check(hub.certificate, NOW + 1)
    sharing.check(certificate(key, usage=agree, identifier=right, days=2), NOW)
    for wrong, said in (
        (certificate(rsa.generate_private_key(65537, 2048), usage=agree, identifier=right), "not on the curve P-384"),
        (certificate(ec.generate_private_key(ec.SECP256R1()), usage=agree, identifier=right), "not on the curve P-384"),
        (clinic.signing, "not on the curve P-384"),
        (certificate(key, usage=agree), "no SubjectKeyIdentifier"),
        (certificate(key, identifier=right), "keyUsage"),
        (certificate(key, usage=agree, identifier=bytes(20)), "is not the SHA-1 of its key"),
        (certificate(key, usage=sign, identifier=right), "not for key agreement"),
        (certificate(key, usage=agree, identifier=right, days=0), "not now"),
    ):
        with pytest.raises(UnfitCertificate, match=said):
            sharing.check(wrong, NOW)
