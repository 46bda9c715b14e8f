"""Text in and out of the bytes of a dataset, by Specific Character Set (PS3.5 section 6.1, PS3.3 section C.12.1.1.2).

Terms and escape sequences are pydicom's. Its decoder warns about each fault and its encoder forgets the escape sequence of
ISO 2022 IR 58, so they are not used.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from pydicom.charset import CODES_TO_ENCODINGS, ENCODINGS_TO_CODES, python_encoding

_TABLES: dict[str, str] = {term: "ascii" if codec == "iso8859" else codec for term, codec in python_encoding.items()}
_ESCAPES: dict[bytes, str] = {code: "latin-1" if codec == "iso8859" else codec for code, codec in CODES_TO_ENCODINGS.items()}
_STRETCH = re.compile(rb"(?=\x1b)")
_NAME_DELIMITER = re.compile(rb"(?=[\^=\\])")
_TEXT_DELIMITER = re.compile(rb"(?=[\\\r\n\t\f])")
_JAPANESE = ("iso2022_jp", "iso2022_jp_2")
_SEVERAL_BYTES = (*_JAPANESE, "euc_kr", "iso_ir_58")
UTF_8 = "ISO_IR 192"


def is_known(terms: str) -> bool:
    """Whether each of these, parted by backslashes, is a defined term of Specific Character Set."""
    return all(term in _TABLES for term in terms.split("\\"))


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """The terms of Specific Character Set (0008,0005); none means the default repertoire, ISO 646. Unknown terms count as that."""

    terms: tuple[str, ...] = ()

    @property
    def _codecs(self) -> tuple[str, ...]:
        return tuple(_TABLES.get(term, "ascii") for term in self.terms or ("",))

    def decode(self, data: bytes, vr: str = "PN") -> str:
        """Text of the values of an element; what cannot be read becomes U+FFFD, or, in the default repertoire, Latin-1, which most
        senders mean.
        """
        first = self._codecs[0]
        first = "latin-1" if first == "ascii" else first
        if b"\x1b" not in data:
            return data.decode(first, "replace")
        delimiter = _NAME_DELIMITER if vr == "PN" else _TEXT_DELIMITER
        return "".join(_decode_stretch(stretch, first, delimiter) for stretch in _STRETCH.split(data))

    def encode(self, text: str) -> bytes | None:
        """Bytes of one value (of one component of a person name), or None where these character sets cannot express it."""
        codecs = self._codecs
        if _can(text, codecs[0]):
            return text.encode(codecs[0])
        return _encode_extended(text, codecs) if len(codecs) > 1 else None


def _decode_stretch(stretch: bytes, first: str, delimiter: re.Pattern[bytes]) -> str:
    """What follows an escape sequence is in the character set that it names, up to a delimiter (PS3.5 section 6.1.2.5.3)."""
    escape = next((code for code in _ESCAPES if stretch.startswith(code)), b"")
    codec = _ESCAPES.get(escape, first)
    if codec in _JAPANESE:
        return stretch.decode(codec, "replace")
    body = stretch[len(escape) :]
    if codec in _SEVERAL_BYTES:
        return body.decode(codec, "replace")
    head, *tail = delimiter.split(body, 1)
    return head.decode(codec, "replace") + "".join(rest.decode(first, "replace") for rest in tail)


def _encode_extended(text: str, codecs: tuple[str, ...]) -> bytes | None:
    """Each stretch in the first character set that has it, after its escape sequence (PS3.5 section 6.1.2.5)."""
    chosen = []
    current = codecs[0]
    for character in text:
        codec = next((codec for codec in (current, *codecs) if _can(character, codec)), None)
        if codec is None:
            return None
        chosen.append((codec, character))
        current = codecs[0] if codec in _JAPANESE else codec
    pieces = []
    current = codecs[0]
    for codec, group in itertools.groupby(chosen, key=lambda pair: pair[0]):
        stretch = "".join(character for _, character in group)
        # Python's Japanese codecs write their own escape sequence, and return to ASCII at the end.
        pieces.append(
            stretch.encode(codec) if codec in (*_JAPANESE, current) else ENCODINGS_TO_CODES.get(codec, b"") + stretch.encode(codec)
        )
        current = current if codec in _JAPANESE else codec
    return b"".join(pieces)


def _can(text: str, codec: str) -> bool:
    try:
        encoded = text.encode(codec)
    except UnicodeEncodeError:
        return False
    if codec in _JAPANESE:
        # They also speak ASCII, which is not what their escape sequence stands for.
        return not text.isascii()
    # JIS X 0201 has one byte for each character; Python's shift_jis would go on with kanji.
    return codec != "shift_jis" or len(encoded) == len(text)
