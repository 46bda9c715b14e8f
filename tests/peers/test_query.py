"""findscu against a whole edge: people of every script, asked for in the character set of their files, and in that of the asker."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from tests.servers import Endpoint, edge_alone, need

FILES = Path(pydicom.__file__).parent / "data" / "charset_files"
NAMES = {
    "chrArab": "قباني^لنزار",
    "chrFren": "Buc^Jérôme",
    "chrGerm": "Äneas^Rüdiger",
    "chrGreek": "Διονυσιος",
    "chrH31": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "chrH32": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "chrHbrw": "שרון^דבורה",
    "chrI2": "Hong^Gildong=洪^吉洞=홍^길동",
    "chrJapMulti": "やまだ^たろう",
    "chrKoreanMulti": "김희중",
    "chrRuss": "Люкceмбypг",  # noqa: RUF001 - as the file has it: some letters are Latin
    "chrX1": "Wang^XiaoDong=王^小東",
    "chrX2": "Wang^XiaoDong=王^小东",
}
"""Files of pydicom, and whom they are of."""


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """An edge that holds them all."""
    with edge_alone(tmp_path_factory.mktemp("query") / "state", peers=("TEST",)) as endpoint:
        paths = [str(FILES / f"{name}.dcm") for name in NAMES]
        command = [need("storescu", "dcmtk"), "-R", "-aet", "TEST", "-aec", "OUTPOST", "127.0.0.1", str(endpoint.port), *paths]
        subprocess.run(command, check=True, capture_output=True)
        yield endpoint


def found(edge: Endpoint, directory: Path, query: pydicom.Dataset) -> list[pydicom.Dataset]:
    """The answers of findscu to a query, which it takes from a file and writes to files."""
    directory.mkdir()
    path = directory / "query.dcm"
    query.save_as(path, implicit_vr=False, little_endian=True)
    command = [need("findscu", "dcmtk"), "-S", "-X", "-aet", "TEST", "-aec", "OUTPOST", "127.0.0.1", str(edge.port), str(path)]
    subprocess.run(command, check=True, capture_output=True, cwd=directory)
    answers = [pydicom.dcmread(one, force=True) for one in sorted(directory.glob("rsp*.dcm"))]
    for answer in answers:
        answer.decode()
    return answers


def asking(charset: str | list[str] | None, **keys: str | bytes) -> pydicom.Dataset:
    query = pydicom.Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID, query.PatientID = "STUDY", "", ""
    if charset is not None:
        query.SpecificCharacterSet = charset
    for keyword, value in keys.items():
        setattr(query, keyword, value)
    return query


@pytest.mark.parametrize("name", NAMES)
def test_a_person_is_found_and_answered_in_the_character_set_of_the_file(edge: Endpoint, tmp_path: Path, name: str) -> None:
    stored = pydicom.dcmread(FILES / f"{name}.dcm")
    query = asking(stored.SpecificCharacterSet)
    # The very bytes of the file, code extensions and all.
    query[0x00100010] = pydicom.DataElement(0x00100010, "PN", stored.PatientName)
    answers = found(edge, tmp_path / "find", query)
    assert stored.PatientID in {answer.PatientID for answer in answers}
    (answer,) = [answer for answer in answers if answer.PatientID == stored.PatientID]
    assert answer.SpecificCharacterSet == stored.SpecificCharacterSet
    assert str(answer.PatientName) == NAMES[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_person_is_found_by_an_asker_who_speaks_utf_8(edge: Endpoint, tmp_path: Path, name: str) -> None:
    answers = found(edge, tmp_path / "find", asking("ISO_IR 192", PatientName=NAMES[name].split("=")[-1]))
    assert NAMES[name] in {str(answer.PatientName) for answer in answers}
    assert {answer.SpecificCharacterSet for answer in answers} == {"ISO_IR 192"}


@pytest.mark.parametrize("name", NAMES)
def test_an_asker_who_says_no_character_set_gets_the_stored_one_where_it_is_needed(edge: Endpoint, tmp_path: Path, name: str) -> None:
    stored = pydicom.dcmread(FILES / f"{name}.dcm")
    answers = found(edge, tmp_path / "find", asking(None, PatientID=stored.PatientID, PatientName=""))
    assert [(str(answer.PatientName), answer.SpecificCharacterSet) for answer in answers] == [(NAMES[name], stored.SpecificCharacterSet)]


@pytest.mark.parametrize(
    ("charset", "key", "count"),
    [
        ("ISO_IR 100", "äneas*", 1),
        ("ISO_IR 100", "ANEAS^RUDIGER", 1),
        ("ISO_IR 144", "Люкc*", 1),
        (["", "ISO 2022 IR 87"], "*=山田*", 2),
        (["", "ISO 2022 IR 149"], "*길동", 1),
        ("GB18030", "*小东", 1),
        ("ISO_IR 192", "王^小?", 2),
        ("ISO_IR 126", "Διον*", 1),
        (None, "wang*", 2),
        (None, "Yamada^Tarou", 1),
    ],
)
def test_wildcards_and_groups_match_in_every_script(
    edge: Endpoint, tmp_path: Path, charset: str | list[str] | None, key: str, count: int
) -> None:
    assert len(found(edge, tmp_path / "find", asking(charset, PatientName=key))) == count
