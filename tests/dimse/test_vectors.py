"""The vectors of bad input over a connection; tests/rig/test_bad_input.py plays them against a whole edge."""

from __future__ import annotations

from tests.vectors.dimse.make import HERE, LARGEST_FILE, case_of, cases


def test_the_files_are_those_that_the_script_makes() -> None:
    files = {case.name: case.sent for case in map(case_of, HERE.glob("*.pdus"))}
    assert files == {case.name: case.sent for case in cases() if len(case.sent) <= LARGEST_FILE}
