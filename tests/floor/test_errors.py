"""edge.errors and edge.clock: what an operator reads, and what scripts can rely on."""

from __future__ import annotations

import time

import pytest

from edge import errors
from edge.clock import SystemClock, utc
from edge.errors import ConfigError, OutpostError

EXIT_CODES = {
    "OutpostError": 1,
    "Transient": 75,
    "BrokenOff": 75,
    "Permanent": 1,
    "Corrupt": 65,
    "Refused": 77,
    "Unknown": 66,
    "StoreFull": 75,
    "Exhausted": 75,
    "StoreFailed": 70,
    "AlreadyRunning": 3,
    "ConfigError": 78,
}
ALL = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, OutpostError)]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_each_error_has_its_stable_exit_code_and_a_sentence_for_the_operator(kind: type[OutpostError]) -> None:
    assert kind.exit_code == EXIT_CODES[kind.__name__]
    assert kind.__doc__
    sentence = " ".join(kind.__doc__.split())
    assert sentence.endswith(".")
    if kind is not ConfigError:
        assert str(kind()) == sentence
        assert str(kind("What happened.")) == "What happened."


def test_an_error_of_the_configuration_names_key_fault_and_cure() -> None:
    fault = ConfigError("dicom.port", "70000 is no port", "Use a number from 1 to 65535.")
    assert (fault.key, str(fault)) == ("dicom.port", "dicom.port: 70000 is no port. Use a number from 1 to 65535.")


def test_a_stamp_is_read_in_utc_to_the_second() -> None:
    assert utc(0) == "1970-01-01T00:00:00Z"
    assert utc(1_769_860_800.9) == "2026-01-31T12:00:00Z"


def test_the_clock_is_the_one_of_this_machine() -> None:
    clock = SystemClock()
    before, monotonic = time.time(), time.monotonic()
    assert before <= clock.now() <= time.time()
    assert monotonic <= clock.monotonic() <= time.monotonic()
