"""Value representations (PS3.5 section 6.2, table 7.1-1), and which one the dictionary gives to an attribute (PS3.6)."""

from __future__ import annotations

from functools import lru_cache

from pydicom.datadict import dictionary_VR

LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
"""With a length of four bytes in Explicit VR."""
SHORT = frozenset({"AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM"}) | frozenset(
    {"UI", "UL", "US"}
)
"""With a length of two bytes in Explicit VR."""
OF_CHARACTER_SET = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""Their text is in the Specific Character Set (0008,0005); other text is in the default repertoire."""
TEXT = OF_CHARACTER_SET | frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"})
ONE_VALUE = frozenset({"LT", "ST", "UR", "UT"})
"""A backslash in their text parts nothing."""
BYTES = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
NUMBERS = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
"""The binary numbers, with the letter that the module struct has for each."""
WORDS = {"AT": 2, "OW": 2, "US": 2, "SS": 2, "OF": 4, "OL": 4, "FL": 4, "SL": 4, "UL": 4, "OD": 8, "OV": 8, "FD": 8, "SV": 8, "UV": 8}
"""Bytes of the words that big endian turns round; of what is not here, one."""


def turned(data: bytes, width: int) -> bytes:
    """Words of `width` bytes in the other byte order; what is left of a last word stays."""
    if width == 1:
        return data
    whole = len(data) // width * width
    out = bytearray(data)
    for place in range(width):
        out[place:whole:width] = data[width - 1 - place : whole : width]
    return bytes(out)


@lru_cache(maxsize=4096)
def dictionary_vr(tag: int) -> str:
    """As PS3.6 has it, `US or SS` for example; LO for a private creator (PS3.5 section 7.8.1), UN for what nobody knows."""
    if tag >> 16 & 1:
        return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else "UN"
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return "UN"


def vr_of(tag: int, signed: bool = False) -> str:
    """The same as one value representation: OW where that is one of several, and US or SS as Pixel Representation (0028,0103) says."""
    vr = dictionary_vr(tag)
    if vr == "US or SS":
        return "SS" if signed else "US"
    return "OW" if vr.endswith("OW") else vr[:2]
