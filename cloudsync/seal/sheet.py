"""The printed sheet of a recovery kit: one page as HTML and as PDF. Both hold the key in clear, because paper lies in a safe.

The QR code holds the eight lines of the key, each with its line end: a scanner that types like a keyboard types them into
`outpost kit test`.
"""

from __future__ import annotations

import html
import io
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reportlab.pdfgen.canvas import Canvas

# The library that draws is imported when a sheet is made: nothing else of Outpost waits for it.

_MM = 72 / 25.4
_LEFT, _RIGHT, _TOP = 18 * _MM, 192 * _MM, 276 * _MM
_QR_MM = 54
_QUIET = 4
"""Light modules around the code (ISO/IEC 18004)."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """What stands on the page."""

    site_id: str
    archive: str
    made: str
    """UTC."""
    signing_sha256: str
    lines: Sequence[str] = field(repr=False)
    """Eight, of seal.paper."""


def as_html(sheet: Sheet) -> str:
    """The page for a browser: no script, nothing from elsewhere."""
    rows = "".join(f"<tr><th>{number}</th><td>{line}</td></tr>\n" for number, line in enumerate(sheet.lines, 1))
    fields = {name: html.escape(str(value)) for name, value in asdict(sheet).items()}
    return _template("html").substitute(fields, rows=rows, qr=_svg(_modules(sheet.lines)))


def as_pdf(sheet: Sheet) -> bytes:
    """The page as PDF, A4, in the fonts that every reader has."""
    from reportlab.lib.pagesizes import A4  # noqa: PLC0415
    from reportlab.pdfgen.canvas import Canvas  # noqa: PLC0415

    target = io.BytesIO()
    canvas = Canvas(target, pagesize=A4, invariant=1)
    canvas.setTitle(f"Recovery sheet of Outpost site {sheet.site_id}")
    page = _Page(canvas)
    page.line("Recovery sheet", "Helvetica-Bold", 18)
    page.prose(
        "Whoever holds this sheet can read every study of this site. Keep it in a safe, away from the machine. Without it and without the"
        " recovery kit nobody can open the archive, not even the makers of Outpost. Delete the file once it is printed."
    )
    for name, value in (
        ("Site", sheet.site_id),
        ("Archive", sheet.archive),
        ("Made", sheet.made),
        ("Signing certificate, SHA-256", sheet.signing_sha256),
    ):
        page.field(name, value)
    page.line("Recovery key", "Helvetica-Bold", 12)
    page.key(sheet.lines, _modules(sheet.lines))
    page.prose(
        "EC P-384 private scalar in base32 (letters A to Z, digits 2 to 7; the last letter of each line is a check letter). The eighth line"
        " is a check of all. When the key is typed in, case and spaces do not count. The QR code holds the eight lines."
    )
    for line in _template("txt").substitute(site_id=sheet.site_id).splitlines():
        if line.startswith("# "):
            page.line(line[2:], "Helvetica-Bold", 12)
        elif line.startswith("    "):
            page.line(line[4:], "Courier", 8.5)
        elif line:
            page.prose(line)
    canvas.showPage()
    canvas.save()
    return target.getvalue()


class _Page:
    """Goes down the page."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas
        self._y = _TOP

    def line(self, text: str, font: str, size: float) -> None:
        self._y -= size * (1.9 if font.endswith("Bold") else 1.3)
        self._canvas.setFont(font, size)
        self._canvas.drawString(_LEFT, self._y, text)

    def prose(self, text: str) -> None:
        from reportlab.lib.utils import simpleSplit  # noqa: PLC0415

        self._y -= 3
        for line in simpleSplit(text, "Helvetica", 10, _RIGHT - _LEFT):
            self.line(line, "Helvetica", 10)

    def field(self, name: str, value: str) -> None:
        self._y -= 4
        # The fonts that every reader has know Latin-1; what they lack is written so that it stays unambiguous.
        known = value.encode("latin-1", "backslashreplace").decode("latin-1")
        for number, piece in enumerate(textwrap.wrap(known, 64, drop_whitespace=False) or [""]):
            self._y -= 12
            if number == 0:
                self._canvas.setFont("Helvetica", 9)
                self._canvas.drawString(_LEFT, self._y, name)
            self._canvas.setFont("Courier", 9)
            self._canvas.drawString(_LEFT + 50 * _MM, self._y, piece)

    def key(self, lines: Sequence[str], modules: Sequence[Sequence[bool]]) -> None:
        """The lines, and the QR code beside them."""
        top = self._y - 2 * _MM
        height = _QR_MM * _MM + 4 * _MM
        self._canvas.rect(_LEFT, top - height, _RIGHT - _LEFT, height)
        for number, line in enumerate(lines, 1):
            y = top - height * number / (len(lines) + 0.6)
            self._canvas.setFont("Helvetica", 9)
            self._canvas.drawString(_LEFT + 4 * _MM, y, str(number))
            self._canvas.setFont("Courier-Bold", 19)
            self._canvas.drawString(_LEFT + 11 * _MM, y, line)
        size = _QR_MM * _MM / (len(modules) + 2 * _QUIET)
        left, upper = _RIGHT - _QR_MM * _MM - 2 * _MM + _QUIET * size, top - 2 * _MM - _QUIET * size
        for row, dark in enumerate(modules):
            for start, length in _runs(dark):
                # A hair higher than a module, so that no reader shows a light seam between two rows.
                self._canvas.rect(left + start * size, upper - (row + 1) * size, length * size, size * 1.02, stroke=0, fill=1)
        self._y = top - height - 2 * _MM


def _modules(lines: Sequence[str]) -> Sequence[Sequence[bool]]:
    """The QR code, error correction level M: rows from the top, dark is True."""
    from reportlab.graphics.barcode.qrencoder import QR8bitByte, QRCode, QRErrorCorrectLevel  # noqa: PLC0415

    code = QRCode(None, QRErrorCorrectLevel.M)
    code.addData(QR8bitByte("".join(f"{line}\n" for line in lines)))
    code.make()
    count = code.getModuleCount()
    return [[bool(code.isDark(row, column)) for column in range(count)] for row in range(count)]


def _svg(modules: Sequence[Sequence[bool]]) -> str:
    side = len(modules) + 2 * _QUIET
    path = "".join(
        f"M{_QUIET + start} {_QUIET + row}h{length}v1h-{length}z" for row, dark in enumerate(modules) for start, length in _runs(dark)
    )
    return f'<svg viewBox="0 0 {side} {side}" shape-rendering="crispEdges" role="img" aria-label="The eight lines"><path d="{path}"/></svg>'


def _runs(dark: Sequence[bool]) -> list[tuple[int, int]]:
    """Start and length of each dark run of a row."""
    runs, start = [], None
    for column, each in enumerate((*dark, False)):
        if each and start is None:
            start = column
        elif not each and start is not None:
            runs.append((start, column - start))
            start = None
    return runs


def _template(kind: str) -> Template:
    return Template(resources.files(__package__).joinpath(f"sheet.{kind}").read_text("utf-8"))
