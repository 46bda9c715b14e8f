"""Each vector opens or fails as its name says: `<kind>.<what has to happen>.<why>.der`."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from cloudsync.seal import part, sharing, signed, sums
from cloudsync.seal.part import Kek, NotOurs, WrongKey
from cloudsync.seal.sharing import Sibling
from cloudsync.seal.signed import BadSignature
from edge.model import PackId

VECTORS = Path(__file__).parents[1] / "vectors/seal"
PLACE = "k7q2abcdef/p/mzxw6ytbmzxw6ytbmzxw6ytbmz/000003"
DATA = b"A part is a slice of a tar."
KEK = Kek(1, bytes.fromhex((VECTORS / "kek").read_text()))
ERRORS = {"not-ours": NotOurs, "not-named": NotOurs, "wrong-key": WrongKey, "bad-signature": BadSignature}


def open_with_kek(der: bytes, place: str = PLACE) -> bytes:
    return part.open_with_kek(der, place, KEK)


def private(name: str) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key((VECTORS / name).read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def opened(kind: str, der: bytes) -> bytes:
    if kind == "part":
        return open_with_kek(der)
    if kind == "named":
        text, (site, _, pack, number) = (VECTORS / "sums").read_bytes(), PLACE.split("/")
        named = sums.proven(text, sha256(text).hexdigest(), site, PackId(pack))
        return named.open(int(number), der, open_with_kek)
    if kind == "shared":
        sibling = Sibling(load_pem_x509_certificate((VECTORS / "sibling.pem").read_bytes()), private("sibling.key"))
        assert sharing.open_shared(der, PLACE.split("/", maxsplit=1)[0], sibling).keks == {1: KEK}
        return DATA
    if kind == "recovery":
        return part.open_with_recovery(der, PLACE, private("recovery.key"))
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
        *((kind, outcome) for kind in ("part", "recovery", "shared") for outcome in ("opens", "not-ours", "wrong-key")),
        *(("named", outcome) for outcome in ("opens", "not-named")),
        *(("signed", outcome) for outcome in ("opens", "not-ours", "bad-signature")),
    }
