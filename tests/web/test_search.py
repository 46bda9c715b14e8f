"""QIDO-RS: what is found, in what order, and what is refused with a sentence."""

from __future__ import annotations

import json
from typing import Any

import pydicom
import pytest

from edge.model import Level
from edge.web.faults import BadRequest
from edge.web.search import MOST, parse_query
from tests.web.box import CT, CT_STUDY, IMPLICIT, RLE, Web, sample

MR_STUDY = "1.3.6.1.4.1.5962.1.2.4.20040826185059.5457"


async def _found(served: Web, path: str) -> list[dict[str, Any]]:
    status, headers, body = await served.get(path)
    assert status == 200, body
    assert headers["Content-Type"].startswith("application/dicom+json")
    found: list[dict[str, Any]] = json.loads(body)
    for one in found:
        pydicom.Dataset.from_json(one)
        assert list(one) == sorted(one)
    return found


@pytest.mark.asyncio
async def test_studies_are_found_newest_first_with_counts_availability_and_their_address(served: Web) -> None:
    for name in (CT, IMPLICIT, RLE):
        served.box.take(sample(name))
    found = await _found(served, "/studies")
    assert [one["0020000D"]["Value"][0] for one in found] == [MR_STUDY, CT_STUDY]
    assert found[1]["00081190"]["Value"] == [f"{served.address}/studies/{CT_STUDY}"]
    assert found[1]["00080056"]["Value"] == ["ONLINE"]
    assert found[1]["00201208"]["Value"] == [1]
    assert found[1]["00080061"]["Value"] == ["CT"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("/studies?PatientName=CompressedSamples^CT1", 1),
        ("/studies?00100010=compressedsamples*", 2),
        ("/studies?PatientID=1CT1&StudyDate=20040101-20041231", 1),
        ("/studies?StudyDate=19990101", 0),
        ("/studies?ModalitiesInStudy=MR", 1),
        (f"/studies?StudyInstanceUID={CT_STUDY},{MR_STUDY}", 2),
        (f"/studies?0020000d={CT_STUDY}%5C{MR_STUDY}", 2),
        ("/studies?limit=1", 1),
        ("/studies?limit=1&offset=2", 0),
        ("/studies?limit=0", 0),
        ("/studies?includefield=all&includefield=PatientName,00081030", 2),
        (f"/studies/{CT_STUDY}/series", 1),
        (f"/studies/{CT_STUDY}/instances", 1),
        ("/series?Modality=MR", 1),
        ("/series?PatientID=1CT1", 1),
        ("/instances", 2),
        ("/instances?SOPClassUID=1.2.840.10008.5.1.4.1.1.2", 1),
        ("/studies/1.2.3/series", 0),
    ],
)
async def test_matching_follows_the_parameters(served: Web, path: str, count: int) -> None:
    for name in (CT, IMPLICIT):
        served.box.take(sample(name))
    assert len(await _found(served, path)) == count


@pytest.mark.asyncio
async def test_an_instance_answers_with_its_address_and_transfer_syntax(served: Web) -> None:
    served.box.take(sample(CT))
    (found,) = await _found(served, "/instances")
    uids = [found[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018")]
    assert found["00081190"]["Value"] == ["{}/studies/{}/series/{}/instances/{}".format(served.address, *uids)]
    assert found["00083002"]["Value"] == ["1.2.840.10008.1.2.1"]
    assert len(await _found(served, f"/studies/{uids[0]}/series/{uids[1]}/instances")) == 1


@pytest.mark.asyncio
async def test_what_only_the_archive_has_is_nearline(served: Web) -> None:
    served.box.take(sample(CT))
    (pack,) = served.box.close_packs()
    served.box.hold_and_evict(pack)
    (found,) = await _found(served, "/studies")
    assert found["00080056"]["Value"] == ["NEARLINE"]


@pytest.mark.asyncio
async def test_fuzzy_matching_finds_by_words_and_sound_where_it_is_asked_for(served: Web) -> None:
    served.box.take(sample(CT))
    assert len(await _found(served, "/studies?fuzzymatching=true&PatientName=ct1+kompressedsamples")) == 1
    assert len(await _found(served, "/studies?fuzzymatching=false&PatientName=ct1+kompressedsamples")) == 0


@pytest.mark.asyncio
async def test_an_empty_value_is_asked_for_by_two_quotation_marks(served: Web) -> None:
    served.box.take(sample(CT))
    assert len(await _found(served, "/studies?emptyvaluematching=true&AccessionNumber=%22%22")) == 1
    assert len(await _found(served, "/studies?emptyvaluematching=true&PatientID=%22%22")) == 0


@pytest.mark.asyncio
async def test_what_is_costly_to_count_is_answered_where_it_is_named(served: Web) -> None:
    served.box.take(sample(CT))
    (plain,) = await _found(served, "/studies")
    (named,) = await _found(served, "/studies?includefield=SOPClassesInStudy,NumberOfPatientRelatedStudies")
    assert "00080062" not in plain
    assert named["00080062"]["Value"] == ["1.2.840.10008.5.1.4.1.1.2"]
    assert named["00201200"]["Value"] == [1]
    assert "00201202" not in named


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "path",
    [
        "/studies?PatientNam=x",
        "/studies?limit=-1",
        "/studies?limit=x",
        "/studies?offset=99999999999",
        "/studies?fuzzymatching=yes",
        "/studies?RequestAttributesSequence.RequestedProcedureID=1",
        "/series?RequestAttributesSequence.PatientName=1",
        "/series?RequestAttributesSequence=1",
        "/studies?includefield=nothing",
        "/studies?Modality=CT",
        "/studies?PixelData=1",
        "/studies?StudyInstanceUID=1..2",
        "/studies?PatientID=1&PatientID=2",
        "/studies?PatientID=" + "x" * 5000,
        f"/studies/{CT_STUDY}/series?StudyInstanceUID=1.2",
        "/studies/not-a-uid/series",
        "/studies/..%2f..%2fetc/series",
        "/studies/1.2.%00/series",
        "/studies/" + "1" * 65 + "/series",
    ],
)
async def test_what_the_standard_does_not_know_is_400_with_a_sentence(served: Web, path: str) -> None:
    served.box.take(sample(CT))
    status, headers, body = await served.get(path)
    assert status == 400
    assert headers["Content-Type"].startswith("text/plain")
    assert body.decode().strip().endswith(".")


@pytest.mark.asyncio
async def test_search_answers_are_json_or_406(served: Web) -> None:
    served.box.take(sample(CT))
    for accept in (None, "*/*", "application/json", "application/dicom+json", "text/html, application/dicom+json;q=0.5"):
        assert (await served.get("/studies", accept))[0] == 200
    for accept in ("text/html", 'multipart/related; type="application/dicom+xml"', "application/dicom+json;q=0"):
        assert (await served.get("/studies", accept))[0] == 406
    for accept in ("nonsense", "a/b; c", "x" * 5000, "application/dicom+json;q=many"):
        assert (await served.get("/studies", accept))[0] == 400


@pytest.mark.asyncio
async def test_before_edge_has_made_the_catalogue_the_answer_is_503(served: Web) -> None:
    path = served.box.layout.catalogue
    path.rename(path.with_suffix(".gone"))
    try:
        status, headers, body = await served.get("/studies")
        assert (status, headers["Retry-After"]) == (503, "30")
        assert b"catalogue" in body
    finally:
        path.with_suffix(".gone").rename(path)
    assert (await served.get("/studies"))[0] == 200


def test_a_limit_over_the_cap_keeps_its_offset() -> None:
    query = parse_query(Level.STUDY, [], [("limit", str(MOST + 1)), ("offset", "7")])
    assert (query.limit, query.offset) == (MOST + 1, 7)


def test_a_repeated_parameter_of_one_value_is_no_contradiction() -> None:
    query = parse_query(Level.STUDY, [("0020000D", "1.2")], [("StudyInstanceUID", "1.2")])
    assert query.matching == {"0020000D": "1.2"}
    with pytest.raises(BadRequest):
        parse_query(Level.STUDY, [("0020000D", "1.2")], [("StudyInstanceUID", "1.3")])
