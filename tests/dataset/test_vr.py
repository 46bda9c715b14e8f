"""Value representations: every one of PS3.5, and one for every attribute."""

from __future__ import annotations

import pytest
from pydicom.datadict import DicomDictionary
from pydicom.valuerep import BUFFERABLE_VRS, STANDARD_VR

from edge.dataset.vr import BYTES, LONG, NUMBERS, OF_CHARACTER_SET, ONE_VALUE, SHORT, TEXT, WORDS, vr_of


def test_each_value_representation_has_one_form_of_length_and_one_kind_of_value() -> None:
    every = {str(vr.value) for vr in STANDARD_VR}
    assert sorted([*LONG, *SHORT]) == sorted(every)
    assert sorted([*TEXT, *BYTES, *NUMBERS, "AT", "SQ"]) == sorted(every)
    assert OF_CHARACTER_SET | ONE_VALUE <= TEXT
    assert set(WORDS) <= {*NUMBERS, *(str(vr.value) for vr in BUFFERABLE_VRS), "AT"}


def test_every_attribute_of_the_dictionary_has_one_value_representation() -> None:
    delimiters = {tag for tag in DicomDictionary if tag >> 16 == 0xFFFE}
    assert {vr_of(tag) for tag in DicomDictionary.keys() - delimiters} <= LONG | SHORT


@pytest.mark.parametrize(
    ("tag", "signed", "vr"),
    [
        (0x00280106, False, "US"),
        (0x00280106, True, "SS"),
        (0x7FE00010, False, "OW"),
        (0x00283006, False, "OW"),
        (0x00091001, False, "UN"),
        (0x00090010, False, "LO"),
        (0x60023000, False, "OW"),
        (0x00080002, False, "UN"),
    ],
    ids=["may be SS", "is SS", "OB or OW", "US or OW", "private", "creator", "repeating", "unknown"],
)
def test_what_the_dictionary_leaves_open_is_decided(tag: int, signed: bool, vr: str) -> None:
    assert vr_of(tag, signed) == vr
