"""Text in and out of the bytes of a dataset, by Specific Character Set (PS3.5 section 6.1, PS3.3 section C.12.1.1.2).

Terms, escape sequences and the encoder of code extensions are pydicom's; its decoder warns about each fault, so it is not used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydicom.charset import CODES_TO_ENCODINGS, encode_string, python_encoding

_TABLES: dict[str, str] = {term: "ascii" if codec == "iso8859" else codec for term, codec in python_encoding.items()}
_ESCAPES: dict[bytes, str] = {code: "latin-1" if codec == "iso8859" else codec for code, codec in CODES_TO_ENCODINGS.items()}
_STRETCH = re.compile(rb"(?=\x1b)")
_DELIMITER = re.compile(rb"(?=[\^=\\])")
_JAPANESE = ("iso2022_jp", "iso2022_jp_2")
_SEVERAL_BYTES = (*_JAPANESE, "euc_kr", "iso_ir_58")
UTF_8 = "ISO_IR 192"


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """The terms of Specific Character Set (0008,0005); none means the default repertoire, ISO 646. Unknown terms count as that."""

    terms: tuple[str, ...] = ()

    @property
    def _codecs(self) -> tuple[str, ...]:
        return tuple(_TABLES.get(term, "ascii") for term in self.terms or ("",))

    def decode(self, data: bytes) -> str:
        """Text of one value; what cannot be read becomes U+FFFD, or, in the default repertoire, Latin-1, which most senders mean."""
        first = self._codecs[0]
        first = "latin-1" if first == "ascii" else first
        if b"\x1b" not in data:
            return data.decode(first, "replace")
        return "".join(_decode_stretch(stretch, first) for stretch in _STRETCH.split(data))

    def encode(self, text: str) -> bytes | None:
        """Bytes of one value (of one component of a person name), or None where these character sets cannot express it."""
        codecs = self._codecs
        if _can(text, codecs[0]):
            return text.encode(codecs[0])
        if len(codecs) == 1 or not all(any(_can(character, codec) for codec in codecs) for character in text):
            return None
        encoded: bytes = encode_string(text, ["iso8859" if codec == "ascii" else codec for codec in codecs])
        return encoded


def _decode_stretch(stretch: bytes, first: str) -> str:
    """What follows an escape sequence is in the character set that it names, up to a delimiter (PS3.5 section 6.1.2.5.3)."""
    escape = next((code for code in _ESCAPES if stretch.startswith(code)), b"")
    codec = _ESCAPES.get(escape, first)
    if codec in _JAPANESE:
        return stretch.decode(codec, "replace")
    body = stretch[len(escape) :]
    if codec in _SEVERAL_BYTES:
        return body.decode(codec, "replace")
    head, *tail = _DELIMITER.split(body, 1)
    return head.decode(codec, "replace") + "".join(rest.decode(first, "replace") for rest in tail)


def _can(text: str, codec: str) -> bool:
    try:
        encoded = text.encode(codec)
    except UnicodeEncodeError:
        return False
    # JIS X 0201 has one byte for each character; Python's shift_jis would go on with kanji.
    return (
        codec not in {"shift_jis", *_JAPANESE}
        or (codec == "shift_jis" and len(encoded) == len(text))
        or (codec in _JAPANESE and len(text) == 1)
    )
