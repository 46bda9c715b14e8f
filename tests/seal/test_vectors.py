"""Each vector opens or fails as its name says: `<kind>.<what has to happen>.<why>.der`."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from cloudsync.seal import part, signed
from cloudsync.seal.part import Kek, NotOurs, WrongKey
from cloudsync.seal.signed import BadSignature

VECTORS = Path(__file__).parents[1] / "vectors/seal"
PLACE = "k7q2abcdef/p/mzxw6ytbmzxw6ytbmzxw6ytbmz/000003"
DATA = b"A part is a slice of a tar."
ERRORS = {"not-ours": NotOurs, "wrong-key": WrongKey, "bad-signature": BadSignature}


def opened(kind: str, der: bytes) -> bytes:
    if kind == "part":
        return part.open_with_kek(der, PLACE, Kek(1, bytes.fromhex((VECTORS / "kek").read_text())))
    if kind == "recovery":
        key = load_pem_private_key((VECTORS / "recovery.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return part.open_with_recovery(der, PLACE, key)
    return signed.verify(der, load_pem_x509_certificate((VECTORS / "signing.pem").read_bytes()))


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.der")), ids=lambda path: path.stem)
def test_each_vector_does_what_its_name_says(path: Path) -> None:
    kind, outcome, why, _ = path.name.split(".")
    if outcome == "opens":
        assert opened(kind, path.read_bytes()) == (b"" if why == "empty" else DATA)
    else:
        with pytest.raises(ERRORS[outcome]) as caught:
            opened(kind, path.read_bytes())
        assert caught.type is ERRORS[outcome]


def test_there_is_a_vector_for_each_kind_and_outcome() -> None:
    seen = {tuple(path.name.split(".")[:2]) for path in VECTORS.glob("*.der")}
    assert seen == {
        *((kind, outcome) for kind in ("part", "recovery") for outcome in ("opens", "not-ours", "wrong-key")),
        *(("signed", outcome) for outcome in ("opens", "not-ours", "bad-signature")),
    }
