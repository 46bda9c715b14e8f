"""Each vector of tests/vectors/catalog does what its name says."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from cryptography.x509 import load_pem_x509_certificate

from cloudsync import merge
from cloudsync.catalog import BadSignature, BrokenChain, CatalogChain, ChainState, Entry, NewerFormat, SiteStateEntry
from cloudsync.seal import part
from cloudsync.seal.certificates import fingerprint, to_der
from cloudsync.seal.part import Kek, NotOurs
from cloudsync.span import Span
from edge.errors import OutpostError

HERE = Path(__file__).parent.parent / "vectors/catalog"
SITE = "k7q2abcdef"
SIGNING = load_pem_x509_certificate((HERE / "signing.pem").read_bytes())
KEK = Kek(1, bytes.fromhex((HERE / "kek").read_text()))
ENTRIES = [msgspec.json.decode(line, type=Entry) for line in (HERE / "entries.jsonl").read_bytes().splitlines()]
ERRORS: dict[str, type[OutpostError]] = {
    "not-ours": NotOurs,
    "bad-signature": BadSignature,
    "broken-chain": BrokenChain,
    "newer-format": NewerFormat,
}
CHAIN = CatalogChain(SITE, fingerprint(SIGNING), lambda sealed, place: part.open_with_kek(sealed, place, KEK))


@pytest.mark.parametrize("vector", [pytest.param(path, id=path.stem) for path in sorted(HERE.glob("*.der"))])
def test_a_vector_does_what_its_name_says(vector: Path) -> None:
    kind, happens, _ = vector.stem.split(".")
    span = {"segment": Span(0, 1), "merge": Span(1, 1)}[kind]
    reading = CHAIN.at(ChainState(99, signer=to_der(SIGNING)))
    if happens != "opens":
        with pytest.raises(ERRORS[happens], match=span.name(SITE)) as raised:
            merge.read(reading, span, vector.read_bytes()).entries(SITE)
        assert type(raised.value) is ERRORS[happens]
    elif kind == "segment":
        assert CHAIN.follow(vector.read_bytes()).entries == tuple(ENTRIES[:1])
    else:
        last = [entry for entry in ENTRIES if isinstance(entry, SiteStateEntry)][-1]
        wanted = [entry for entry in ENTRIES if not isinstance(entry, SiteStateEntry) or entry == last]
        assert merge.read(reading, span, vector.read_bytes()).entries(SITE) == tuple(wanted)
