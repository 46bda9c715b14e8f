"""edge.auditmessage: each event is a message that the schema of PS3.15 knows, with the code that the standard gives it."""

from __future__ import annotations

import base64
import typing

import pytest
from lxml import etree

from edge import audit
from edge.auditmessage import framed, message
from edge.trail import Line
from tests.audited import EVENTS, SOURCE, schema

AT = "2026-01-31T12:00:00Z"


def _line(name: str, times: int = 1) -> Line:
    return Line(number=7, at=AT, previous="0" * 64, times=times, event=EVENTS[name])


def _parsed(name: str, times: int = 1) -> etree._Element:
    return etree.fromstring(message(_line(name, times), SOURCE))


@pytest.mark.parametrize("name", EVENTS)
def test_a_message_of_each_kind_is_valid(name: str) -> None:
    rules = schema()
    assert rules.validate(_parsed(name)), rules.error_log


def test_there_is_an_example_of_each_kind() -> None:
    assert {type(event) for event in EVENTS.values()} == set(typing.get_args(audit.Event))


def test_the_schema_finds_what_is_wrong() -> None:
    root = _parsed("query")
    root.find("EventIdentification").attrib.pop("EventDateTime")
    assert not schema().validate(root)


@pytest.mark.parametrize(
    ("name", "code", "action", "outcome"),
    [
        ("started", "110100", "E", "0"),
        ("association-refused", "110113", "E", "4"),
        ("store-refused", "110104", "C", "4"),
        ("query", "110112", "E", "0"),
        ("query of an older line", "110112", "E", "4"),
        ("retrieve-begun", "110102", "E", "0"),
        ("retrieve-ended", "110104", "R", "4"),
        ("accessed", "110103", "R", "0"),
        ("searched", "110112", "E", "0"),
        ("received", "110104", "C", "0"),
        ("sent", "110104", "R", "0"),
        ("peer-changed", "110113", "E", "0"),
        ("decided", "110103", "U", "0"),
        ("rotted", "110113", "E", "8"),
        ("not-recorded", "110113", "E", "8"),
    ],
)
def test_each_kind_has_its_code_action_and_outcome(name: str, code: str, action: str, outcome: str) -> None:
    event = _parsed(name).find("EventIdentification")
    assert (event.find("EventID").get("csd-code"), event.get("EventActionCode"), event.get("EventOutcomeIndicator")) == (
        code,
        action,
        outcome,
    )


def test_who_asked_who_answered_and_which_studies_were_moved_are_in_it() -> None:
    root = _parsed("retrieve-begun")
    people = [
        (one.get("UserID"), one.get("UserIsRequestor"), one.find("RoleIDCode").get("csd-code")) for one in root.iter("ActiveParticipant")
    ]
    assert people == [("VALLEY", "false", "110153"), ("VIEWER", "true", "110152"), ("THEATRE", "false", "110152")]
    assert [one.get("ParticipantObjectID") for one in root.iter("ParticipantObjectIdentification")] == ["1.2.3", "1.2.4"]
    details = {one.get("type"): base64.b64decode(one.get("value")).decode() for one in root.iter("ParticipantObjectDetail")}
    assert details["instances"] == "40"
    assert details["line of the trail"] == "7"


def test_of_a_series_or_an_instance_the_study_is_named_and_the_rest_is_detail() -> None:
    root = _parsed("retrieve-ended")
    assert [one.get("ParticipantObjectID") for one in root.iter("ParticipantObjectIdentification")] == ["1.2.3"]
    details = {one.get("type"): base64.b64decode(one.get("value")).decode() for one in root.iter("ParticipantObjectDetail")}
    assert details["of it"] == "1.2.3.1 1.2.3.1.1"


@pytest.mark.parametrize("title", ["CT\x1b1", "CT\x001", "CT\x851", "CT\ud8001", "CT\uffff1", '"><CT/>'])
def test_whatever_a_stranger_calls_itself_the_message_is_valid(title: str) -> None:
    event = audit.AssociationRefused(address="10.0.0.8", reason="unknown", calling=[title], called=title, subject=title)
    root = etree.fromstring(message(Line(number=7, at=AT, previous="0" * 64, times=1, event=event), SOURCE))
    rules = schema()
    assert rules.validate(root), rules.error_log
    (caller,) = [one for one in root.iter("ActiveParticipant") if one.get("UserID") != SOURCE.ae_title]
    assert caller.get("UserID") == "".join(letter if letter.isprintable() or letter == "\x85" else "\ufffd" for letter in title)


def test_refusals_that_were_counted_together_say_how_many() -> None:
    assert _parsed("association-refused", 12).findtext("EventIdentification/EventOutcomeDescription") == "unknown & unwanted; 12 times"


def test_a_frame_says_its_length_and_is_a_line_of_syslog() -> None:
    text = message(_line("query"), SOURCE)
    frame = framed(text, AT, SOURCE, 321)
    length, _, rest = frame.partition(b" ")
    assert int(length) == len(rest)
    assert rest == b"<85>1 2026-01-31T12:00:00Z box1 outpost 321 DICOM+RFC3881 - \xef\xbb\xbf" + text
