"""The attributes of interest: what the catalogue holds, matches and returns at each level, in the DICOM JSON Model (PS3.18 Annex F)."""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from edge.dataset.charset import CharacterSet
from edge.dataset.vr import OF_CHARACTER_SET, ONE_VALUE
from edge.dataset.walk import (
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    Element,
    Malformed,
    Truncated,
    inflate,
    items,
    walk,
)
from edge.model import Identity, Json, Level, parse_uid

HEAD_CAP = 1 << 20
"""Bytes of a dataset within which attributes of interest are looked for at first; `look` goes on where it does not identify itself."""
VALUE_CAP = 1024
"""Longest value of an attribute of interest, bytes; a longer one is not catalogued."""
SEQUENCE_CAP, ITEMS_CAP = 16 << 10, 16
"""Longest sequence of interest, bytes; a longer one is not catalogued. Of the others, the first so many items."""

SPECIFIC_CHARACTER_SET = 0x00080005
SOP_CLASS, SOP_INSTANCE, STUDY, SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E

INTEREST: dict[int, tuple[str, Level]] = {
    SPECIFIC_CHARACTER_SET: ("CS", Level.STUDY),
    0x00080201: ("SH", Level.STUDY),
    0x00100010: ("PN", Level.PATIENT),
    0x00100020: ("LO", Level.PATIENT),
    0x00100021: ("LO", Level.PATIENT),
    0x00100030: ("DA", Level.PATIENT),
    0x00100032: ("TM", Level.PATIENT),
    0x00100040: ("CS", Level.PATIENT),
    0x00101000: ("LO", Level.PATIENT),
    0x00101001: ("PN", Level.PATIENT),
    0x00102160: ("SH", Level.STUDY),
    0x00102180: ("SH", Level.STUDY),
    0x001021B0: ("LT", Level.STUDY),
    0x00104000: ("LT", Level.PATIENT),
    0x00080020: ("DA", Level.STUDY),
    0x00080030: ("TM", Level.STUDY),
    0x00080050: ("SH", Level.STUDY),
    0x00080080: ("LO", Level.STUDY),
    0x00080090: ("PN", Level.STUDY),
    0x00081030: ("LO", Level.STUDY),
    0x00081060: ("PN", Level.STUDY),
    0x00081080: ("LO", Level.STUDY),
    0x00101010: ("AS", Level.STUDY),
    0x00101020: ("DS", Level.STUDY),
    0x00101030: ("DS", Level.STUDY),
    STUDY: ("UI", Level.STUDY),
    0x00200010: ("SH", Level.STUDY),
    0x00080021: ("DA", Level.SERIES),
    0x00080031: ("TM", Level.SERIES),
    0x00080060: ("CS", Level.SERIES),
    0x00080070: ("LO", Level.SERIES),
    0x00081010: ("SH", Level.SERIES),
    0x0008103E: ("LO", Level.SERIES),
    0x00081040: ("LO", Level.SERIES),
    0x00081050: ("PN", Level.SERIES),
    0x00081070: ("PN", Level.SERIES),
    0x00081090: ("LO", Level.SERIES),
    0x00180015: ("CS", Level.SERIES),
    0x00181030: ("LO", Level.SERIES),
    0x00185100: ("CS", Level.SERIES),
    SERIES: ("UI", Level.SERIES),
    0x00200011: ("IS", Level.SERIES),
    0x00200060: ("CS", Level.SERIES),
    0x00400244: ("DA", Level.SERIES),
    0x00400245: ("TM", Level.SERIES),
    0x00400253: ("SH", Level.SERIES),
    0x00400254: ("LO", Level.SERIES),
    0x00080008: ("CS", Level.IMAGE),
    SOP_CLASS: ("UI", Level.IMAGE),
    SOP_INSTANCE: ("UI", Level.IMAGE),
    0x00080012: ("DA", Level.IMAGE),
    0x00080013: ("TM", Level.IMAGE),
    0x00080022: ("DA", Level.IMAGE),
    0x00080023: ("DA", Level.IMAGE),
    0x0008002A: ("DT", Level.IMAGE),
    0x00080032: ("TM", Level.IMAGE),
    0x00080033: ("TM", Level.IMAGE),
    0x00200012: ("IS", Level.IMAGE),
    0x00200013: ("IS", Level.IMAGE),
    0x00280008: ("IS", Level.IMAGE),
    0x00280010: ("US", Level.IMAGE),
    0x00280011: ("US", Level.IMAGE),
    0x00280100: ("US", Level.IMAGE),
    0x0040A491: ("CS", Level.IMAGE),
    0x0040A493: ("CS", Level.IMAGE),
    0x00420010: ("ST", Level.IMAGE),
    0x00700080: ("CS", Level.IMAGE),
    0x00700081: ("LO", Level.IMAGE),
    0x00700082: ("DA", Level.IMAGE),
    0x00700083: ("TM", Level.IMAGE),
    0x00700084: ("PN", Level.IMAGE),
}
_CODE = {0x00080100: "SH", 0x00080102: "SH", 0x00080104: "LO"}
SEQUENCES: dict[int, tuple[Level, dict[int, str]]] = {
    0x00081032: (Level.STUDY, _CODE),
    0x00081111: (Level.SERIES, {0x00081150: "UI", 0x00081155: "UI"}),
    0x00400275: (
        Level.SERIES,
        {0x00080050: "SH", STUDY: "UI", 0x00321060: "LO", 0x00400007: "LO", 0x00400009: "SH", 0x00401001: "SH"},
    ),
    0x0040A043: (Level.IMAGE, _CODE),
}
"""Sequences of interest, and what of their items: procedure codes, the procedure step, the order, the title of a document."""

_WANTED = frozenset(INTEREST)
_LAST = max(*INTEREST, *SEQUENCES)


@dataclass(frozen=True, slots=True)
class Description:
    """What the catalogue holds of one instance: its attributes of interest at each level, and the first fault that was found."""

    patient: Json
    study: Json
    series: Json
    instance: Json
    fault: str | None
    complete: bool
    """False when the bytes that were given end before the attributes of interest do, and the dataset goes on."""
    reaches: int = 0
    """The dataset is at least so long, if the last element that was looked at does not lie about its length."""
    identity: Identity | None = None
    """SOP class and the three UIDs, if all of them are there; `identify` says what is wrong otherwise."""

    def of_length(self, dataset_length: int) -> Description:
        """The same, once the length of the dataset is known: an element that lies about its own is a fault."""
        if self.fault is None and self.reaches > dataset_length:
            return replace(self, fault=f"the dataset ends {self.reaches - dataset_length} bytes before its last element does")
        return self


def identify(head: bytes | memoryview, transfer_syntax: str) -> Identity | None:
    """SOP class and the three UIDs, from the first HEAD_CAP bytes of a dataset; None when they have not arrived yet.

    Raises Malformed when the dataset has passed the place where they belong, or has none that are UIDs.
    """
    head = head[:HEAD_CAP]
    if transfer_syntax == DEFLATED_LE:
        head, transfer_syntax = inflate(head, HEAD_CAP), EXPLICIT_LE
    found: dict[int, str] = {}
    try:
        for element in walk(head, transfer_syntax):
            if element.tag in (SOP_CLASS, SOP_INSTANCE, STUDY, SERIES) and element.end <= len(head):
                uid = parse_uid(bytes(head[element.value : element.end]).decode("latin-1"))
                if uid is None:
                    raise Malformed(f"({element.tag >> 16:04X},{element.tag & 0xFFFF:04X}) holds no UID")
                found.setdefault(element.tag, uid)
                if len(found) == 4:
                    break
            elif element.tag > SERIES:
                raise Malformed("SOP Class, SOP Instance, Study or Series Instance UID is missing")
    except Truncated:
        return None
    if len(found) < 4:
        return None
    uids = {tag: parse_uid(text) for tag, text in found.items()}
    sop_class, sop_instance, series, study = (uids[tag] for tag in (SOP_CLASS, SOP_INSTANCE, SERIES, STUDY))
    assert sop_class and sop_instance and series and study
    return Identity(sop_class, sop_instance, series, study)


def describe(head: bytes | memoryview, transfer_syntax: str, dataset_length: int | None) -> Description:
    """The attributes of interest in the first HEAD_CAP bytes of a dataset that is `dataset_length` bytes long; None while it is still
    arriving. Never raises: what cannot be read is left out and named in `fault`.
    """
    fault: str | None = None
    complete = True
    reaches = 0
    deflated = False
    raw: dict[int, bytes] = {}
    sequences: list[Element] = []
    head = head[:HEAD_CAP]
    goes_on = dataset_length is None or len(head) < dataset_length
    try:
        if transfer_syntax == DEFLATED_LE:
            head, transfer_syntax = inflate(head, HEAD_CAP), EXPLICIT_LE
            goes_on, deflated = goes_on or len(head) == HEAD_CAP, True
        try:
            for element in walk(head, transfer_syntax):
                if element.tag > _LAST:
                    reaches = 0 if deflated else element.end
                    break
                if element.tag in _WANTED and element.end <= len(head) and element.end - element.value <= VALUE_CAP:
                    raw.setdefault(element.tag, bytes(head[element.value : element.end]))
                elif element.tag in SEQUENCES and element.end <= len(head) and element.end - element.value <= SEQUENCE_CAP:
                    sequences.append(element)
            else:
                complete = not goes_on
        except Truncated as cut:
            complete = not goes_on
            fault = None if goes_on else str(cut)
    except Malformed as broken:
        fault = str(broken)
    big = transfer_syntax == EXPLICIT_BE
    charset = _charset(raw)
    levels: dict[Level, Json] = {level: {} for level in Level}
    for tag, value in raw.items():
        vr, level = INTEREST[tag]
        levels[level][f"{tag:08X}"] = json_element(vr, value, charset, big)
    for element in sequences:
        level, wanted = SEQUENCES[element.tag]
        levels[level][f"{element.tag:08X}"] = _json_sequence(head, element, wanted, transfer_syntax, charset)
    found = Description(
        levels[Level.PATIENT], levels[Level.STUDY], levels[Level.SERIES], levels[Level.IMAGE], fault, complete, reaches, _identity(raw)
    )
    return found if dataset_length is None else found.of_length(dataset_length)


def json_element(vr: str, value: bytes, charset: CharacterSet, big: bool = False) -> dict[str, Any]:
    """One element of a text, UID or US attribute in the DICOM JSON Model. Control characters never reach the result."""
    if vr == "US":
        count = len(value) // 2
        values: list[Any] = list(struct.unpack_from(f"{'>' if big else '<'}{count}H", value))
    elif vr == "PN":
        values = [_person_name(part) for part in charset.decode(value).split("\\")]
    else:
        text = charset.decode(value, vr) if vr in OF_CHARACTER_SET else value.decode("latin-1")
        parts = [text] if vr in ONE_VALUE else text.split("\\")
        values = [_value(vr, _cleaned(part)) for part in parts]
    while values and values[-1] in ("", None, {}):
        values.pop()
    return {"vr": vr, "Value": [value if value != "" else None for value in values]} if values else {"vr": vr}


def _identity(raw: dict[int, bytes]) -> Identity | None:
    """Of the bytes as they are: cleaned text could be the UID of something else."""
    uids = [parse_uid(raw.get(tag, b"").decode("latin-1")) for tag in (SOP_CLASS, SOP_INSTANCE, SERIES, STUDY)]
    sop_class, sop_instance, series, study = uids
    return Identity(sop_class, sop_instance, series, study) if sop_class and sop_instance and series and study else None


def _charset(raw: Mapping[int, bytes]) -> CharacterSet:
    terms = raw.get(SPECIFIC_CHARACTER_SET, b"").decode("latin-1").strip("\0 ")
    return CharacterSet(tuple(term.strip() for term in terms.split("\\")))


def _json_sequence(
    data: bytes | memoryview, sequence: Element, wanted: Mapping[int, str], transfer_syntax: str, charset: CharacterSet
) -> dict[str, Any]:
    """The items as far as they can be read, without what is not of interest; items may have a character set of their own."""
    found: list[Json] = []
    with suppress(Malformed):
        for elements in itertools.islice(items(data, sequence, transfer_syntax), ITEMS_CAP):
            raw = {one.tag: bytes(data[one.value : one.end]) for one in elements if one.end - one.value <= VALUE_CAP}
            own = _charset(raw) if SPECIFIC_CHARACTER_SET in raw else charset
            found.append({f"{tag:08X}": json_element(vr, raw[tag], own) for tag, vr in wanted.items() if tag in raw})
    return {"vr": "SQ", "Value": found} if found else {"vr": "SQ"}


_INTEGER = re.compile(r"[+-]?[0-9]{1,12}")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _value(vr: str, text: str) -> str | int:
    return int(text) if vr == "IS" and _INTEGER.fullmatch(text) else text


def _cleaned(text: str) -> str:
    return (text if text.isprintable() else _CONTROL.sub("", text)).strip(" ")


def _person_name(text: str) -> dict[str, str]:
    groups = zip(("Alphabetic", "Ideographic", "Phonetic"), text.split("="), strict=False)
    return {name: cleaned for name, group in groups if (cleaned := _cleaned(group).rstrip("^ "))}
