"""A signed text: openssl verifies it with the certificate given separately, and only the one form is read."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from cloudsync.seal import signed
from cloudsync.seal.part import NotOurs
from cloudsync.seal.signed import BadSignature

from .conftest import Site
from .mutation import mutations

CONTENT = b"\x28\xb5\x2f\xfdcontent"


def test_what_was_signed_is_verified(site: Site) -> None:
    for content in (b"", CONTENT, bytes(100_000)):
        made = signed.sign(content, site.keys.signing_key, site.keys.signing)
        assert signed.verify(made, site.keys.signing, "text") == content
        assert signed.content_of(made, "text") == content


def test_openssl_verifies_it_with_the_certificate_given_separately(
    site: Site, other_site: Site, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    (tmp_path / "signed").write_bytes(signed.sign(CONTENT, site.keys.signing_key, site.keys.signing))
    command = [tool("openssl"), "cms", "-verify", "-inform", "DER", "-in", "signed", "-nointern", "-noverify", "-binary", "-certfile"]
    for certificate, status in ((site.keys.signing, 0), (other_site.keys.signing, 4)):
        (tmp_path / "signing.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        done = subprocess.run([*command, "signing.pem"], cwd=tmp_path, capture_output=True)
        assert done.returncode == status
        assert done.stdout == (CONTENT if status == 0 else b"")


def test_another_sites_signature_is_refused(site: Site, other_site: Site) -> None:
    made = signed.sign(CONTENT, other_site.keys.signing_key, other_site.keys.signing)
    with pytest.raises(BadSignature, match=r"^text: signed by the key"):
        signed.verify(made, site.keys.signing, "text")


def test_another_key_under_the_name_of_ours_is_refused(site: Site, other_site: Site) -> None:
    made = signed.sign(CONTENT, other_site.keys.signing_key, site.keys.signing)
    with pytest.raises(BadSignature, match="not signed by this site's key"):
        signed.verify(made, site.keys.signing, "text")


def test_other_content_under_the_same_signature_is_refused(site: Site) -> None:
    made = signed.sign(CONTENT, site.keys.signing_key, site.keys.signing)
    with pytest.raises(BadSignature):
        signed.verify(made.replace(b"content", b"CONTENT"), site.keys.signing, "text")


def test_a_signature_by_openssl_with_attributes_is_not_ours(site: Site, tmp_path: Path, tool: Callable[[str], str]) -> None:
    (tmp_path / "content").write_bytes(CONTENT)
    command = [tool("openssl"), "cms", "-sign", "-in", "content", "-binary", "-nodetach", "-nocerts", "-keyid", "-outform", "DER"]
    command += ["-signer", str(site.directory / "signing.pem"), "-inkey", str(site.directory / "signing.key"), "-md", "sha256"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
    with pytest.raises(NotOurs):
        signed.verify(made, site.keys.signing, "text")


def test_none_of_thousands_of_mutations_is_verified(site: Site) -> None:
    made = signed.sign(CONTENT, site.keys.signing_key, site.keys.signing)
    for mutated in mutations(made, 5_000, seed=1):
        with pytest.raises(NotOurs):
            signed.verify(mutated, site.keys.signing, "text")
