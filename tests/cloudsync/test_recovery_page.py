"""What docs/recovery.md says is run as it stands, with the commands that it names and no others, on an archive of two epochs."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

import outpost
from cloudsync import epochs
from cloudsync.ledger.ledger import Ledger
from cloudsync.setup import NewSite
from edge.config import Layout
from edge.journal import Held
from tests.cloudsync.conftest import Running
from tests.cloudsync.edge_side import CodedPack, EdgeSide
from tests.servers import need

PAGE = Path(__file__).parents[2] / "docs/recovery.md"
COMMANDS = ("sh", "openssl", "zstd", "tar", "cat", "mkdir", "rm", "sed", "head", "base64")


def blocks(chapter: str) -> list[str]:
    """The commands of a chapter that are run as they stand."""
    (text,) = re.findall(rf"^## {chapter}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.asyncio
async def test_the_catalog_opens_as_the_page_says_and_names_every_pack(
    edge: EdgeSide, layout: Layout, site: NewSite, running: Running, archive_folder: Path, tmp_path: Path
) -> None:
    for name in ("openssl", "zstd"):
        need(name, name)
    packs = [CodedPack.generated(seed) for seed in range(2)]
    for pack in packs:
        edge.code(pack)
        async with running():
            await edge.hears(Held, pack=pack.pack)
        ledger = await Ledger.open(layout.ledger)
        await epochs.begin(layout.keys, ledger, await epochs.current(layout.keys, ledger), (), 1_767_225_600.0)
        await ledger.close()
    commands, place = tmp_path / "bin", tmp_path / "a place"
    commands.mkdir()
    place.mkdir()
    for name in COMMANDS:
        (commands / name).symlink_to(shutil.which(name) or pytest.fail(f"there is no {name}"))
    (tmp_path / "words").write_text(site.passphrase)
    environment = {
        "PATH": str(commands),
        "PASSIN": f"file:{tmp_path / 'words'}",
        "ARCHIVE": str(archive_folder),
        "SITE": site.site_id,
        "KIT": str(tmp_path / "kit"),
    }
    script = "\n".join(blocks("By hand"))
    done = subprocess.run([str(commands / "sh"), "-eu", "-c", script], cwd=place, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    fingerprint = json.loads((tmp_path / "kit" / "kit.json").read_text())["signing_sha256"]
    assert done.stdout.partition("=")[2].strip().replace(":", "").lower() == fingerprint
    entries = [json.loads(line) for line in (place / "catalog.jsonl").read_text().splitlines()]
    found = [(entry["pack"], entry["sums_digest"]) for entry in entries if entry.get("kind") == "held"]
    assert [pack for pack, _ in found] == [pack.pack for pack in packs]
    for name, digest in found:  # the objects of these packs are no tar: the script ends there, after it has compared and opened them
        by_hand = [str(commands / "sh"), str(tmp_path / "kit" / "open-by-hand.sh"), str(archive_folder / site.site_id / "p" / name)]
        opened = subprocess.run([*by_hand, f"out {name}", digest], cwd=place, env=environment, capture_output=True, text=True)
        assert opened.stderr.splitlines()[-1] == "open-by-hand: head is not whole"


def test_an_escrow_made_by_openssl_as_the_page_says_opens_what_was_exported_and_a_part_by_it(
    edge: EdgeSide, layout: Layout, site: NewSite, running: Running, archive_folder: Path, tmp_path: Path
) -> None:
    need("openssl", "openssl")
    pack = CodedPack.generated(7)

    async def ship() -> None:
        edge.code(pack)
        async with running():
            await edge.hears(Held, pack=pack.pack)

    asyncio.run(ship())

    def run(*command: str) -> bytes:
        return subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PASSOUT": "pass:a passphrase"}, capture_output=True, check=True
        ).stdout

    def outpost_keys(*arguments: str) -> None:
        done = CliRunner().invoke(outpost.app, ["keys", *arguments, "--state", str(layout.state)])
        assert done.exit_code == 0, done.output

    for block in blocks("When the kit is lost"):
        run("sh", "-eu", "-c", block)
    outpost_keys("share", str(tmp_path / "escrow.pem"), "--yes")
    outpost_keys("export", str(tmp_path / "escrow.pem"), "--out", str(tmp_path / "clinic.keys"))
    own = ["-inkey", "escrow.key", "-passin", "pass:a passphrase", "-recip", "escrow.pem"]
    keks = json.loads(run("openssl", "cms", "-decrypt", "-inform", "DER", "-in", "clinic.keys", *own, "-binary"))["keks"]
    sealed = str(archive_folder / site.site_id / "p" / pack.pack / "000001")
    assert b"epoch 1" in run("openssl", "cms", "-cmsout", "-print", "-inform", "DER", "-in", sealed)
    by_epoch = ["-secretkey", keks["1"], "-secretkeyid", b"epoch 1".hex()]
    assert run("openssl", "cms", "-decrypt", "-inform", "DER", "-in", sealed, *by_epoch, "-binary") == pack.objects[1]
