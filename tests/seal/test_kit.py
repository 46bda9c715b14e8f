"""The recovery kit is written once and read back by its words or from its sheet."""

from __future__ import annotations

import html
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloudsync.seal import kit, paper
from cloudsync.seal.kit import KitDamaged, Mistyped, WrongPassphrase

from .conftest import NOW, Site

ARCHIVE = "folder:/media/<usb> & more"


@dataclass(frozen=True, slots=True)
class Written:
    directory: Path
    words: str


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, site: Site, tool: Callable[[str], str]) -> Written:
    tool("openssl")
    directory = tmp_path_factory.mktemp("kit") / "kit"
    return Written(directory, kit.write(directory, site.keys, site.recovery, ARCHIVE, now=NOW))


@pytest.fixture
def copy(written: Written, tmp_path: Path) -> Written:
    directory = tmp_path / "kit"
    directory.mkdir()
    for path in written.directory.iterdir():
        (directory / path.name).write_bytes(path.read_bytes())
    return Written(directory, written.words)


def test_the_kit_is_read_back_by_its_words(written: Written, site: Site) -> None:
    for path in (written.directory, written.directory / "recovery.key", written.directory / "kit.json"):
        found = kit.read(path, written.words)
        assert (found.site_id, found.archive, found.trust_root) == (site.keys.site_id, ARCHIVE, site.keys.trust_root)
        assert found.recovery.scalar == site.recovery.scalar
    assert found.recovery.open(site.keys.seal("place", b"data"), "place") == b"data"


def test_the_words_may_be_typed_in_any_case(written: Written, site: Site) -> None:
    assert kit.read(written.directory, written.words.upper().replace(" ", "  ")).recovery.scalar == site.recovery.scalar


def test_wrong_words_are_refused(written: Written) -> None:
    for words in ("", "zide maru", " ".join(reversed(written.words.split())), written.words[:-1]):
        with pytest.raises(WrongPassphrase):
            kit.read(written.directory, words)


def test_the_key_lies_under_a_million_rounds(written: Written, tool: Callable[[str], str]) -> None:
    command = [tool("openssl"), "asn1parse", "-in", str(written.directory / "recovery.key")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.search(r"INTEGER +:0F4240", shown)
    assert "hmacWithSHA256" in shown
    assert "aes-256-cbc" in shown


def test_openssl_opens_the_key_with_the_words(written: Written, site: Site, tool: Callable[[str], str]) -> None:
    command = [tool("openssl"), "pkey", "-in", str(written.directory / "recovery.key"), "-passin", "stdin", "-noout", "-text"]
    shown = subprocess.run(command, input=written.words + "\n", capture_output=True, text=True, check=True).stdout
    assert site.recovery.scalar.hex() in re.sub(r"[:\s]", "", shown)


def test_neither_key_nor_words_stand_in_clear_anywhere_but_on_the_sheet(written: Written, site: Site) -> None:
    letters = "".join(line.replace(" ", "")[:11] for line in paper.to_lines(site.recovery.scalar, site.keys.site_id))
    for path in written.directory.iterdir():
        text = path.read_bytes()
        assert site.recovery.scalar not in text
        assert site.recovery.scalar.hex().encode() not in text
        assert letters[:11].encode() not in text
        assert all(word.encode() not in text for word in (written.words, written.words.replace(" ", "")))
    assert {path.name: path.stat().st_mode & 0o777 for path in written.directory.iterdir()} == {
        "kit.json": 0o644,
        "open-by-hand.sh": 0o755,
        "recovery.key": 0o600,
        "recovery.pem": 0o644,
        "sheet.html": 0o600,
        "sheet.pdf": 0o600,
    }


def test_the_sheet_has_all_that_is_needed_and_brings_the_key_back(written: Written, site: Site) -> None:
    sheet = (written.directory / "sheet.html").read_text()
    assert "folder:/media/&lt;usb&gt; &amp; more" in sheet
    assert site.keys.trust_root in sheet
    assert "2026-01-01T00:00:00Z" in sheet
    assert "openssl cms -decrypt" in sheet
    assert "./outpost restore --state /var/lib/outpost --kit KIT" in sheet
    assert "the old box must never run again" in sheet
    assert not re.search(r"https?://|<script|<img|\$", sheet)
    assert sheet.count("<svg") == 1
    lines = re.findall(r"<td>([A-Z2-7 ]{14})</td>", sheet)
    found = kit.from_sheet_lines(lines, f" {site.keys.site_id.upper()} ", ARCHIVE, site.keys.trust_root.upper())
    assert found == kit.Kit(site.keys.site_id, ARCHIVE, found.recovery, site.keys.trust_root)
    assert found.recovery.scalar == site.recovery.scalar


def test_the_sheet_alone_opens_a_part_with_coreutils_and_openssl(
    written: Written, site: Site, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    for name in ("base32", "openssl"):
        tool(name)
    sheet = html.unescape((written.directory / "sheet.html").read_text())
    lines = re.findall(r"<td>([A-Z2-7 ]{14})</td>", sheet)
    letters = "".join(line.replace(" ", "")[:11] for line in lines[:7])
    make_key, open_part = re.search(r"<pre>(\{ printf.*?)</pre>", sheet, re.DOTALL), re.search(r"openssl cms .*", sheet)
    assert make_key
    assert open_part
    (tmp_path / "PART").write_bytes(site.keys.seal("place", b"data"))
    for command in (make_key[1].replace("LETTERS", letters), open_part[0]):
        subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "PLAIN").read_bytes() == b"data"


def test_a_wrong_line_or_field_of_the_sheet_is_named(site: Site) -> None:
    lines = list(paper.to_lines(site.recovery.scalar, site.keys.site_id))
    wrong = [*lines[:4], "AAAA AAAA AAAB", *lines[5:]]
    with pytest.raises(Mistyped, match="line 5"):
        kit.from_sheet_lines(wrong, site.keys.site_id, ARCHIVE, site.keys.trust_root)
    with pytest.raises(Mistyped, match="no site id"):
        kit.from_sheet_lines(lines, "clinic", ARCHIVE, site.keys.trust_root)
    with pytest.raises(Mistyped, match="64 hexadecimal digits"):
        kit.from_sheet_lines(lines, site.keys.site_id, ARCHIVE, site.keys.trust_root[:-1])


def test_a_zero_scalar_is_no_key(site: Site) -> None:
    with pytest.raises(Mistyped, match="no key"):
        kit.from_sheet_lines(paper.to_lines(bytes(48), site.keys.site_id), site.keys.site_id, ARCHIVE, site.keys.trust_root)


def test_a_kit_is_never_written_over_another(written: Written, site: Site) -> None:
    with pytest.raises(FileExistsError):
        kit.write(written.directory, site.keys, site.recovery, ARCHIVE, now=NOW)


@pytest.mark.parametrize("name", ["kit.json", "recovery.key", "recovery.pem"])
def test_a_missing_or_damaged_file_is_named_with_the_cure(copy: Written, name: str) -> None:
    whole = (copy.directory / name).read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"\xff" * 100, whole[:200] + b"A" * 20 + whole[220:]):
        (copy.directory / name).write_bytes(damaged)
        with pytest.raises(KitDamaged, match="printed sheet"):
            kit.read(copy.directory, copy.words)
    (copy.directory / name).unlink()
    with pytest.raises(KitDamaged, match=name):
        kit.read(copy.directory, copy.words)


def test_the_certificate_of_another_site_is_noticed(copy: Written, other_site: Site) -> None:
    (copy.directory / "recovery.pem").write_bytes((other_site.directory / "recovery.pem").read_bytes())
    with pytest.raises(KitDamaged, match=r"recovery.pem is not the one"):
        kit.read(copy.directory, copy.words)


def test_the_script_has_at_most_sixty_lines(written: Written) -> None:
    assert len((written.directory / "open-by-hand.sh").read_text().splitlines()) <= 60
