"""The metadata of an instance in the DICOM JSON Model (PS3.18 section 10.4.1.1.2 and Annex F), from its bytes or from the head of its pack.

Long values and Pixel Data are named by BulkDataURI and not read. Plain values are converted here; sequences, other text than ASCII and
what is not as it should be go through pydicom, and what it cannot decode is left out, element by element.
"""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.filereader import read_dataset

from edge.dataset.source import BytesSource, Source, elements
from edge.dataset.vr import WORDS, turned, vr_of
from edge.dataset.walk import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, PIXEL_DATA, Element, Malformed, inflate
from edge.model import Json
from edge.web.faults import NotFound
from edge.web.values import simple

BULK_MIN_BYTES = 1024
"""Values over this are named by a BulkDataURI."""
KEPT_MAX_BYTES = 16 << 20
"""The most of one instance that is decoded; sequences that do not fit are left out."""
INFLATED_MAX_BYTES = 64 << 20

BULK_VRS = frozenset({"DS", "FL", "FD", "IS", "LT", "OB", "OD", "OF", "OL", "OV", "OW", "SL", "SS", "ST", "SV", "UC"}) | frozenset(
    {"UL", "UN", "US", "UT", "UV"}
)
"""PS3.18 section F.2.2: the value representations whose value may be a BulkDataURI."""
UNDECODABLE = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    IndexError,
    NotImplementedError,
    OverflowError,
    EOFError,
    RecursionError,
    struct.error,
    BytesLengthException,
)
"""What pydicom raises for values that break their value representation."""

_PIXELS = {0x7FE00008: "OF", 0x7FE00009: "OD", PIXEL_DATA: "OW"}
_CHARACTER_SET = "00080005"
_PADDING = 0xFFFCFFFC


def plain(source: Source, transfer_syntax: str) -> tuple[Source, str]:
    """A deflated dataset inflated in memory (PS3.5 section A.5), within INFLATED_MAX_BYTES; any other as it is."""
    if transfer_syntax != DEFLATED_LE:
        return source, transfer_syntax
    if source.length > INFLATED_MAX_BYTES or source.holes:
        return BytesSource(b""), EXPLICIT_LE
    return BytesSource(inflate(source.read(0, source.length), INFLATED_MAX_BYTES)), EXPLICIT_LE


def metadata(source: Source, transfer_syntax: str, bulk: str) -> Json:
    """The attributes of an instance. `bulk` is the address of its bulk data; what stands behind it names the element (`find_bulk`).

    Never raises for what a device may have written: from the first byte that cannot be read, elements are left out.
    """
    kept = bytearray()
    found: Json = {}
    try:
        source, transfer_syntax = plain(source, transfer_syntax)
        for element in elements(source, transfer_syntax):
            if element.tag & 0xFFFF == 0 or element.tag == _PADDING:
                continue
            vr, length = _vr(element), element.end - element.value
            if element.tag in _PIXELS or (vr in BULK_VRS and length > BULK_MIN_BYTES):
                found[f"{element.tag:08X}"] = {"vr": vr, "BulkDataURI": f"{bulk}/{element.tag:08X}"}
            elif element.value not in source.holes and len(kept) + element.end - element.offset <= KEPT_MAX_BYTES:
                whole = bytes(source.read(element.offset, element.end - element.offset))
                easy = simple(vr, whole[element.value - element.offset :], transfer_syntax == EXPLICIT_BE)
                if easy is not None:
                    found[f"{element.tag:08X}"] = easy
                if easy is None or _gives_meaning(element.tag):
                    kept += whole
    except Malformed:
        pass  # the catalogue carries the fault; what came before it is shown
    found.update(_decoded(bytes(kept), transfer_syntax, bulk))
    if _CHARACTER_SET in found:
        found[_CHARACTER_SET] = {"vr": "CS", "Value": ["ISO_IR 192"]}  # PS3.18 section F.2: JSON is UTF-8
    return dict(sorted(found.items()))


def find_bulk(source: Source, transfer_syntax: str, path: str) -> tuple[int, int] | bytes:
    """The value that a path names, as (offset, length) in a dataset that is not deflated and in little endian words, else its bytes.

    Raises NotFound when there is no such value, or it lies in the archive only.
    """
    steps = path.split("/")
    tag = int(steps[0], 16)
    source, plain_syntax = plain(source, transfer_syntax)
    for element in elements(source, plain_syntax):
        if element.tag != tag:
            continue
        if element.value in source.holes:
            break
        if len(steps) > 1:
            return _nested(bytes(source.read(element.offset, element.end - element.offset)), plain_syntax, steps)
        swapped = WORDS.get(_vr(element), 1) if plain_syntax == EXPLICIT_BE else 1
        if transfer_syntax != DEFLATED_LE and swapped == 1:
            return element.value, element.end - element.value
        return turned(bytes(source.read(element.value, element.end - element.value)), swapped)
    raise NotFound("This instance has no such value.")


def _vr(element: Element) -> str:
    if element.tag in _PIXELS and element.vr not in {"OB", "OW"}:
        return _PIXELS[element.tag]
    return element.vr or vr_of(element.tag)


def _gives_meaning(tag: int) -> bool:
    """Specific Character Set and private creators: what others are decoded by."""
    return tag == 0x00080005 or (tag >> 16 & 1 == 1 and tag & 0xFFFF <= 0xFF)


def _decoded(data: bytes, transfer_syntax: str, bulk: str) -> Json:
    try:
        dataset = read_dataset(BytesIO(data), transfer_syntax == IMPLICIT_LE, transfer_syntax != EXPLICIT_BE)
    except UNDECODABLE:
        return {}
    return _json(dataset, bulk)


def _json(dataset: Dataset, bulk: str) -> Json:
    found: Json = {}
    for tag in sorted(dataset.keys()):
        key = f"{int(tag):08X}"
        try:
            found[key] = _element(dataset[tag], f"{bulk}/{key}")
        except UNDECODABLE:
            continue
    return found


def _element(element: DataElement, bulk: str) -> dict[str, Any]:
    if element.VR == "SQ":
        items = [_json(item, f"{bulk}/{place}") for place, item in enumerate(element.value, start=1)]
        return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
    if element.VR in BULK_VRS and _length(element) > BULK_MIN_BYTES:
        return {"vr": element.VR, "BulkDataURI": bulk}
    converted: dict[str, Any] = element.to_json_dict(None, 0)
    return converted


def _length(element: DataElement) -> int:
    """About how long a value is, in bytes; values of many numbers count by their number."""
    value = element.value
    return len(value) if isinstance(value, bytes | str) else 4 * len(value) if isinstance(value, list) or element.VM > 1 else 0


def _nested(data: bytes, transfer_syntax: str, steps: list[str]) -> bytes:
    try:
        dataset = read_dataset(BytesIO(data), transfer_syntax == IMPLICIT_LE, transfer_syntax != EXPLICIT_BE)
        for tag, place in zip(steps[:-1:2], steps[1::2], strict=True):
            dataset = dataset[int(tag, 16)].value[int(place) - 1]
        raw = dataset.get_item(int(steps[-1], 16))
        value = raw.value
    except UNDECODABLE as fault:
        raise NotFound("This instance has no such value.") from fault
    if not isinstance(value, bytes):
        raise NotFound("This value can be had with the instance only.")
    return turned(value, WORDS.get(str(raw.VR), 1) if transfer_syntax == EXPLICIT_BE else 1)
