"""A sibling that was given a site's keys follows its catalog, and opens what it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudsync import segment
from cloudsync.catalog import CatalogChain, Entry, Held, SharedEntry, epoch_entry, shared_entry
from cloudsync.seal import keys, sharing
from cloudsync.seal.certificates import to_der
from edge.model import new_pack_id

NOW = 1_767_225_600.0


def held(replaces: str = "") -> Held:
    return Held(
        pack=new_pack_id(),
        held_at=NOW,
        instances=1,
        raw_bytes=1,
        sealed_bytes=1,
        sha256="0" * 64,
        study={},
        series=[],
        objects=1,
        head="000000",
        head_digest="1" * 64,
        sums_digest="2" * 64,
        replaces=replaces,
    )


@pytest.fixture
def clinic(tmp_path: Path) -> keys.Keys:
    made, _ = keys.make(tmp_path / "clinic", now=NOW)
    return made


@pytest.fixture
def hub(tmp_path: Path) -> sharing.Sibling:
    (tmp_path / "hub").mkdir()
    return sharing.make(tmp_path / "hub", "k7q2abcdef", now=NOW)


def test_a_sibling_follows_the_catalog_with_what_was_shared_alone(clinic: keys.Keys, hub: sharing.Sibling) -> None:
    said: list[Entry] = [epoch_entry(clinic, NOW), held(), shared_entry(clinic, hub.certificate, NOW), held()]
    shared = sharing.open_shared(sharing.share(clinic, hub.certificate), clinic.site_id, hub)
    writing = CatalogChain(clinic.site_id, clinic.trust_root, clinic.open)
    reading = CatalogChain(shared.site_id, shared.trust_root, shared.open)
    heard: list[Entry] = []
    for entry in said:
        made = writing.append(clinic, [entry])
        followed = reading.follow(made.sealed)
        heard += followed.entries
        writing, reading = writing.at(made.state), reading.at(followed.state)
    assert heard == said
    entry = next(each for each in heard if isinstance(each, SharedEntry))
    assert (entry.epoch, entry.sibling) == (1, to_der(hub.certificate))
    assert sharing.open_shared(entry.sealed, clinic.site_id, hub) == shared


def test_a_segment_has_the_lowest_format_that_says_what_it_says(clinic: keys.Keys, hub: sharing.Sibling) -> None:
    replacing, sharing_it = held(new_pack_id()), shared_entry(clinic, hub.certificate, NOW)
    assert [segment.format_of(entries) for entries in ((), (held(),), (replacing,), (replacing, sharing_it, held()))] == [1, 1, 2, 3]
