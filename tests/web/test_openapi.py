"""The description of the web services, against the table of rights and against the services themselves."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from edge.web.rights import ROUTES, Right
from tests.servers import ROOT
from tests.web.box import CT, MULTIFRAME, REPORT, Web, sample

DESCRIPTION = Path(ROOT) / "edge/web/static/openapi.json"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,unsupported_method"


def test_each_route_is_described_with_the_right_that_it_needs() -> None:
    described = {
        (method.upper(), template): operation
        for template, operations in json.loads(DESCRIPTION.read_text())["paths"].items()
        for method, operation in operations.items()
    }
    assert described.keys() == ROUTES.keys()
    assert {route for route, operation in described.items() if operation.get("security") == []} == {
        route for route, right in ROUTES.items() if right is Right.NONE
    }


@pytest.mark.asyncio
async def test_the_services_answer_whatever_is_generated_from_their_description_as_it_says(
    served: Web, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edge.web.guard")
    real = []
    for name in (CT, MULTIFRAME, REPORT):
        data = sample(name)
        assert served.box.take(data) == "stored"
        header = pydicom.dcmread(BytesIO(data), stop_before_pixels=True)
        real.append([header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID])
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{served.address}/static/openapi.json"),
        *("--header", f"Authorization: Bearer {served.token}", "--checks", CHECKS, "--phases", "coverage,fuzzing"),
        *("--max-examples", "15", "--seed", "7", "--no-color", "--generation-database", "none"),
        *("--request-timeout", "60", "--suppress-health-check", "too_slow"),  # a loaded machine is no fault of the services
    ]
    environment = os.environ | {
        "OUTPOST_REAL_INSTANCES": json.dumps(real),
        "SCHEMATHESIS_HOOKS": "tests.web.generating",
        "PYTHONPATH": str(ROOT),
    }
    process = await asyncio.create_subprocess_exec(
        *command, cwd=tmp_path, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output[-6000:]
    reached = {record.__dict__["route"] for record in caplog.records if record.msg == "request" and record.__dict__["status"] == 200}
    assert not [template for _, template in ROUTES if template not in reached]
