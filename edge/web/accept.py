"""Content negotiation (PS3.18 section 8.7): a pure function from the Accept header to the forms that the caller takes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge.dataset.walk import EXPLICIT_LE, IMPLICIT_LE
from edge.web.faults import BadRequest

DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
OCTETS = "application/octet-stream"
MULTIPART = "multipart/related"

_PARAMETER = re.compile(r'\s*;\s*([!#$%&\'*+.^_`|~\w-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;,"]+)', re.ASCII)
_TYPE = re.compile(r"\s*([\w!#$&^.+*-]+/[\w!#$&^.+*-]+)", re.ASCII)
_HEADER_MAX = 4096
_CONVERTIBLE = frozenset({IMPLICIT_LE, EXPLICIT_LE})
"""Stored so, an instance can be sent in Explicit VR Little Endian."""


@dataclass(frozen=True, slots=True)
class Form:
    """One form that a caller takes: a media type, alone or as the type of the parts of multipart/related."""

    media: str
    """`*/*` for any."""
    multipart: bool | None
    """None where the caller leaves it to us."""
    syntax: str | None
    """A transfer syntax UID, `*` for the stored one, None where the caller names none."""
    quality: float


def parse(header: str) -> list[Form]:
    """The forms of an Accept header, the most wanted first; an empty header takes anything. Raises BadRequest for what cannot be read."""
    if len(header) > _HEADER_MAX:
        raise BadRequest("The Accept header is too long.")
    if not header.strip():
        return [Form("*/*", None, None, 1.0)]
    forms: list[Form] = []
    position = 0
    while position < len(header):
        found = _TYPE.match(header, position)
        if found is None:
            raise BadRequest("The Accept header cannot be read.")
        position = found.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, position):
            parameters[parameter[1].lower()] = _unquoted(parameter[2])
            position = parameter.end()
        rest = header[position:].lstrip()
        if rest and not rest.startswith(","):
            raise BadRequest("The Accept header cannot be read.")
        position = len(header) - len(rest) + 1 if rest else len(header)
        forms.append(_form(found[1].lower(), parameters))
    return sorted((form for form in forms if form.quality > 0), key=lambda form: -form.quality)


def choose(forms: list[Form], media: str, stored: str, single: bool) -> tuple[bool, str] | None:
    """How something that is stored in a transfer syntax is sent as `media`: (multipart, transfer syntax), or None when it cannot be.

    A caller that names no transfer syntax with the media type takes Explicit VR Little Endian (PS3.18 section 8.7.3.5.2); one that takes
    any media type takes it as it is stored. `single` says that a single part is possible.
    """
    for form in forms:
        if form.media not in {media, "*/*", media.partition("/")[0] + "/*"}:
            continue
        multipart = form.multipart if form.multipart is not None else True
        if not multipart and not single:
            continue
        if form.syntax in {"*", stored} or (form.syntax is None and form.media == "*/*"):
            return multipart, stored
        if form.syntax in {None, EXPLICIT_LE} and stored in _CONVERTIBLE:
            return multipart, EXPLICIT_LE
    return None


def takes(forms: list[Form], *media: str) -> bool:
    """Whether a single part of one of these media types is taken."""
    return any(form.media in {*media, "*/*", "application/*"} and form.multipart is not True for form in forms)


def _form(media: str, parameters: dict[str, str]) -> Form:
    try:
        quality = float(parameters.get("q", "1"))
    except ValueError:
        raise BadRequest("A quality value in the Accept header is no number.") from None
    syntax = parameters.get("transfer-syntax")
    if media == "*/*":
        return Form(media, None, syntax, quality)
    if media in {MULTIPART, "multipart/*"}:
        return Form(parameters.get("type", "*/*").lower(), True, syntax, quality)
    return Form(media, False, syntax, quality)


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
