"""Makes the vectors of this folder anew: `python -m tests.vectors.catalog.make`, from the top of the repository.

A vector's name is `<kind>.<what has to happen>.<why>.der`: `segment` lies at the place of the first segment of SITE, `merge` at that of the
first merge. The keys are those of a throw-away site, and lie here too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding

from cloudsync import merge, segment
from cloudsync.catalog import GENESIS, CatalogChain, ChainState, Entry, Tombstone, epoch_entry
from cloudsync.seal import keys as seal_keys
from cloudsync.seal import signed
from cloudsync.seal.certificates import to_der
from cloudsync.seal.keys import Keys
from cloudsync.segment import Header, Held, SiteStateEntry
from cloudsync.span import Span

HERE = Path(__file__).parent
SITE = "k7q2abcdef"
NOW = 1_767_225_600.0
MERGE = Span(1, 1)


def said(keys: Keys) -> list[list[Entry]]:
    """The entries of 32 segments."""
    entries: list[list[Entry]] = [[epoch_entry(keys, NOW)], *([held(number)] for number in range(1, 32))]
    entries[3].append(state(1))
    entries[7].append(Tombstone(pack=held(2).pack, at=NOW + 8, reason="kept long enough", law="a law", by="somebody"))
    entries[11].append(state(2))
    return entries


def held(number: int) -> Held:
    return Held(
        pack=f"{'mzxw6ytb' * 3}{'abcdefghijklmnopqrstuvwxyz234567'[number]}a",
        held_at=NOW + number,
        instances=number,
        raw_bytes=1000 * number,
        sealed_bytes=500 * number,
        sha256=f"{number:064x}",
        study={"0020000D": {"vr": "UI", "Value": [f"2.25.{number}"]}},
        series=[],
        objects=2,
        head="000000",
        head_digest="1" * 64,
        sums_digest="2" * 64,
    )


def state(number: int) -> SiteStateEntry:
    return SiteStateEntry(number=number, at=NOW, bytes=1, digest="3" * 64, sealed_bytes=1, sealed_digest="4" * 64)


def main() -> None:
    for old in HERE.glob("*.der"):
        old.unlink()
    with tempfile.TemporaryDirectory() as scratch:
        keys, _ = seal_keys.make(Path(scratch) / "keys", SITE, now=NOW)
        other, _ = seal_keys.make(Path(scratch) / "other", SITE, now=NOW)
    (HERE / "kek").write_text(keys.kek.key.hex() + "\n")
    (HERE / "signing.pem").write_bytes(keys.signing.public_bytes(Encoding.PEM))
    everything = said(keys)
    (HERE / "entries.jsonl").write_bytes(b"".join(msgspec.json.encode(entry) + b"\n" for entries in everything for entry in entries))
    chain = CatalogChain(SITE, keys.trust_root, keys.open)
    segments: list[bytes] = []
    for entries in everything:
        made = chain.append(keys, entries)
        chain = chain.at(made.state)
        segments.append(made.sealed)
    reading = chain.at(ChainState(99, signer=to_der(keys.signing)))
    piece = merge.merged(MERGE, [merge.read(reading, Span(0, number), data) for number, data in enumerate(segments, 1)], SITE)
    merged = merge.write(keys, piece)
    place = MERGE.name(SITE)

    def put(name: str, data: bytes) -> None:
        (HERE / f"{name}.der").write_bytes(data)

    def put_as(name: str, header: Header, lines: Sequence[bytes] = piece.lines) -> None:
        content = segment.write_lines(header, lines)
        put(name, keys.seal(place, signed.sign(content, keys.signing_key, keys.signing)))

    right = Header(segment.FORMAT, SITE, 1, 1, GENESIS, piece.tip)
    put("segment.opens.by-append", segments[0])
    put("merge.opens.by-write", merged)
    put_as("merge.opens.by-hand", right)
    put_as("merge.newer-format.format-6", msgspec.structs.replace(right, format=segment.FORMAT + 1))
    put_as("merge.broken-chain.says-another-level", msgspec.structs.replace(right, level=2))
    put_as("merge.broken-chain.says-another-first", msgspec.structs.replace(right, first=33))
    put_as("merge.broken-chain.says-another-site", msgspec.structs.replace(right, site="a" * 10))
    put_as("merge.broken-chain.without-a-tip", msgspec.structs.replace(right, tip=""))
    put_as("merge.broken-chain.tip-cut", msgspec.structs.replace(right, tip=piece.tip[:-1]))
    put_as("merge.broken-chain.previous-in-capitals", msgspec.structs.replace(right, previous="A" * 64))
    put_as("merge.not-ours.segment-with-a-tip", msgspec.structs.replace(right, level=0))
    put_as("merge.not-ours.line-of-no-kind", right, [*piece.lines, b'{"kind":"announced"}'])
    put("merge.not-ours.for-another-place", segments[0])
    put("merge.not-ours.cut", merged[:-1])
    put("merge.bad-signature.other-key-under-our-name", merge.write(replace(keys, signing_key=other.signing_key), piece))
    put("merge.bad-signature.other-signer", merge.write(replace(keys, signing_key=other.signing_key, signing=other.signing), piece))


if __name__ == "__main__":
    main()
