"""The sample configuration is the documentation of the settings: each key is there, with its default."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec

from edge.config import Config, parse

SAMPLE = (Path(__file__).parents[2] / "systemd/outpost.toml").read_text()


def test_the_sample_parses_to_the_defaults() -> None:
    assert parse(SAMPLE) == Config()


def test_the_sample_names_every_setting_and_no_other() -> None:
    assert tomllib.loads(SAMPLE) == msgspec.to_builtins(Config())


def test_each_section_of_the_sample_is_explained() -> None:
    for section in re.split(r"^\[", SAMPLE, flags=re.MULTILINE)[1:]:
        assert "\n# " in section, section
