"""`outpost kit test` says exactly what is wrong with a kit, and `outpost keys show` tells everything but secrets."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import outpost
from cloudsync.seal import keys as seal_keys
from cloudsync.seal import paper
from cloudsync.setup import NewSite, setup
from edge.config import Layout
from tests.cloudsync.edge_side import settings

STARS = "*" * 12


@dataclass(frozen=True, slots=True)
class Box:
    site: NewSite
    layout: Layout
    kit: Path
    lines: tuple[str, ...]
    """Of the sheet, as they are printed."""

    def outpost(self, *arguments: str, typed: str = "") -> Result:
        return CliRunner().invoke(outpost.app, [*arguments, "--state", str(self.layout.state)], input=typed)

    def test_sheet(self, *lines: str) -> Result:
        return self.outpost("kit", "test", typed="".join(f"{line}\n" for line in lines))

    def shown(self) -> dict[str, object]:
        found = json.loads(self.outpost("keys", "show", "--json").stdout)
        assert isinstance(found, dict)
        return found


def make(place: Path) -> Box:
    layout = Layout(place / "state")
    site = setup(layout.state, settings(place / "archive"), place / "kit")
    lines = re.findall(r"<td>([A-Z2-7 ]{14})</td>", (place / "kit" / "sheet.html").read_text())
    return Box(site, layout, place / "kit", tuple(lines))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Box:
    return make(tmp_path_factory.mktemp("box"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Box:
    return make(tmp_path_factory.mktemp("stranger"))


@pytest.fixture
def box(made: Box) -> Iterator[Box]:
    yield made
    made.layout.kit_tested.unlink(missing_ok=True)


def test_the_sheet_typed_in_is_right_and_the_day_is_kept(box: Box) -> None:
    assert box.shown()["kit_tested"] is None
    assert "never tested here: run `outpost kit test`" in box.outpost("keys", "show").output
    done = box.test_sheet(*(line.lower().replace(" ", "-") for line in box.lines))
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == f"The sheet is right: it opens what site {box.site.site_id} seals. Put it back into the safe.\n"
    passed = box.shown()["kit_tested"]
    assert isinstance(passed, dict)
    assert passed["by"] == "sheet"
    assert f"last tested on {passed['at']}, by its printed sheet." in box.outpost("keys", "show").output


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({3: STARS}, "line 3 was typed in wrongly: * stands on no sheet, only A to Z and 2 to 7 do"),
        ({3: "ABCD EFGH IJK"}, "line 3 was typed in wrongly: it has 11 letters instead of 12"),
        ({5: "AAAA AAAA AAAB"}, "line 5 was typed in wrongly; compare it with the sheet letter by letter"),
        ({2: 4, 4: 2}, "line 2, 4 was typed in wrongly; compare it with the sheet letter by letter"),
        (
            {1: "ABCD EFGH IJ99", 2: "A", 7: "AAAA AAAA AAAB"},
            "line 1 was typed in wrongly: 9 stands on no sheet, only A to Z and 2 to 7 do; line 2 was typed in wrongly: it has 1 letters"
            " instead of 12; line 7 was typed in wrongly; compare it with the sheet letter by letter",
        ),
        ({8: ""}, "the sheet has 8 lines; 7 were typed in"),
    ],
)
def test_a_mistyped_line_is_named_with_what_is_wrong_with_it(box: Box, changes: dict[int, str | int], said: str) -> None:
    lines = list(box.lines)
    for number, change in changes.items():
        lines[number - 1] = box.lines[change - 1] if isinstance(change, int) else change
    done = box.test_sheet(*lines)
    assert (done.exit_code, done.stdout, done.stderr) == (77, "", f"Error: {said}\n")
    assert box.shown()["kit_tested"] is None


def test_a_sheet_of_another_site_and_a_line_of_it_are_noticed(box: Box, stranger: Box) -> None:
    for lines in (stranger.lines, (*box.lines[:6], stranger.lines[6], box.lines[7])):
        done = box.test_sheet(*lines)
        assert done.exit_code == 77
        assert f"together they are not the key of site {box.site.site_id}: compare the site id and all lines" in done.stderr


def test_a_sheet_of_this_site_for_another_key_opens_nothing(box: Box) -> None:
    """As from a set-up under the same site id; the lines themselves are all right."""
    done = box.test_sheet(*paper.to_lines(bytes(47) + b"\7", box.site.site_id))
    assert done.exit_code == 77
    recovery = box.shown()["recovery"]
    assert isinstance(recovery, dict)
    assert done.stderr == f"Error: this key opens nothing of site {box.site.site_id}, which seals for the key {recovery['key_id']}\n"


def test_the_files_and_the_words_are_tested_too(box: Box, tmp_path: Path) -> None:
    (tmp_path / "words").write_text(box.site.passphrase)
    done = box.outpost("kit", "test", "--kit", str(box.kit), "--passphrase-file", str(tmp_path / "words"), "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["site"], found["by"]) == (box.site.site_id, "kit")
    assert box.shown()["kit_tested"] == {"at": found["at"], "by": "kit"}


def test_a_wrong_kit_wrong_words_and_a_lost_key_are_told_apart(box: Box, stranger: Box, tmp_path: Path) -> None:
    for name, text in (("words", stranger.site.passphrase), ("other", box.site.passphrase)):
        (tmp_path / name).write_text(text)
    right, wrong = ("--passphrase-file", str(tmp_path / "words")), ("--passphrase-file", str(tmp_path / "other"))
    lost = tmp_path / "kit"
    lost.mkdir()
    for name in ("kit.json", "recovery.pem"):
        (lost / name).write_bytes((stranger.kit / name).read_bytes())
    for arguments, code, said in (
        ((str(stranger.kit), *right), 77, f"this is the kit of site {stranger.site.site_id}; this box is site {box.site.site_id}"),
        ((str(stranger.kit), *wrong), 77, "These eight words do not open this kit."),
        ((str(lost), *right), 1, f"{lost}/recovery.key cannot be read (No such file or directory)"),
        ((str(tmp_path / "nowhere"), *right), 1, f"there is no {tmp_path}/nowhere"),
    ):
        done = box.outpost("kit", "test", "--kit", *arguments)
        assert (done.exit_code, done.stdout) == (code, "")
        assert said in done.stderr
    assert box.shown()["kit_tested"] is None


def test_a_box_without_keys_says_so(tmp_path: Path) -> None:
    for command in (["kit", "test"], ["keys", "show"]):
        done = CliRunner().invoke(outpost.app, [*command, "--state", str(tmp_path)])
        assert done.exit_code == 1
        assert f"{tmp_path}/cloudsync/keys/site.json is not there. Run `outpost setup`" in done.stderr


def test_a_test_of_another_key_does_not_count(box: Box) -> None:
    box.layout.kit_tested.write_text('{"at":"2026-01-01T00:00:00Z","by":"sheet","recovery_key":"00"}')
    assert box.shown()["kit_tested"] is None


def recovery_made(shown: dict[str, object]) -> str:
    recovery = shown["recovery"]
    assert isinstance(recovery, dict)
    return str(recovery["made"])


def test_what_is_shown_names_the_recipients_and_holds_no_secret(box: Box) -> None:
    own, shown = seal_keys.load(box.layout.keys), box.shown()
    openssl = ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in"]
    for name in ("recovery", "signing"):
        printed = subprocess.run([*openssl, str(box.layout.keys / f"{name}.pem")], capture_output=True, text=True, check=True).stdout
        entry = shown[name]
        assert isinstance(entry, dict)
        assert entry["sha256"] == printed.partition("=")[2].strip().replace(":", "").lower()
    assert (shown["site"], shown["epoch"], shown["epochs"], shown["trust_root"]) == (
        own.site_id,
        1,
        [{"epoch": 1, "began": recovery_made(shown)}],
        own.trust_root,
    )
    text = box.outpost("keys", "show").output + json.dumps(shown)
    assert own.kek.key.hex() not in text
    assert f"{own.signing_key.private_numbers().private_value:x}" not in text
    assert not any(line in text for line in box.lines)


def test_at_a_terminal_a_wrong_line_is_asked_for_again_and_the_screen_is_cleared(box: Box) -> None:
    keyboard, terminal = pty.openpty()
    command = [sys.executable, outpost.__file__, "kit", "test", "--state", str(box.layout.state)]
    with subprocess.Popen(command, stdin=terminal, stdout=subprocess.PIPE, stderr=terminal, start_new_session=True) as test:
        os.write(keyboard, "".join(f"{line}\n" for line in ("nonsense", *box.lines)).encode())
        said, _ = test.communicate(timeout=60)
    asked = os.read(keyboard, 1 << 16).decode()
    os.close(keyboard)
    os.close(terminal)
    assert test.returncode == 0, asked
    assert "Line 1 was typed in wrongly: it has 8 letters instead of 12.\r\n" in asked
    assert asked.endswith("\033[H\033[2J\033[3J")
    assert said.lstrip().startswith(b"The sheet is right")
