"""The printed sheet, as another program reads it: every line, and the QR code, type the key back in."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pypdfium2
import pytest
import zxingcpp
from PIL import Image, ImageDraw

from cloudsync.seal import paper, sheet

SCALAR = bytes(range(48))
SITE = "k7q2abcdef"
LINES = paper.to_lines(SCALAR, SITE)
SHEET = sheet.Sheet(SITE, "folder:/media/<usb> & more", "2026-01-01T00:00:00Z", "ab" * 32, LINES)


@pytest.fixture(scope="module")
def page() -> pypdfium2.PdfPage:
    document = pypdfium2.PdfDocument(sheet.as_pdf(SHEET))
    assert len(document) == 1
    return document[0]


def text_of(page: pypdfium2.PdfPage) -> str:
    return str(page.get_textpage().get_text_range())


def test_a_pdf_reader_finds_all_that_is_needed_on_one_page(page: pypdfium2.PdfPage) -> None:
    text = text_of(page)
    assert (round(page.get_width()), round(page.get_height())) == (595, 842)
    for needed in (SITE, SHEET.archive, SHEET.made, SHEET.signing_sha256, *LINES, "sha256sum -c sums", "openssl cms -decrypt"):
        assert needed in text
    assert r"printf '\060\076\002\001\001\004\060'; echo LETTERS=== | base32 -d" in text
    left, bottom, right, top = page.get_bbox()
    for index in range(page.get_textpage().count_chars()):
        box = page.get_textpage().get_charbox(index)
        assert left + 50 <= box[0] <= box[2] <= right - 50
        assert bottom + 36 <= box[1] <= box[3] <= top


def test_the_lines_that_a_pdf_reader_finds_are_the_key(page: pypdfium2.PdfPage) -> None:
    lines = re.findall(r"\b(?:[A-Z2-7]{4} ){2}[A-Z2-7]{4}\b", text_of(page))
    assert paper.from_lines(lines, SITE) == SCALAR


def scanned(image: Image.Image) -> str:
    (found,) = zxingcpp.read_barcodes(image)
    assert found.format == zxingcpp.BarcodeFormat.QRCode
    return str(found.text)


def test_the_qr_code_of_the_pdf_types_the_eight_lines(page: pypdfium2.PdfPage) -> None:
    typed = scanned(page.render(scale=3, grayscale=True).to_pil())
    assert typed == "".join(f"{line}\n" for line in LINES)
    assert paper.from_lines(typed.splitlines(), SITE) == SCALAR


def test_the_qr_code_of_the_html_page_types_the_same() -> None:
    page = sheet.as_html(SHEET)
    side = int(re.findall(r'<svg viewBox="0 0 (\d+) \1"', page)[0])
    image = Image.new("L", (side * 4, side * 4), 255)
    draw = ImageDraw.Draw(image)
    for left, top, width in re.findall(r"M(\d+) (\d+)h(\d+)v1", page):
        x, y = int(left) * 4, int(top) * 4
        draw.rectangle((x, y, x + int(width) * 4 - 1, y + 3), fill=0)
    assert scanned(image) == "".join(f"{line}\n" for line in LINES)


@pytest.mark.parametrize(
    ("archive", "shown"),
    [
        ("folder:/mnt/" + "a" * 300, "a" * 50),
        ("folder:/mnt/clínica", "folder:/mnt/clínica"),
        ("folder:/mnt/诊所", r"folder:/mnt/\u8bca\u6240"),
    ],
)
def test_any_archive_address_stays_readable_and_on_the_page(archive: str, shown: str) -> None:
    document = pypdfium2.PdfDocument(io.BytesIO(sheet.as_pdf(replace(SHEET, archive=archive))))
    assert len(document) == 1
    text = text_of(document[0])
    assert shown in text
    assert "cat PLAIN-000001" in text


def test_the_same_sheet_is_the_same_file() -> None:
    assert sheet.as_pdf(SHEET) == sheet.as_pdf(SHEET)
