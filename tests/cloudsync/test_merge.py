"""A merge says what its parts say, in their place in the chain; anything else at its name is refused by name."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import pytest

from cloudsync import merge, segment
from cloudsync.catalog import BadSignature, BrokenChain, CatalogChain, ChainState, Entry, NewerFormat, Tombstone, epoch_entry, shared_entry
from cloudsync.merge import Piece
from cloudsync.seal import keys, sharing, signed
from cloudsync.seal.certificates import to_der
from cloudsync.seal.part import Kek, NotOurs, WrongKey
from cloudsync.segment import Header, SiteStateEntry
from cloudsync.span import Span
from tests.cloudsync.test_catalog import NOW, STATE, Site, held
from tests.seal.mutation import mutations

SPAN = Span(1, 1)


@dataclass(frozen=True, slots=True)
class Written:
    """A site, what its first 32 segments say, and these."""

    site: Site
    entries: list[Entry]
    segments: list[bytes]

    @property
    def chain(self) -> CatalogChain:
        """As whoever reads a merge has it: behind some segment whose signer counts."""
        return self.site.chain.at(ChainState(99, signer=to_der(self.site.keys.signing)))

    @property
    def pieces(self) -> list[Piece]:
        return [merge.read(self.chain, Span(0, number), sealed) for number, sealed in enumerate(self.segments, 1)]

    @property
    def merged(self) -> Piece:
        return merge.merged(SPAN, self.pieces, self.site.keys.site_id)

    @property
    def name(self) -> str:
        return SPAN.name(self.site.keys.site_id)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    place = tmp_path_factory.mktemp("site")
    site = Site(*keys.make(place / "keys", now=NOW))
    packs = [held(number) for number in range(32)]
    said: list[list[Entry]] = [[pack, state(number)] for number, pack in enumerate(packs, 1)]
    said[0].insert(0, epoch_entry(site.keys, NOW))
    said[4].append(shared_entry(site.keys, sharing.make(place, "k7q2abcdef", now=NOW).certificate, NOW))
    said[5].append(msgspec.structs.replace(held(100), replaces=packs[0].pack))
    said[9].append(Tombstone(pack=packs[1].pack, at=NOW, reason="kept long enough", law="a law", by="somebody"))
    return Written(site, [entry for entries in said for entry in entries], chained(site, said))


def state(number: int) -> SiteStateEntry:
    return msgspec.structs.replace(STATE, number=number)


def chained(site: Site, said: Sequence[Sequence[Entry]]) -> list[bytes]:
    chain, sealed = site.chain, []
    for entries in said:
        made = chain.append(site.keys, entries)
        chain = chain.at(made.state)
        sealed.append(made.sealed)
    return sealed


def test_a_merge_says_what_its_parts_say_but_for_copies_of_site_state_that_a_later_one_replaces(written: Written) -> None:
    found = merge.read(written.chain, SPAN, merge.write(written.site.keys, written.merged))
    wanted = [entry for entry in written.entries if not isinstance(entry, SiteStateEntry) or entry == state(32)]
    assert list(found.entries(written.site.keys.site_id)) == wanted
    assert (found.previous, found.tip) == ("0" * 64, written.pieces[-1].tip)


def test_merges_of_merges_say_what_a_merge_of_all_would(written: Written) -> None:
    """What is left out by one level is left out by the next one in the same way."""
    piece, pieces = written.merged, []
    for span in Span(2, 1).parts:
        pieces.append(replace(piece, span=span, previous=pieces[-1].tip if pieces else piece.previous))
    found = merge.merged(Span(2, 1), pieces, written.site.keys.site_id)
    everything = [line for each in pieces for line in each.lines if b'"site-state"' not in line]
    assert list(found.lines) == [*everything, msgspec.json.encode(state(32))]


def test_the_kit_reads_a_merge(written: Written) -> None:
    sealed = merge.write(written.site.keys, written.merged)
    assert merge.read(replace(written.chain, opener=written.site.recovery.open), SPAN, sealed) == written.merged


def test_a_merge_is_sealed_under_the_keys_that_are_given(written: Written) -> None:
    """So whose access was revoked reads none that is written later, and none is lost to who has the newest keys."""
    second = replace(written.site.keys, epoch=2, keks={**written.site.keys.keks, 2: Kek(2, bytes(32))})
    sealed = merge.write(second, written.merged)
    assert merge.read(replace(written.chain, opener=second.open), SPAN, sealed) == written.merged
    with pytest.raises(WrongKey, match=r"c/1/000000000001 is sealed under epoch 2"):
        merge.read(written.chain, SPAN, sealed)


def test_a_merge_costs_at_most_300_bytes_for_a_held_entry(written: Written) -> None:
    lines = tuple(msgspec.json.encode(held(number)) for number in range(640))
    assert len(merge.write(written.site.keys, replace(written.merged, lines=lines))) / 640 <= 300


def test_parts_that_do_not_follow_each_other_are_not_merged(written: Written) -> None:
    pieces = written.pieces
    with pytest.raises(BrokenChain, match=r"c/0/000000000008 does not follow .*c/0/000000000007"):
        merge.merged(SPAN, [*pieces[:7], replace(pieces[7], previous=pieces[3].tip), *pieces[8:]], written.site.keys.site_id)
    for wrong in (pieces[:-1], [*pieces[1:], pieces[0]]):
        with pytest.raises(ValueError, match="not the parts"):
            merge.merged(SPAN, wrong, written.site.keys.site_id)


def test_another_part_than_the_ledger_knows_is_named(written: Written) -> None:
    with pytest.raises(BrokenChain, match=r"c/0/000000000003 was replaced"):
        merge.read(written.chain, Span(0, 3), written.segments[2], written.pieces[3].tip)


def sealed_as(written: Written, header: Header) -> bytes:
    content = segment.write_lines(header, written.merged.lines)
    return written.site.keys.seal(written.name, signed.sign(content, written.site.keys.signing_key, written.site.keys.signing))


def test_a_merge_that_says_another_place_or_no_end_is_refused_by_name(written: Written) -> None:
    site, tip = written.site.keys.site_id, written.merged.tip
    for header in (
        Header(5, site, 1, 33, "0" * 64, tip),
        Header(5, site, 2, 1, "0" * 64, tip),
        Header(5, "a" * 10, 1, 1, "0" * 64, tip),
        Header(5, site, 1, 1, "0" * 64, "0" * 63),
        Header(5, site, 1, 1, "nothing", tip),
        Header(5, site, 1, 1, "0" * 64),
        Header(5, site, 0, 1, "0" * 64, tip),
    ):
        with pytest.raises(NotOurs, match=written.name):
            merge.read(written.chain, SPAN, sealed_as(written, header))
    with pytest.raises(NewerFormat, match=written.name):
        merge.read(written.chain, SPAN, sealed_as(written, Header(6, site, 1, 1, "0" * 64, tip)))


def test_a_segment_at_the_place_of_a_merge_or_of_another_segment_is_refused(written: Written) -> None:
    merged = merge.write(written.site.keys, written.merged)
    for span, sealed in ((SPAN, written.segments[0]), (Span(0, 1), merged), (Span(1, 33), merged), (Span(0, 2), written.segments[0])):
        with pytest.raises(NotOurs, match="another place"):
            merge.read(written.chain, span, sealed)


def test_a_merge_signed_by_another_key_is_refused(written: Written, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whoever was given the keys for reading can seal; only the box signs."""
    other, _ = keys.make(tmp_path_factory.mktemp("other"), now=NOW)
    forger = replace(written.site.keys, signing_key=other.signing_key)
    for forged in (forger, replace(forger, signing=other.signing)):
        with pytest.raises(BadSignature, match=written.name):
            merge.read(written.chain, SPAN, merge.write(forged, written.merged))


def test_none_of_hundreds_of_mutations_is_read(written: Written) -> None:
    """Behind the seal as well: the signature does not rest on the sealing key."""
    dice = random.Random(1)
    sealed = merge.write(written.site.keys, replace(written.merged, lines=written.merged.lines[:3]))
    opened = written.site.keys.open(sealed, written.name)
    for mutated in mutations(sealed, 300, dice.getrandbits(32)):
        with pytest.raises(NotOurs):
            merge.read(written.chain, SPAN, mutated)
    for mutated in mutations(opened, 300, dice.getrandbits(32)):
        with pytest.raises(NotOurs):
            merge.read(written.chain, SPAN, written.site.keys.seal(written.name, mutated))
