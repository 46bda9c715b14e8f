"""The archive opens without Outpost: openssl, zstd and tar, and dcmtk for what comes out."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pydicom

from edge.code.manifest import read_head
from edge.demo.phantom import phantom
from tests.scenarios.conftest import Clinic
from tests.servers import need


def test_a_pack_opens_with_openssl_zstd_and_tar_and_its_members_with_dcmtk(clinic: Clinic, tmp_path: Path) -> None:
    openssl, zstd, tar = need("openssl", "openssl"), need("zstd", "zstd"), need("tar", "tar")
    dcmdump, dcmdjpls = need("dcmdump", "dcmtk"), need("dcmdjpls", "dcmtk")
    sent = {sample.sop_instance: sample for sample in phantom(6, 256)}
    clinic.workstation.send(clinic.site.peer, list(sent.values()), lambda _: None)
    clinic.wait_held()
    (pack,) = (path.parent for path in clinic.archive.rglob("sums"))
    words = tmp_path / "words"
    words.write_text(clinic.kit.passphrase)
    checked = subprocess.run(["sha256sum", "-c", "sums"], cwd=pack, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    names = [line.split()[1] for line in (pack / "sums").read_text().splitlines() if not line.startswith("#")]
    plain = tmp_path / "plain"
    plain.mkdir()
    for name in sorted(names):
        key = ["-inkey", str(clinic.kit.directory / "recovery.key"), "-passin", f"file:{words}"]
        recipient = ["-recip", str(clinic.kit.directory / "recovery.pem")]
        command = [openssl, "cms", "-decrypt", "-inform", "DER", "-in", str(pack / name), *key, *recipient, "-binary"]
        subprocess.run([*command, "-out", str(plain / name)], check=True)
    parts = sorted(plain.glob("0*"))
    manifest = read_head(parts[0].read_bytes()).manifest
    joined = b"".join(part.read_bytes() for part in parts[1:])
    unpacked = subprocess.run([zstd, "-d", "-c"], input=joined, capture_output=True, check=True).stdout
    opened = tmp_path / "opened"
    opened.mkdir()
    listing = subprocess.run([tar, "xvf", "-", "-C", str(opened)], input=unpacked, capture_output=True, check=True)
    assert not listing.stderr
    members = sorted(opened.rglob("*.dcm"))
    assert {member.coding for member in manifest.members} == {"jpegls"}
    assert len(members) == len(sent)
    for member in members:
        subprocess.run([dcmdump, "-q", "+P", "SOPInstanceUID", str(member)], check=True, capture_output=True)
        decoded = tmp_path / "decoded.dcm"
        subprocess.run([dcmdjpls, str(member), str(decoded)], check=True, capture_output=True)
        found = pydicom.dcmread(decoded)
        original = sent[found.SOPInstanceUID]
        assert found.PixelData in original.dataset


def test_the_script_in_the_kit_opens_a_pack(clinic: Clinic, tmp_path: Path) -> None:
    sent = list(phantom(3, 128))
    clinic.workstation.send(clinic.site.peer, sent, lambda _: None)
    clinic.wait_held()
    (pack,) = (path.parent for path in clinic.archive.rglob("sums"))
    script = clinic.kit.directory / "open-by-hand.sh"
    out = tmp_path / "out"
    words = tmp_path / "words"
    words.write_text(clinic.kit.passphrase)
    environment = {**os.environ, "PASSIN": f"file:{words}"}
    done = subprocess.run(["sh", str(script), str(pack), str(out)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(out.rglob("*.dcm"))) == len(sent)
