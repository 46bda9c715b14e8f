"""Each vector of bad input is judged by the header walk as its name says: `<fate>.<why>.<context>.dataset`."""

from __future__ import annotations

import contextlib

import pytest

from edge.dataset.attributes import HEAD_CAP, describe, identify
from edge.dataset.walk import Malformed
from tests.vectors.dataset.make import HERE, LARGEST_FILE, Case, case_of, cases, instance_of, large

FILES = tuple(case_of(path) for path in sorted(HERE.glob("*.dataset")))


def test_the_files_are_those_that_the_script_makes() -> None:
    assert {case.name: case.data for case in FILES} == {case.name: case.data for case in cases() if len(case.data) <= LARGEST_FILE}


@pytest.mark.parametrize("case", (*FILES, *large()), ids=lambda case: case.name)
def test_each_vector_meets_its_fate(case: Case) -> None:
    assert fate_of(case) == case.fate


def fate_of(case: Case) -> str:
    """As intake judges it, once it is there whole."""
    description = describe(case.data, case.syntax, len(case.data))
    identity = description.identity
    if identity is None:
        with contextlib.suppress(Malformed):
            identity = identify(case.data[: HEAD_CAP + 1], case.syntax)
    if identity is None:
        return "aside"
    if identity.sop_instance != instance_of(case.why) or identity.sop_class != "1.2.840.10008.5.1.4.1.1.2":
        return "contradicts"
    return "flagged" if description.fault else "stored"
