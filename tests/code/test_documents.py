"""docs/formats-archive-pack.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from edge.code.manifest import Manifest, Member, PartEntry, Pixels, read_head, write_head

TEXT = (Path(__file__).parents[2] / "docs/formats-archive-pack.md").read_text()


def test_the_example_is_a_manifest_that_the_reader_accepts() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    manifest = msgspec.json.decode(example, type=Manifest)
    heads = bytes(sum(member.head_length for member in manifest.members))
    assert read_head(write_head(manifest, heads)).manifest == manifest


def test_every_field_is_described() -> None:
    assert [field for kind in (Manifest, Member, PartEntry, Pixels) for field in kind.__struct_fields__ if f"`{field}`" not in TEXT] == []
