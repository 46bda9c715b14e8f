"""C-FIND as SCP, with pynetdicom as SCU."""

from __future__ import annotations

import pydicom
import pytest

from edge.errors import Transient
from edge.model import Level
from tests.dimse.fakes import CT, MR, RTDOSE, Instance, box, instances
from tests.dimse.test_storage import EXPLICIT, IMPLICIT, associated

PATIENT_FIND, STUDY_FIND = "1.2.840.10008.5.1.4.1.2.1.1", "1.2.840.10008.5.1.4.1.2.2.1"
CONTEXTS = (PATIENT_FIND, [IMPLICIT]), (STUDY_FIND, [EXPLICIT])


def identifier(level: str, **keys: str) -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    dataset.QueryRetrieveLevel = level
    for name, value in keys.items():
        setattr(dataset, name, value)
    return dataset


def with_items(level: str, *tags: int) -> pydicom.Dataset:
    """Each of these elements comes as a sequence, with the next in its item."""
    outer = dataset = identifier(level)
    for tag in tags:
        item = pydicom.Dataset()
        dataset.add_new(tag, "SQ", [item])
        dataset = item
    return outer


def named(name: str, **element: object) -> Instance:
    one = instances(CT)[0]
    attributes = {**one.attributes, "00100010": {"vr": "PN", "Value": [element or {"Alphabetic": name}]}}
    return Instance(one.path, one.located, attributes)


@pytest.mark.parametrize("model", [PATIENT_FIND, STUDY_FIND])
def test_a_study_is_answered_with_what_was_asked_for_and_what_the_model_demands(model: str) -> None:
    held = instances(CT, MR)
    study = held[0].located.study
    keys = {"PatientID": str(held[0].attributes["00100020"]["Value"][0])} if model == PATIENT_FIND else {}
    query = identifier("STUDY", StudyInstanceUID=study, PatientName="", StudyDate="", AccessionNumber="", **keys)
    with box(held) as served, associated(served, *CONTEXTS) as association:
        (status, found), (final, nothing) = list(association.send_c_find(query, model))
        assert served.index.queries[0].level is Level.STUDY
        assert served.index.queries[0].matching["0020000D"] == study
    assert (status.Status, final.Status, nothing) == (0xFF00, 0x0000, None)
    expected = {"StudyInstanceUID", "PatientName", "StudyDate", "AccessionNumber", "QueryRetrieveLevel", "RetrieveAETitle"}
    assert {element.keyword for element in found} == expected | {"InstanceAvailability"} | set(keys)
    assert (found.StudyInstanceUID, found.PatientName, found.StudyDate) == (study, "CompressedSamples^CT1", "20040119")
    assert (found.RetrieveAETitle, found.InstanceAvailability, found.AccessionNumber) == ("OUTPOST", "ONLINE", "")


@pytest.mark.parametrize("level", ["PATIENT", "STUDY", "SERIES", "IMAGE"])
def test_every_level_of_the_patient_root_is_answered(level: str) -> None:
    (one,) = instances(CT)
    order = ["PATIENT", "STUDY", "SERIES", "IMAGE"]
    unique = {
        "PatientID": str(one.attributes["00100020"]["Value"][0]),
        "StudyInstanceUID": one.located.study,
        "SeriesInstanceUID": one.located.series,
        "SOPInstanceUID": one.located.sop_instance,
    }
    keys = dict(list(unique.items())[: order.index(level) + 1])
    with box([one]) as served, associated(served, *CONTEXTS) as association:
        answers = list(association.send_c_find(identifier(level, **keys), PATIENT_FIND))
    assert [status.Status for status, _ in answers] == [0xFF00, 0x0000]
    found = answers[0][1]
    assert {name: str(getattr(found, name)) for name in keys} == keys


@pytest.mark.parametrize(
    ("model", "query", "element"),
    [
        (STUDY_FIND, identifier("SERIES"), 0x0020000D),
        (STUDY_FIND, identifier("SERIES", StudyInstanceUID="1.2\\1.3"), 0x0020000D),
        (STUDY_FIND, identifier("PATIENT"), 0x00080052),
        (STUDY_FIND, identifier("NONSENSE"), 0x00080052),
        (STUDY_FIND, identifier("STUDY", SeriesInstanceUID="1.2"), 0x0020000E),
        (STUDY_FIND, identifier("IMAGE", StudyInstanceUID="1.2"), 0x0020000E),
        (PATIENT_FIND, identifier("STUDY", StudyInstanceUID="1.2"), 0x00100020),
        (PATIENT_FIND, identifier("STUDY", PatientID="A*"), 0x00100020),
        (STUDY_FIND, with_items("STUDY", 0x00100010), 0x00100010),
        (STUDY_FIND, with_items("STUDY", 0x00400275, 0x00401001), 0x00401001),
        (STUDY_FIND, with_items("STUDY", 0x00080052), 0x00080052),
        (STUDY_FIND, identifier("STUDY", AccessionNumber="\\".join(map(str, range(1001)))), 0x00080050),
    ],
    ids=[
        "no study",
        "two studies",
        "no such level here",
        "no level",
        "a key from below",
        "no series",
        "no patient",
        "a wildcard above",
        "a name with items",
        "an element of an item with items",
        "a level with items",
        "more values than can be looked for",
    ],
)
def test_what_breaks_the_information_model_is_refused_and_named(model: str, query: pydicom.Dataset, element: int) -> None:
    with box(instances(CT)) as served, associated(served, *CONTEXTS) as association:
        ((status, _),) = list(association.send_c_find(query, model))
        assert (status.Status, status.OffendingElement) == (0xA900, element)
        assert status.ErrorComment
        assert not served.index.queries
        assert [status.Status for status, _ in association.send_c_find(identifier("STUDY"), STUDY_FIND)] == [0xFF00, 0x0000]


def test_what_the_index_cannot_answer_has_a_status_and_the_association_goes_on() -> None:
    with box(instances(CT)) as served, associated(served, *CONTEXTS) as association:
        served.index.fault = Transient("busy")
        assert [status.Status for status, _ in association.send_c_find(identifier("STUDY"), STUDY_FIND)] == [0xA700]
        served.index.fault = None
        assert [status.Status for status, _ in association.send_c_find(identifier("STUDY"), STUDY_FIND)] == [0xFF00, 0x0000]


def test_more_matches_than_the_cap_are_refused_after_those_that_fit() -> None:
    held = instances(CT, MR, RTDOSE)
    with box(held, match_limit=2) as served, associated(served, *CONTEXTS) as association:
        found = [status.Status for status, _ in association.send_c_find(identifier("STUDY", StudyInstanceUID=""), STUDY_FIND)]
    assert found == [0xFF00, 0xFF00, 0xA700]


def test_exactly_as_many_matches_as_the_cap_are_a_success() -> None:
    with box(instances(CT, MR), match_limit=2) as served, associated(served, *CONTEXTS) as association:
        found = [status.Status for status, _ in association.send_c_find(identifier("STUDY", StudyInstanceUID=""), STUDY_FIND)]
    assert found == [0xFF00, 0xFF00, 0x0000]


def test_a_cancelled_query_ends_with_its_status() -> None:
    one = instances(CT)[0]
    many = [
        Instance(one.path, one.located, {**one.attributes, "0020000D": {"vr": "UI", "Value": [f"1.2.{number}"]}})
        for number in range(50_000)
    ]
    with box(many, match_limit=60_000) as served, associated(served, *CONTEXTS) as association:
        answers = association.send_c_find(identifier("STUDY", StudyInstanceUID=""), STUDY_FIND, msg_id=4)
        next(answers)
        association.send_c_cancel(4, query_model=STUDY_FIND)
        *_, (final, _) = answers
    assert final.Status == 0xFE00


@pytest.mark.parametrize(
    ("charset", "name", "answered_in"),
    [
        (None, "Doe^John", None),
        (None, "Äneas^Rüdiger", "ISO_IR 192"),
        ("ISO_IR 100", "Äneas^Rüdiger", "ISO_IR 100"),
        ("ISO_IR 100", "Люк", "ISO_IR 192"),
        ("ISO_IR 144", "Люк", "ISO_IR 144"),
        ("ISO_IR 192", "王^小東", "ISO_IR 192"),
        ("GB18030", "王^小东", "GB18030"),
    ],
)
def test_answers_are_in_the_character_set_of_the_query_where_it_can_express_them(
    charset: str | None, name: str, answered_in: str | None
) -> None:
    query = identifier("STUDY", PatientName="")
    if charset:
        query.SpecificCharacterSet = charset
    with box([named(name)]) as served, associated(served, *CONTEXTS) as association:
        (_, found), _ = list(association.send_c_find(query, STUDY_FIND))
    assert found.get("SpecificCharacterSet") == answered_in
    found.decode()
    assert str(found.PatientName) == name


def test_the_groups_of_a_japanese_name_survive_code_extensions() -> None:
    query = identifier("STUDY", PatientName="")
    query.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    one = named("", Alphabetic="Yamada^Tarou", Ideographic="山田^太郎", Phonetic="やまだ^たろう")
    with box([one]) as served, associated(served, *CONTEXTS) as association:
        (_, found), _ = list(association.send_c_find(query, STUDY_FIND))
    assert list(found.SpecificCharacterSet) == ["", "ISO 2022 IR 87"]
    found.decode()
    assert str(found.PatientName) == "Yamada^Tarou=山田^太郎=やまだ^たろう"


def test_matching_text_reaches_the_index_decoded() -> None:
    query = identifier("STUDY", PatientName="Än*", StudyDate="20040101-20041231", ModalitiesInStudy="CT")
    query.SpecificCharacterSet = "ISO_IR 100"
    with box([]) as served, associated(served, *CONTEXTS) as association:
        list(association.send_c_find(query, STUDY_FIND))
        (asked,) = served.index.queries
    assert asked.matching == {"00100010": "Än*", "00080020": "20040101-20041231", "00080061": "CT"}


def test_a_sequence_key_and_an_unknown_attribute_come_back_empty() -> None:
    query = identifier("STUDY")
    item = pydicom.Dataset()
    item.CodeValue = ""
    query.ProcedureCodeSequence = [item]
    query.add_new(0x00091010, "LO", "")
    with box(instances(CT)) as served, associated(served, *CONTEXTS) as association:
        (_, found), _ = list(association.send_c_find(query, STUDY_FIND))
    assert len(found.ProcedureCodeSequence) == 0
    assert 0x00091010 in found


def test_an_item_below_what_is_held_without_items_asks_for_nothing() -> None:
    """A private element, of which no dictionary says what it is."""
    held = instances(CT)[0]
    attributes = {**held.attributes, "00091010": {"vr": "LO", "Value": ["private"]}}
    with box([Instance(held.path, held.located, attributes)]) as served, associated(served, *CONTEXTS) as association:
        answers = list(association.send_c_find(with_items("STUDY", 0x00091010, 0x00091011), STUDY_FIND))
    assert [status.Status for status, _ in answers][-1] == 0x0000
