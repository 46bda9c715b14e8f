"""The kit's script opens a pack where there is nothing but sh, openssl, zstd, tar and three commands of coreutils."""

from __future__ import annotations

import io
import os
import random
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
import zstandard

from cloudsync.seal import kit, sums
from cloudsync.seal.sums import Sum, Sums, object_name
from edge.model import Digest, PackId

from .conftest import NOW, Site

PACK = PackId("mzxw6ytbmzxw6ytbmzxw6ytbmz")
MEMBERS = {"1.2.3/1.2.3.4.dcm": random.Random(1).randbytes(700_000), "1.2.3/1.2.3.5.dcm": b"verbatim" * 20_000}


@dataclass(frozen=True, slots=True)
class Hand:
    """A person with the kit and a folder of sealed objects, in an environment with few commands."""

    kit: Path
    objects: Path
    target: Path
    commands: Path
    words: str

    def open(self, *more: str) -> subprocess.CompletedProcess[str]:
        reading, writing = os.pipe()
        os.write(writing, self.words.encode() + b"\n")
        os.close(writing)
        try:
            return subprocess.run(
                [str(self.commands / "sh"), "open-by-hand.sh", str(self.objects), str(self.target), *more],
                cwd=self.kit,
                env={"PATH": str(self.commands), "PASSIN": f"fd:{reading}"},
                pass_fds=(reading,),
                capture_output=True,
                text=True,
            )
        finally:
            os.close(reading)


@pytest.fixture
def hand(tmp_path: Path, site: Site, tool: Callable[[str], str]) -> Hand:
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("sh", "openssl", "zstd", "tar", "cat", "mkdir", "rm"):
        (commands / name).symlink_to(tool(name))
    words = kit.write(tmp_path / "kit", site.keys, site.recovery, "folder:archive", now=NOW)
    objects = tmp_path / "objects"
    objects.mkdir()
    compress = zstandard.ZstdCompressor().compress
    stream = tar_of(MEMBERS)
    slices = [compress(stream[start : start + 300_000]) for start in range(0, len(stream), 300_000)]
    entries = []
    for number, data in enumerate([compress(tar_of({"manifest.json": b"{}"})), *slices]):
        attempt = 1 if number == 2 else 0
        name = object_name(number, attempt)
        sealed = site.keys.seal(f"{site.keys.site_id}/p/{PACK}/{name}", data)
        (objects / name).write_bytes(sealed)
        entries.append(Sum(number, len(sealed), Digest(sha256(sealed).hexdigest()), attempt))
    (objects / "sums").write_bytes(sums.write(Sums(site.keys.site_id, PACK, tuple(entries))))
    return Hand(tmp_path / "kit", objects, tmp_path / "a target", commands, words)


def tar_of(members: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return target.getvalue()


def test_a_pack_is_opened_bit_for_bit(hand: Hand) -> None:
    done = hand.open()
    assert (done.returncode, done.stderr) == (0, "")
    found = {str(path.relative_to(hand.target)): path.read_bytes() for path in hand.target.rglob("*") if path.is_file()}
    assert found == {**MEMBERS, "head/manifest.json": b"{}"}


def test_the_digest_that_the_catalog_names_is_compared(hand: Hand) -> None:
    right = sha256((hand.objects / "sums").read_bytes()).hexdigest()
    refused = hand.open(right[:-1] + ("0" if right[-1] != "0" else "1"))
    assert refused.returncode != 0
    assert "not the sums that the catalog names" in refused.stderr
    assert not hand.target.exists()
    assert hand.open(right).returncode == 0


@pytest.mark.parametrize("name", ["000000", "000001", "000002.1"])
def test_an_altered_object_is_refused_before_anything_is_opened(hand: Hand, name: str) -> None:
    sealed = bytearray((hand.objects / name).read_bytes())
    sealed[-40] ^= 1
    (hand.objects / name).write_bytes(sealed)
    done = hand.open()
    assert done.returncode != 0
    assert f"{name} is not what the sums say" in done.stderr
    assert not hand.target.exists()


def test_what_openssl_refuses_leaves_nothing_behind(hand: Hand) -> None:
    """As if somebody had altered object and sums alike."""
    path = hand.objects / "000001"
    before, sealed = path.read_bytes(), bytearray(path.read_bytes())
    sealed[-40] ^= 1
    path.write_bytes(sealed)
    text = (hand.objects / "sums").read_text()
    (hand.objects / "sums").write_text(text.replace(sha256(before).hexdigest(), sha256(sealed).hexdigest()))
    done = hand.open()
    assert done.returncode != 0
    assert "000001 does not open with this key" in done.stderr
    assert not (hand.target / "plain").exists()
    assert not list(hand.target.rglob("*.dcm"))


@pytest.mark.parametrize("name", ["../../etc/passwd", "000001/../x", "000001.$(rm)", "00000x", "000001.", "-rf"])
def test_a_name_that_is_none_of_ours_is_refused(hand: Hand, name: str) -> None:
    (hand.objects / "sums").write_text(f"{'0' * 64}  {name}\n")
    done = hand.open()
    assert done.returncode != 0
    assert f"the sums name {name}" in done.stderr


def test_a_missing_object_is_named(hand: Hand) -> None:
    (hand.objects / "000001").unlink()
    done = hand.open()
    assert done.returncode != 0
    assert "000001 is missing" in done.stderr


def test_wrong_words_open_nothing(hand: Hand) -> None:
    wrong = Hand(hand.kit, hand.objects, hand.target, hand.commands, "zide maru")
    done = wrong.open()
    assert done.returncode != 0
    assert done.stderr.startswith("open-by-hand: these words do not open recovery.key. Type all eight")
    assert done.stderr.count("\n") == 1
    assert not hand.target.exists()


def test_a_kit_that_is_not_whole_is_named(hand: Hand) -> None:
    (hand.kit / "recovery.pem").unlink()
    done = hand.open()
    assert done.returncode != 0
    assert "recovery.pem have to lie beside this script" in done.stderr
    assert not hand.target.exists()


def test_what_is_there_is_not_overwritten(hand: Hand) -> None:
    hand.target.mkdir()
    done = hand.open()
    assert done.returncode != 0
    assert "is there already" in done.stderr
