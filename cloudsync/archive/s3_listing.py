"""A page of a listing, as S3 writes it (ListObjectsV2, in XML)."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote_plus
from xml.parsers import expat

_ROOT = "ListBucketResult"


@dataclass(slots=True)
class Page:
    """Names and sizes in bytes; `token` asks for the next page, and is empty on the last one."""

    entries: list[tuple[str, int]] = field(default_factory=list)
    token: str = ""
    truncated: bool = False


class NoListing(ValueError):
    """It is something else, or cut short."""


def read(body: bytes) -> Page:
    """Raises NoListing. What a listing of another version leaves out is not guessed at: one that goes on says how."""
    reading = _Reading()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reading.begin
    parser.EndElementHandler = reading.end
    parser.CharacterDataHandler = reading.text
    parser.StartDoctypeDeclHandler = reading.doctype
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError) as fault:
        raise NoListing from fault
    if reading.page.truncated != bool(reading.page.token):
        raise NoListing
    return reading.page


class _Reading:
    def __init__(self) -> None:
        self.page = Page()
        self._path: list[str] = []
        self._text = self._name = self._size = ""

    def doctype(self, *_: object) -> None:
        raise NoListing

    def begin(self, name: str, _attributes: dict[str, str]) -> None:
        if not self._path and name != _ROOT:
            raise NoListing
        self._path.append(name)
        self._text = ""

    def text(self, data: str) -> None:
        self._text += data

    def end(self, _name: str) -> None:
        match self._path:
            case [_, "Contents", "Key"]:
                self._name = unquote_plus(self._text)
            case [_, "Contents", "Size"]:
                self._size = self._text
            case [_, "Contents"]:
                self.page.entries.append((self._name, int(self._size)))
                self._name = self._size = ""
            case [_, "NextContinuationToken"]:
                self.page.token = self._text
            case [_, "IsTruncated"]:
                self.page.truncated = self._text == "true"
            case _:
                pass
        self._path.pop()
