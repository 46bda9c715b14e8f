"""What is read over DICOMweb is in edge's audit trail before anybody gets to see it."""

from __future__ import annotations

import pytest

from edge.audit import AuditFull
from edge.control import lines
from edge.control.access import NoteAccess
from tests.web.box import ANY, CT, CT_STUDY, Web, stored


def _note(service: str, study: str, keys: list[str] | None = None) -> NoteAccess:
    return NoteAccess(service=service, address="127.0.0.1", study=study, keys=keys or [])


@pytest.mark.asyncio
async def test_a_search_is_told_each_time_with_its_keys_and_without_their_values(served: Web) -> None:
    for _ in range(2):
        assert (await served.get("/studies?PatientName=A*&StudyDate=20040101-"))[0] == 200
    assert served.edge.seen == [_note("QIDO-RS", "", ["00080020", "00100010"])] * 2


@pytest.mark.asyncio
async def test_a_study_that_is_read_on_is_told_once(served: Web) -> None:
    _, path = await stored(served, CT)
    served.edge.seen.clear()
    for resource in ("/metadata", "/frames/1", "/bulkdata/7FE00010"):
        assert (await served.get(path + resource))[0] == 200
    assert (await served.get(path, ANY))[0] == 200
    assert served.edge.seen == [_note("WADO-RS", CT_STUDY)]


@pytest.mark.asyncio
@pytest.mark.parametrize("resource", ["/studies", f"/studies/{CT_STUDY}", f"/studies/{CT_STUDY}/metadata"])
async def test_nothing_is_shown_while_the_trail_cannot_be_written(served: Web, resource: str) -> None:
    await stored(served, CT)
    served.edge.blind = lines.failed(AuditFull())
    status, headers, body = await served.get(resource)
    assert (status, headers["Retry-After"]) == (503, "30")
    assert body.decode().startswith("The audit trail cannot be written")
    served.edge.blind = None
    assert (await served.get(resource))[0] == 200


@pytest.mark.asyncio
async def test_what_was_refused_to_be_kept_is_told_again(served: Web) -> None:
    _, path = await stored(served, CT)
    served.edge.blind = lines.failed(AuditFull())
    assert (await served.get(path, ANY))[0] == 503
    served.edge.blind = None
    served.edge.seen.clear()
    assert (await served.get(path, ANY))[0] == 200
    assert served.edge.seen == [_note("WADO-RS", CT_STUDY)]
