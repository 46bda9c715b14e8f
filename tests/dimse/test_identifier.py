"""Identifiers and their character sets against pydicom, hierarchy rules, and what must not be believed."""

from __future__ import annotations

import random
import struct

import pydicom
import pytest
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from edge.dataset.charset import CharacterSet
from edge.dimse.classes import EXPLICIT_LE, IMPLICIT_LE, PATIENT_ROOT, STUDY_ROOT
from edge.dimse.hierarchy import find_query, retrieve_query
from edge.dimse.identifier import BadIdentifier, decode, encode, text_of
from edge.model import UID, Json, Level

SYNTAXES = pytest.mark.parametrize("syntax", [IMPLICIT_LE, EXPLICIT_LE], ids=["implicit", "explicit"])

NAMES = {
    (): "CompressedSamples^CT1",
    ("ISO_IR 100",): "Äneas^Rüdiger",
    ("ISO_IR 192",): "Wang^XiaoDong=王^小東",
    ("GB18030",): "Wang^XiaoDong=王^小东",
    ("", "ISO 2022 IR 87"): "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ("ISO 2022 IR 13", "ISO 2022 IR 87"): "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    ("", "ISO 2022 IR 149"): "Hong^Gildong=洪^吉洞=홍^길동",
}


def written(dataset: pydicom.Dataset, syntax: UID) -> bytes:
    file = DicomBytesIO()
    file.is_implicit_VR, file.is_little_endian = syntax == IMPLICIT_LE, True
    write_dataset(file, dataset)
    return file.getvalue()


def read(data: bytes, syntax: UID) -> pydicom.Dataset:
    dataset = pydicom.filereader.read_dataset(DicomBytesIO(data), syntax == IMPLICIT_LE, True)
    dataset.decode()
    return dataset


def everything() -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    dataset.StudyDate, dataset.StudyTime = "20040119-20050101", "120000"
    dataset.ModalitiesInStudy = ["CT", "MR"]
    dataset.StudyInstanceUID = ["1.2.3", "1.2.4"]
    dataset.NumberOfStudyRelatedInstances, dataset.PatientSize = 12, 1.5
    dataset.Rows, dataset.SmallestImagePixelValue = 512, None
    dataset.ExaminedBodyThickness, dataset.DimensionIndexPointer = 2.25, 0x00100010
    dataset.ImageComments = "one\\line"
    dataset.PatientName = ""
    dataset.ICCProfile = b"\0\1"
    item, inner = pydicom.Dataset(), pydicom.Dataset()
    inner.CodeValue, inner.CodeMeaning = "1", "a meaning"
    item.ScheduledProtocolCodeSequence = [inner, inner]
    item.Modality = "CT"
    dataset.ScheduledProcedureStepSequence = [item]
    return dataset


@SYNTAXES
def test_every_kind_of_value_is_read_as_pydicom_means_it(syntax: UID) -> None:
    found = decode(written(everything(), syntax), syntax)
    assert text_of(found["00080020"]) == "20040119-20050101"
    assert found["00080061"] == {"vr": "CS", "Value": ["CT", "MR"]}
    assert text_of(found["0020000D"]) == "1.2.3\\1.2.4"
    assert text_of(found["00201208"]) == "12"
    assert found["00280010"] == {"vr": "US", "Value": [512]}
    assert found["00280106"] == {"vr": "US"}
    assert found["00189073" if "00189073" in found else "00109431"]["Value"] == [2.25]
    assert found["00209165"] == {"vr": "AT", "Value": ["00100010"]}
    assert found["00204000"] == {"vr": "LT", "Value": ["one\\line"]}
    assert found["00100010"] == {"vr": "PN"}
    assert found["00282000"]["InlineBinary"] == "AAE="
    (item,) = found["00400100"]["Value"]
    assert [inner["00080104"]["Value"] for inner in item["00400008"]["Value"]] == [["a meaning"]] * 2


@SYNTAXES
def test_what_we_write_pydicom_reads_as_the_same(syntax: UID) -> None:
    dataset = everything()
    found = read(encode(decode(written(dataset, syntax), syntax), syntax, CharacterSet()), syntax)
    assert found == dataset


@SYNTAXES
@pytest.mark.parametrize("terms", NAMES, ids=lambda terms: "+".join(terms) or "default")
def test_names_in_every_character_set_are_read_and_written_as_pydicom_does(terms: tuple[str, ...], syntax: UID) -> None:
    dataset = pydicom.Dataset()
    if terms:
        dataset.SpecificCharacterSet = list(terms)
    dataset.PatientName = NAMES[terms]
    found = decode(written(dataset, syntax), syntax)
    assert text_of(found["00100010"]) == NAMES[terms]
    again = read(encode(found, syntax, CharacterSet(terms)), syntax)
    assert str(again.PatientName) == NAMES[terms]
    assert again.get("SpecificCharacterSet") == dataset.get("SpecificCharacterSet")


def test_the_simplified_chinese_example_of_the_standard_is_read_and_written() -> None:
    """PS3.5 annex K.2; pydicom reads it, but writes it without its escape sequences."""
    charset = CharacterSet(("", "ISO 2022 IR 58"))
    name = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab="
    assert charset.decode(name) == "Zhang^XiaoDong=张^小东="
    data = encode({"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Zhang^XiaoDong", "Ideographic": "张^小东"}]}}, IMPLICIT_LE, charset)
    assert name[:-1] in data


def test_what_a_character_set_cannot_express_is_written_in_utf_8() -> None:
    found = read(
        encode({"00100010": {"vr": "PN", "Value": [{"Alphabetic": "王"}]}}, EXPLICIT_LE, CharacterSet(("ISO_IR 100",))), EXPLICIT_LE
    )
    assert (found.SpecificCharacterSet, str(found.PatientName)) == ("ISO_IR 192", "王")


@pytest.mark.parametrize("terms", [(), ("ISO_IR 192",), ("NONSENSE",), ("", "ISO 2022 IR 87"), ("ISO_IR 13",)])
def test_no_bytes_make_the_text_decoder_fail_or_warn(terms: tuple[str, ...]) -> None:
    generator = random.Random(3)
    for _ in range(500):
        CharacterSet(terms).decode(generator.randbytes(12) + b"\x1b$B" + generator.randbytes(3))


def test_a_decimal_keeps_the_digits_that_fit() -> None:
    data = encode({"00101020": {"vr": "DS", "Value": [1 / 3, -1.2345678901234567e-100, 2, "1.50"]}}, EXPLICIT_LE, CharacterSet())
    texts = data[8:].decode().rstrip().split("\\")
    assert all(len(text) <= 16 for text in texts)
    assert [float(text) for text in texts] == pytest.approx([1 / 3, -1.2345678901234567e-100, 2, 1.5])


def test_implicit_sequences_of_undefined_length_are_read() -> None:
    item = struct.pack("<HHL", 0x0008, 0x0100, 2) + b"X "
    data = struct.pack("<HHL", 0x0008, 0x1032, 0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF) + item
    data += struct.pack("<HHL", 0xFFFE, 0xE00D, 0) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    assert decode(data, IMPLICIT_LE) == {"00081032": {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["X"]}}]}}


@SYNTAXES
def test_no_mutation_raises_anything_but_bad_identifier(syntax: UID) -> None:
    generator = random.Random(5)
    sound = written(everything(), syntax)
    for _ in range(3000):
        data = bytearray(sound)
        for _ in range(generator.randint(1, 4)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        try:
            decode(bytes(data[: generator.randint(0, len(data))]), syntax)
        except BadIdentifier:
            continue


def test_sequences_nested_without_end_are_refused() -> None:
    opening = struct.pack("<HHL", 0x0008, 0x1032, 0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    with pytest.raises(BadIdentifier, match="deep"):
        decode(opening * 5000, IMPLICIT_LE)


def keys(level: str, **more: str) -> Json:
    tags = {"patient": "00100020", "study": "0020000D", "series": "0020000E", "instance": "00080018"}
    found: Json = {"00080052": {"vr": "CS", "Value": [level]}}
    return found | {tags[name]: {"vr": "UI", "Value": text.split("\\")} for name, text in more.items()}


def test_a_retrieve_may_name_a_list_at_its_own_level_only() -> None:
    query = retrieve_query(keys("SERIES", study="1.2", series="1.3\\1.4"), STUDY_ROOT)
    assert (query.level, query.matching) == (Level.SERIES, {"0020000D": "1.2", "0020000E": "1.3\\1.4"})
    with pytest.raises(BadIdentifier):
        retrieve_query(keys("SERIES", study="1.2\\1.5", series="1.3"), STUDY_ROOT)


@pytest.mark.parametrize(
    "identifier",
    [
        keys("STUDY", study="1.*"),
        keys("STUDY", study=""),
        keys("STUDY", study="../x"),
        keys("IMAGE", study="1.2", instance="1.3"),
        {},
    ],
)
def test_a_retrieve_without_sound_unique_keys_is_refused(identifier: Json) -> None:
    with pytest.raises(BadIdentifier):
        retrieve_query(identifier, STUDY_ROOT)


def test_a_patient_is_retrieved_by_one_id() -> None:
    assert retrieve_query(keys("PATIENT", patient="A 1"), PATIENT_ROOT).matching == {"00100020": "A 1"}
    for patient in ("", "*", "A\\B"):
        with pytest.raises(BadIdentifier):
            retrieve_query(keys("PATIENT", patient=patient), PATIENT_ROOT)


def test_keys_that_say_how_to_answer_are_no_matching_keys() -> None:
    asked = keys("STUDY", study="1.2") | {"00080005": {"vr": "CS", "Value": ["ISO_IR 100"]}, "00080054": {"vr": "AE", "Value": ["X"]}}
    assert find_query(asked, STUDY_ROOT, 5).matching == {"0020000D": "1.2"}
