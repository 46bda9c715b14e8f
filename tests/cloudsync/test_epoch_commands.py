"""`outpost keys rotate | share | revoke | export | certificate`: deny by default, and say plainly what each does and does not do."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_certificate
from typer.testing import CliRunner, Result

import outpost
from cloudsync.seal import keys as seal_keys
from cloudsync.seal import sharing
from cloudsync.setup import setup
from edge import process
from edge.config import Layout
from tests.cloudsync.edge_side import settings

NOW = 1_767_225_600.0


class Box:
    def __init__(self, place: Path) -> None:
        self.layout = Layout(place / "state")
        self.site = setup(self.layout.state, settings(place / "archive"), place / "kit").site_id
        (place / "hub").mkdir()
        self.hub = sharing.make(place / "hub", "k7q2abcdef", now=NOW)
        self.certificate = place / "hub" / "sibling.pem"
        self.hub_id = self.hub.certificate.extensions[0].value.digest.hex()

    def keys(self, *arguments: str) -> Result:
        return CliRunner().invoke(outpost.app, ["keys", *arguments, "--state", str(self.layout.state)])

    def shown(self) -> dict[str, object]:
        found = json.loads(self.keys("show", "--json").stdout)
        assert isinstance(found, dict)
        return found


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    yield Box(tmp_path_factory.mktemp("box"))


def test_a_sibling_is_shared_with_exported_for_and_revoked(box: Box, tmp_path: Path) -> None:
    out = tmp_path / "keys.cms"
    refused = box.keys("export", str(box.certificate), "--out", str(out))
    assert (refused.exit_code, out.exists()) == (77, False)
    assert f"shares its keys with no {box.hub_id}" in refused.stderr

    unconfirmed = box.keys("share", str(box.certificate))
    assert (unconfirmed.exit_code, box.shown()["shared_with"]) == (77, [])
    assert "it takes a yes at the terminal, or --yes" in unconfirmed.stderr

    done = box.keys("share", str(box.certificate), "--yes")
    assert done.exit_code == 0, done.output
    assert f"reads all that site {box.site} seals, of every epoch" in done.stdout
    assert "already" in box.keys("share", str(box.certificate), "--yes").stdout
    (shared,) = box.shown()["shared_with"]  # type: ignore[misc]
    assert (shared["key_id"], shared["name"]) == (box.hub_id, "CN=Outpost site k7q2abcdef sibling")

    done = box.keys("export", box.hub_id, "--out", str(out))
    assert done.exit_code == 0, done.output
    own = seal_keys.load(box.layout.keys)
    given = sharing.open_shared(out.read_bytes(), box.site, box.hub)
    assert (given.trust_root, given.keks) == (own.trust_root, own.keks)
    assert own.trust_root in done.stdout
    assert "is there already" in box.keys("export", box.hub_id, "--out", str(out)).stderr

    done = box.keys("rotate", "--json")
    told = json.loads(done.stdout)
    assert (told["site"], told["epoch"], told["shared_with"]) == (box.site, own.epoch + 1, [box.hub_id])
    done = box.keys("revoke", box.hub_id)
    assert done.exit_code == 0, done.output
    assert f"Nothing can be taken back: what was sealed in epochs 1 to {own.epoch + 1} stays readable" in done.stdout
    shown = box.shown()
    assert (shown["epoch"], shown["shared_with"]) == (own.epoch + 2, [])
    assert [each["epoch"] for each in shown["epochs"]] == list(range(1, own.epoch + 3))  # type: ignore[attr-defined]
    assert all(each["began"] for each in shown["epochs"])  # type: ignore[attr-defined]
    text = box.keys("show").output
    assert f"Epoch {own.epoch + 2} began" in text
    assert "No key is shared with another site." in text
    for key in (kek.key.hex() for kek in seal_keys.load(box.layout.keys).keks.values()):
        assert key not in text + json.dumps(shown) + done.output


def test_a_sibling_that_nobody_shared_with_cannot_be_revoked(box: Box) -> None:
    before = box.shown()["epoch"]
    refused = box.keys("revoke", "0" * 40)
    assert (refused.exit_code, box.shown()["epoch"]) == (77, before)


def test_what_is_no_fit_certificate_is_refused(box: Box, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no certificate")
    for path, code, said in (
        (tmp_path / "none", 78, "cannot be read (No such file or directory)"),
        (tmp_path / "text", 78, "is no certificate in PEM"),
        (box.layout.keys / "signing.pem", 77, "not on the curve P-384"),
    ):
        refused = box.keys("share", str(path), "--yes")
        assert (refused.exit_code, box.shown()["shared_with"]) == (code, [])
        assert said in refused.stderr


def test_while_cloudsync_runs_nothing_is_changed(box: Box) -> None:
    before = box.shown()
    box.layout.cloudsync_lock.unlink(missing_ok=True)
    held = process.lock(box.layout.cloudsync_lock)
    try:
        for command in (["rotate"], ["revoke", box.hub_id], ["share", str(box.certificate), "--yes"]):
            refused = box.keys(*command)
            assert refused.exit_code == 3
            assert f"Stop it for `outpost keys {command[0]}`: `systemctl stop cloudsync.service`" in refused.stderr
    finally:
        os.close(held)
    assert box.shown() == before


def test_the_box_has_one_certificate_for_reading_others(box: Box) -> None:
    first, again = box.keys("certificate"), box.keys("certificate", "--json")
    assert first.exit_code == 0, first.output
    found = json.loads(again.stdout)
    assert found["certificate"] == first.stdout
    assert found["sha256"] in first.stderr
    assert load_pem_x509_certificate(first.stdout.encode()) == sharing.load(box.layout.keys).certificate
