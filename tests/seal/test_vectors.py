"""Each vector opens or fails as its name says: `<kind>.<what has to happen>.<why>.der`."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from cloudsync.seal import part, signed, sums
from cloudsync.seal.part import Kek, NotOurs, WrongKey
from cloudsync.seal.signed import BadSignature
from edge.model import PackId

VECTORS = Path(__file__).parents[1] / "vectors/seal"
PLACE = "k7q2abcdef/p/mzxw6ytbmzxw6ytbmzxw6ytbmz/000003"
DATA = b"A part is a slice of a tar."
ERRORS = {"not-ours": NotOurs, "not-named": NotOurs, "wrong-key": WrongKey, "bad-signature": BadSignature}


def open_with_kek(der: bytes, place: str = PLACE) -> bytes:
    return part.open_with_kek(der, place, Kek(1, bytes.fromhex((VECTORS / "kek").read_text())))


def opened(kind: str, der: bytes) -> bytes:
    if kind == "part":
        return open_with_kek(der)
    if kind == "named":
        text, (site, _, pack, number) = (VECTORS / "sums").read_bytes(), PLACE.split("/")
        named = sums.proven(text, sha256(text).hexdigest(), site, PackId(pack))
        return named.open(int(number), der, open_with_kek)
    if kind == "recovery":
        key = load_pem_private_key((VECTORS / "recovery.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return part.open_with_recovery(der, PLACE, key)
    return signed.verify(der, load_pem_x509_certificate((VECTORS / "signing.pem").read_bytes()), PLACE)


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.der")), ids=lambda path: path.stem)
def test_each_vector_does_what_its_name_says(path: Path) -> None:
    kind, outcome, why, _ = path.name.split(".")
    if outcome == "opens":
        assert opened(kind, path.read_bytes()) == (b"" if why == "empty" else DATA)
    else:
        with pytest.raises(ERRORS[outcome]) as caught:
            opened(kind, path.read_bytes())
        assert caught.type is ERRORS[outcome]


def test_the_key_alone_opens_what_the_sums_do_not_name() -> None:
    forgeries = sorted(VECTORS.glob("named.not-named.*.der"))
    assert len({open_with_kek(path.read_bytes()) for path in forgeries}) == len(forgeries) == 4
    for path in forgeries:
        with pytest.raises(NotOurs, match=rf"^{PLACE} .*the sums say"):
            opened("named", path.read_bytes())


def test_there_is_a_vector_for_each_kind_and_outcome() -> None:
    seen = {tuple(path.name.split(".")[:2]) for path in VECTORS.glob("*.der")}
    assert seen == {
        *((kind, outcome) for kind in ("part", "recovery") for outcome in ("opens", "not-ours", "wrong-key")),
        *(("named", outcome) for outcome in ("opens", "not-named")),
        *(("signed", outcome) for outcome in ("opens", "not-ours", "bad-signature")),
    }
