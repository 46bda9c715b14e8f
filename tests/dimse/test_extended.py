"""What is agreed beyond presentation contexts: extended negotiation, and the asynchronous window."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pydicom
import pytest
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from edge.dimse.associate import AssociateAnswer, AssociateRequest, UserInformation
from edge.dimse.classes import EXPLICIT_LE, STUDY_ROOT, VERIFICATION
from edge.dimse.negotiation import MAX_OUTSTANDING, accept, agreed, propose, window
from edge.model import UID, AETitle, Json, Manner, Peer
from tests.dimse.fakes import CT, EVERYTHING, MR, Instance, box, instances
from tests.dimse.test_find import STUDY_FIND, identifier
from tests.dimse.test_retrieve import STUDY_GET, STUDY_MOVE
from tests.dimse.test_storage import EXPLICIT, associated

CT_CLASS, PRIVATE = UID("1.2.840.10008.5.1.4.1.1.2"), UID("1.2.3.4.5")
PEER = Peer(AETitle("TEST"), rights=EVERYTHING)


def answer(*sop_classes: UID, **user: object) -> UserInformation:
    """What is answered to a proposal of these classes."""
    asked = AssociateRequest("OUTPOST", "TEST", propose([(uid, (EXPLICIT_LE,)) for uid in sop_classes]), UserInformation(**user))  # type: ignore[arg-type]
    return accept(asked, PEER).answer.user


@pytest.mark.parametrize(
    ("sop_class", "asked", "answered"),
    [
        (STUDY_ROOT.find, "01", "01"),
        (STUDY_ROOT.find, "010101", "010101"),
        (STUDY_ROOT.find, "000100", "000100"),
        (STUDY_ROOT.find, "01010101010101", "01010101000101"),
        (STUDY_ROOT.find, "0101010101010101", "01010101000101"),
        (STUDY_ROOT.move, "0101", "0100"),
        (STUDY_ROOT.get, "01", "01"),
        (CT_CLASS, "000000000000", "020003000000"),
        (CT_CLASS, "02", "02"),
        (PRIVATE, "020003", "020003"),
        (VERIFICATION, "01", None),
    ],
)
def test_extended_negotiation_is_answered_with_what_we_do(sop_class: UID, asked: str, answered: str | None) -> None:
    found = answer(sop_class, extended={sop_class: bytes.fromhex(asked)}).extended
    assert found == ({} if answered is None else {sop_class: bytes.fromhex(answered)})


def test_a_class_that_was_not_accepted_is_not_negotiated() -> None:
    assert answer(CT_CLASS, extended={STUDY_ROOT.find: b"\1"}).extended == {}


@pytest.mark.parametrize(
    ("sop_classes", "asked", "answered"),
    [
        ((CT_CLASS,), (0, 0), (MAX_OUTSTANDING, 1)),
        ((CT_CLASS, VERIFICATION), (3, 5), (3, 1)),
        ((CT_CLASS, PRIVATE), (1000, 1), (MAX_OUTSTANDING, 1)),
        ((CT_CLASS, STUDY_ROOT.find), (0, 0), (1, 1)),
        ((STUDY_ROOT.move,), (8, 8), (1, 1)),
        ((CT_CLASS,), None, None),
    ],
)
def test_an_asynchronous_window_is_for_stores_alone(
    sop_classes: tuple[UID, ...], asked: tuple[int, int] | None, answered: tuple[int, int] | None
) -> None:
    assert answer(*sop_classes, operations=asked).operations == answered


@pytest.mark.parametrize(("operations", "ours"), [(None, 1), ((1, 1), 1), ((3, 1), 3), ((0, 1), 8), ((999, 1), 8)])
def test_our_window_is_what_the_peer_answered(operations: tuple[int, int] | None, ours: int) -> None:
    assert window(AssociateAnswer("A", "B", (), UserInformation(operations=operations))) == ours


def test_what_a_peer_answers_to_our_negotiation_comes_with_the_context() -> None:
    asked = AssociateRequest("A", "B", propose([(STUDY_ROOT.find, (EXPLICIT_LE,))]), UserInformation(extended={STUDY_ROOT.find: b"\1\1\1"}))
    theirs = accept(asked, PEER).answer
    assert agreed(asked, dataclasses.replace(theirs, user=UserInformation(extended={STUDY_ROOT.find: b"\1\0"})))[1].extended == b"\1\0"


def negotiated(sop_class: str, information: bytes) -> list[SOPClassExtendedNegotiation]:
    item = SOPClassExtendedNegotiation()
    item.sop_class_uid, item.service_class_application_information = sop_class, information
    return [item]


@pytest.mark.parametrize(
    ("information", "manner"),
    [
        (b"", Manner()),
        (b"\0\0\0\0\0\0\0", Manner()),
        (b"\1", Manner(relational=True)),
        (b"\0\1", Manner(combined=True)),
        (b"\0\0\1", Manner(fuzzy=True)),
        (b"\0\0\0\1", Manner(time_zone=-12600)),
        (b"\0\0\0\0\1\1", Manner(empty=True)),
        (b"\1\1\1\1\1\1\1", Manner(True, True, True, True, -12600)),
    ],
)
def test_a_query_is_matched_in_the_manner_that_was_agreed(information: bytes, manner: Manner) -> None:
    query = identifier("STUDY", PatientName="Doe", TimezoneOffsetFromUTC="-0330")
    more = {"ext_neg": negotiated(STUDY_FIND, information)} if information else {}
    with box([]) as served, associated(served, (STUDY_FIND, [EXPLICIT]), **more) as association:
        assert [status.Status for status, _ in association.send_c_find(query, STUDY_FIND)] == [0x0000]
        (asked,) = served.index.queries
    assert asked.manner == manner
    assert asked.matching == {"00100010": "Doe"}


def test_a_relational_query_needs_no_keys_above_and_takes_those_below() -> None:
    queries = [identifier("IMAGE", SOPInstanceUID=""), identifier("STUDY", Modality="CT", SOPInstanceUID="1.2")]
    for agreed_on, expected in ((b"\1", 0x0000), (b"\0", 0xA900)):
        with box([]) as served, associated(served, (STUDY_FIND, [EXPLICIT]), ext_neg=negotiated(STUDY_FIND, agreed_on)) as association:
            for query in queries:
                assert [status.Status for status, _ in association.send_c_find(query, STUDY_FIND)] == [expected]


@pytest.mark.parametrize("model", [STUDY_MOVE, STUDY_GET])
def test_a_relational_retrieve_needs_no_keys_above(model: str) -> None:
    with box(instances(CT, MR)) as served:
        served.peers.peers["DEST"] = Peer(AETitle("DEST"), host="127.0.0.1", port=9)
        for agreed_on, expected in ((b"\1", 0x0000), (b"\0", 0xA900)):
            with associated(served, (model, [EXPLICIT]), ext_neg=negotiated(model, agreed_on)) as association:
                query = identifier("IMAGE", SOPInstanceUID="9.9.9")
                answers = association.send_c_get(query, model) if model == STUDY_GET else association.send_c_move(query, "DEST", model)
                assert [status.Status for status, _ in answers] == [expected]


def ordered() -> Instance:
    one = instances(CT)[0]
    step: Json = {"00401001": {"vr": "SH", "Value": ["RP1"]}, "00400009": {"vr": "SH", "Value": ["S1"]}}
    more: Json = {"00400275": {"vr": "SQ", "Value": [step, step]}, "00081032": {"vr": "SQ", "Value": [step]}}
    return Instance(one.path, one.located, {**one.attributes, **more})


def answers(query: pydicom.Dataset, one: Instance) -> Iterator[tuple[int, pydicom.Dataset]]:
    with box([one]) as served, associated(served, (STUDY_FIND, [EXPLICIT])) as association:
        for status, found in association.send_c_find(query, STUDY_FIND):
            if found is not None:
                yield status.Status, found


def test_of_the_items_of_a_sequence_comes_back_what_was_asked_for() -> None:
    query = identifier("STUDY", StudyInstanceUID="")
    key = pydicom.Dataset()
    key.RequestedProcedureID = ""
    query.RequestAttributesSequence, query.ProcedureCodeSequence = [key], []
    ((status, found),) = answers(query, ordered())
    assert status == 0xFF00
    assert [[str(element.keyword) for element in item] for item in found.RequestAttributesSequence] == [["RequestedProcedureID"]] * 2
    assert len(found.ProcedureCodeSequence[0]) == 2


def test_a_key_inside_a_sequence_reaches_the_index() -> None:
    query = identifier("STUDY", StudyInstanceUID="")
    key = pydicom.Dataset()
    key.RequestedProcedureID, key.ScheduledProcedureStepID = "RP*", ""
    query.RequestAttributesSequence = [key]
    with box([]) as served, associated(served, (STUDY_FIND, [EXPLICIT])) as association:
        list(association.send_c_find(query, STUDY_FIND))
        assert served.index.queries[0].matching == {"00400275.00401001": "RP*"}


def test_keys_that_are_not_held_are_said_to_be_so() -> None:
    query = identifier("STUDY", StudyInstanceUID="", ModalitiesInStudy="", NumberOfStudyRelatedInstances="", SOPClassesInStudy="")
    assert [status for status, _ in answers(query, ordered())] == [0xFF00]
    query.DetectorID = ""
    ((status, found),) = answers(query, ordered())
    assert (status, found.DetectorID) == (0xFF01, "")


def test_dates_and_times_are_answered_in_the_zone_of_the_query_where_that_was_agreed() -> None:
    one = ordered()
    dated = {
        "00080020": {"vr": "DA", "Value": ["20240301"]},
        "00080030": {"vr": "TM", "Value": ["0130"]},
        "00080201": {"vr": "SH", "Value": ["+0100"]},
    }
    held = [Instance(one.path, one.located, {**one.attributes, **dated})]
    query = identifier("STUDY", StudyDate="", StudyTime="", TimezoneOffsetFromUTC="-0500")
    for agreed_on, expected in ((b"\0\0\0\1", ("20240229", "1930", "-0500")), (b"\0\0\0\0", ("20240301", "0130", "+0100"))):
        with box(held) as served, associated(served, (STUDY_FIND, [EXPLICIT]), ext_neg=negotiated(STUDY_FIND, agreed_on)) as association:
            (_, found), _ = association.send_c_find(query, STUDY_FIND)
        assert (found.StudyDate, found.StudyTime, found.TimezoneOffsetFromUTC) == expected


def test_a_value_that_the_query_cannot_express_comes_in_the_character_set_it_is_stored_in() -> None:
    one = ordered()
    name: Json = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Люк^Ф"}]}, "00080005": {"vr": "CS", "Value": ["ISO_IR 144"]}}
    ((_, found),) = answers(identifier("STUDY", PatientName=""), Instance(one.path, one.located, {**one.attributes, **name}))
    assert found.SpecificCharacterSet == "ISO_IR 144"
    found.decode()
    assert str(found.PatientName) == "Люк^Ф"
