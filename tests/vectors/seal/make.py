"""Makes the vectors of this folder anew: `python -m tests.vectors.seal.make`, from the top of the repository.

A vector's name is `<kind>.<what has to happen>.<why>.der`, where kind is `part` (by the KEK), `recovery` (by the recovery key), `named` (by
the KEK, if `sums` names it), `signed`, or `shared` (by the sibling's key). All parts are for PLACE; the keys are those of a throw-away
site, and lie here too.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives import keywrap
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding

from cloudsync.seal import keys, part, sharing, signed, sums
from cloudsync.seal.certificates import key_id, to_der
from cloudsync.seal.der import BIT_STRING, OCTET_STRING, SEQUENCE, SET, Reader, context, integer, oid, tlv
from cloudsync.seal.keys import Keys, private_pem
from cloudsync.seal.part import Kek
from cloudsync.seal.sharing import Sibling
from cloudsync.seal.sums import Sum, Sums
from edge.model import Digest, PackId
from tests.seal.forgery import forged

HERE = Path(__file__).parent
PLACE = "k7q2abcdef/p/mzxw6ytbmzxw6ytbmzxw6ytbmz/000003"
DATA = b"A part is a slice of a tar."
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
CONTENT_KEY = bytes(range(32))

WRAP = oid("2.16.840.1.101.3.4.1.45")
AGREE = oid("1.3.132.1.11.2")
CURVE = tlv(SEQUENCE, oid("1.2.840.10045.2.1"), oid("1.3.132.0.34"))


@dataclass(frozen=True, slots=True)
class Form:
    """A part put together by hand, right in all but what is changed."""

    keys: Keys
    recipients: tuple[bytes, ...]
    version: bytes = field(default_factory=lambda: integer(0))
    cipher: str = "2.16.840.1.101.3.4.1.46"
    nonce: bytes | None = None
    tag_bytes: int = 16
    tag_bytes_written: bytes | None = None
    attributes: bytes = b""
    place: str = PLACE
    pieces: bool = False
    """BER allows the ciphertext as a sequence of pieces."""

    def write(self) -> bytes:
        recipients = tlv(SET, *self.recipients)
        nonce = self.nonce or sha256(b"outpost part 1\0" + self.place.encode() + b"\0" + recipients).digest()[:12]
        sealed = AESGCM(CONTENT_KEY).encrypt(nonce, DATA, None)
        size = integer(self.tag_bytes) if self.tag_bytes_written is None else self.tag_bytes_written
        gcm = tlv(SEQUENCE, oid(self.cipher), tlv(SEQUENCE, tlv(OCTET_STRING, nonce), size))
        held = tlv(context(0, primitive=True), sealed[:-16])
        if self.pieces:
            held = tlv(context(0), tlv(OCTET_STRING, sealed[:9]), tlv(OCTET_STRING, sealed[9:-16]))
        content = tlv(SEQUENCE, oid("1.2.840.113549.1.7.1"), gcm, held)
        mac = tlv(OCTET_STRING, sealed[-16:][: self.tag_bytes])
        body = tlv(SEQUENCE, self.version, recipients, content, self.attributes, mac)
        return tlv(SEQUENCE, oid("1.2.840.113549.1.9.16.1.23"), tlv(context(0), body))


def kari(site: Keys, *, point: Callable[[bytes], bytes] = bytes, ukm: bytes = b"", identifier: bytes | None = None) -> bytes:
    made = part._agree(site.recovery, CONTENT_KEY)
    sender = tlv(context(1), CURVE, tlv(BIT_STRING, b"\0", point(made.point)))
    rid = tlv(context(0), tlv(OCTET_STRING, identifier or made.key_id))
    wrapped = tlv(SEQUENCE, tlv(SEQUENCE, rid, tlv(OCTET_STRING, made.wrapped)))
    return tlv(context(1), integer(3), tlv(context(0), sender), ukm, tlv(SEQUENCE, AGREE, tlv(SEQUENCE, WRAP)), wrapped)


def kekri(site: Keys, *, identifier: bytes = b"epoch 1", parameters: bytes = b"", key: bytes | None = None) -> bytes:
    wrapped = keywrap.aes_key_wrap(key or site.kek.key, CONTENT_KEY)
    named = tlv(SEQUENCE, tlv(OCTET_STRING, identifier))
    return tlv(context(2), integer(4), named, tlv(SEQUENCE, WRAP, parameters), tlv(OCTET_STRING, wrapped))


def by_kek(site: Keys, other: Keys) -> dict[str, bytes]:
    """Parts that are to be opened by the KEK of epoch 1."""
    both = (kari(site), kekri(site))
    whole = Form(site, both).write()
    length = len(whole) - 4
    return {
        "opens.by-hand": whole,
        "opens.by-seal": site.seal(PLACE, DATA),
        "opens.empty": site.seal(PLACE, b""),
        "not-ours.empty-file": b"",
        "not-ours.cut": whole[:-1],
        "not-ours.extended": whole + b"\0",
        "not-ours.content-flipped": whole[:-30] + bytes((whole[-30] ^ 1,)) + whole[-29:],
        "not-ours.tag-flipped": whole[:-1] + bytes((whole[-1] ^ 1,)),
        "not-ours.tag-of-one-byte": Form(site, both, tag_bytes=1).write(),
        "not-ours.tag-of-twelve-bytes": Form(site, both, tag_bytes=12).write(),
        "not-ours.tag-size-left-out": Form(site, both, tag_bytes=12, tag_bytes_written=b"").write(),
        "not-ours.tag-size-negative": Form(site, both, tag_bytes_written=bytes.fromhex("0201f0")).write(),
        "not-ours.other-place": Form(site, both, place=PLACE + ".1").write(),
        "not-ours.nonce-chosen": Form(site, both, nonce=bytes(12)).write(),
        "not-ours.nonce-of-sixteen-bytes": Form(site, both, nonce=bytes(16)).write(),
        "not-ours.cipher-aes-128": Form(site, both, cipher="2.16.840.1.101.3.4.1.6").write(),
        "not-ours.version-one": Form(site, both, version=integer(1)).write(),
        "not-ours.version-in-two-bytes": Form(site, both, version=bytes.fromhex("02020000")).write(),
        "not-ours.authenticated-attributes": Form(site, both, attributes=tlv(context(1))).write(),
        "not-ours.no-recipient": Form(site, ()).write(),
        "not-ours.kek-alone": Form(site, both[1:]).write(),
        "not-ours.recipients-in-other-order": Form(site, both[::-1]).write(),
        "not-ours.recipient-added": Form(site, (*both, kekri(other))).write(),
        "not-ours.recipient-replaced": whole.replace(both[0], kari(other)),
        "not-ours.user-keying-material": Form(site, (kari(site, ukm=tlv(context(1), tlv(OCTET_STRING, b"u"))), both[1])).write(),
        "not-ours.wrap-with-null-parameters": Form(site, (both[0], kekri(site, parameters=b"\5\0"))).write(),
        "not-ours.point-compressed": Form(site, (kari(site, point=lambda raw: bytes((2 + raw[-1] % 2,)) + raw[1:49]), both[1])).write(),
        "not-ours.key-identifier-of-21-bytes": Form(site, (kari(site, identifier=bytes(21)), both[1])).write(),
        "not-ours.epoch-with-leading-zero": Form(site, (both[0], kekri(site, identifier=b"epoch 01"))).write(),
        "not-ours.epoch-zero": Form(site, (both[0], kekri(site, identifier=b"epoch 0"))).write(),
        "not-ours.epoch-in-other-words": Form(site, (both[0], kekri(site, identifier=b"epoch one"))).write(),
        "not-ours.length-not-shortest": b"\x30\x83" + length.to_bytes(3, "big") + whole[4:],
        "not-ours.length-indefinite": b"\x30\x80" + whole[4:] + b"\0\0",
        "not-ours.length-enormous": b"\x30\x84\xff\xff\xff\xff" + whole[4:],
        "not-ours.content-in-pieces": Form(site, both, pieces=True).write(),
        "not-ours.text-for-paper": b"-----BEGIN CMS-----\n",
        "wrong-key.other-epoch": Form(site, (both[0], kekri(site, identifier=b"epoch 2"))).write(),
        "wrong-key.other-kek": Form(site, (both[0], kekri(other))).write(),
        "wrong-key.for-one-certificate": part.seal_for(PLACE, DATA, site.recovery),
    }


def by_recovery(site: Keys, other: Keys) -> dict[str, bytes]:
    """Parts that are to be opened by the recovery key."""
    off = kari(site, point=lambda raw: raw[:-1] + bytes((raw[-1] ^ 1,)))
    return {
        "opens.part": site.seal(PLACE, DATA),
        "opens.for-one-certificate": part.seal_for(PLACE, DATA, site.recovery),
        "not-ours.point-off-the-curve": Form(site, (off, kekri(site))).write(),
        "not-ours.point-at-infinity": Form(site, (kari(site, point=lambda raw: bytes(len(raw))), kekri(site))).write(),
        "not-ours.other-place": part.seal_for(PLACE + ".1", DATA, site.recovery),
        "wrong-key.other-certificate": other.seal(PLACE, DATA),
        "wrong-key.other-key-under-our-name": Form(site, (kari(other, identifier=key_id(site.recovery)), kekri(site))).write(),
    }


def by_sums(kek: Kek, sealed: bytes, again: bytes) -> dict[str, bytes]:
    """Parts of which `sums` names `sealed` alone. Each opens by the KEK: whoever may open a part can make others under its wrap."""
    return {
        "opens.by-seal": sealed,
        "not-named.other-content-under-the-same-content-key": forged(kek, sealed, DATA.upper()),
        "not-named.longer-content-under-the-same-content-key": forged(kek, sealed, DATA * 2),
        "not-named.no-content-under-the-same-content-key": forged(kek, sealed, b""),
        "not-named.the-same-data-sealed-again": again,
    }


def naming(sealed: bytes) -> bytes:
    """Sums whose object 3 is `sealed`."""
    site, _, pack, number = PLACE.split("/")
    others = tuple(Sum(each, each + 1, Digest(sha256(bytes(each + 1)).hexdigest())) for each in range(int(number)))
    return sums.write(Sums(site, PackId(pack), (*others, Sum(int(number), len(sealed), Digest(sha256(sealed).hexdigest())))))


def signed_texts(site: Keys, other: Keys) -> dict[str, bytes]:
    """Texts that the site's signing key is to have signed."""
    whole = signed.sign(DATA, site.signing_key, site.signing)
    content, signer, signature = signed._read(whole, PLACE)
    r, s = decode_dss_signature(signature)
    info = Reader(whole).enter(SEQUENCE)
    info.skip(oid("1.2.840.113549.1.7.2"))
    body = bytes(info.enter(context(0)).take(SEQUENCE))
    infos = body.rindex(tlv(SET, _signer_info(body)))
    certified = body[:infos] + tlv(context(0), to_der(site.signing)) + body[infos:]
    return {
        "opens.by-sign": whole,
        "not-ours.other-value-of-s": signed._write(content, signer, encode_dss_signature(r, P256_ORDER - s)),
        "not-ours.s-over-the-order": signed._write(content, signer, encode_dss_signature(r, s + P256_ORDER)),
        "not-ours.r-zero": signed._write(content, signer, encode_dss_signature(0, s)),
        "not-ours.signature-extended": signed._write(content, signer, signature + b"\0"),
        "not-ours.certificate-inside": tlv(SEQUENCE, oid("1.2.840.113549.1.7.2"), tlv(context(0), tlv(SEQUENCE, certified))),
        "not-ours.extended": whole + b"\0",
        "bad-signature.other-content": signed._write(content + b".", signer, signature),
        "bad-signature.other-signer": signed.sign(DATA, other.signing_key, other.signing),
        "bad-signature.other-key-under-our-name": signed.sign(DATA, other.signing_key, site.signing),
    }


def shares(site: Keys, other: Keys, sibling: Sibling, stranger: Sibling) -> dict[str, bytes]:
    """What the site is to have shared with the sibling."""
    place, kek = sharing.place(site.site_id, sibling.certificate), "11" * 32

    def text(keks: dict[str, str], **fields: object) -> bytes:
        whole = {"format": 1, "site": site.site_id, "trust_root": site.trust_root, "keks": keks} | fields
        return part.seal_for(place, json.dumps(whole).encode(), sibling.certificate)

    return {
        "opens.by-share": sharing.share(site, sibling.certificate),
        "opens.by-hand": text({"1": site.kek.key.hex()}),
        "not-ours.of-another-site": sharing.share(other, sibling.certificate),
        "not-ours.for-the-place-of-another-sibling": part.seal_for(place + "0", DATA, sibling.certificate),
        "not-ours.another-site-inside": text({"1": kek}, site=other.site_id),
        "not-ours.newer-format": text({"1": kek}, format=2),
        "not-ours.unheard-of-field": text({"1": kek}, signing_key="none"),
        "not-ours.no-trust-root": text({"1": kek}, trust_root="root"),
        "not-ours.no-key": text({}),
        "not-ours.first-epoch-missing": text({"2": kek}),
        "not-ours.epoch-twice": text({"1": kek, "01": kek}),
        "not-ours.epoch-in-words": text({"one": kek}),
        "not-ours.key-cut": text({"1": kek[:-2]}),
        "not-ours.no-text": part.seal_for(place, DATA, sibling.certificate),
        "wrong-key.for-another-certificate": part.seal_for(place, DATA, stranger.certificate),
    }


def _signer_info(body: bytes) -> bytes:
    """The contents of the last SET of a SignedData."""
    reader = Reader(body)
    reader.skip(integer(3))
    reader.take(SET)
    reader.take(SEQUENCE)
    return bytes(reader.take(SET))


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        site, recovery = keys.make(Path(directory) / "site", "k7q2abcdef", now=1_767_225_600.0)
        other, _ = keys.make(Path(directory) / "other", now=1_767_225_600.0)
        sibling, stranger = (sharing.make(Path(directory) / each, other.site_id, now=1_767_225_600.0) for each in ("other", "site"))
    for old in HERE.glob("*.der"):
        old.unlink()
    (HERE / "kek").write_text(site.kek.key.hex() + "\n")
    (HERE / "recovery.key").write_bytes(private_pem(recovery.private))
    (HERE / "signing.pem").write_bytes(site.signing.public_bytes(Encoding.PEM))
    for kind, vectors in (("part", by_kek), ("recovery", by_recovery), ("signed", signed_texts)):
        for name, der in vectors(site, other).items():
            (HERE / f"{kind}.{name}.der").write_bytes(der)
    (HERE / "sibling.key").write_bytes(private_pem(sibling.private))
    (HERE / "sibling.pem").write_bytes(sibling.certificate.public_bytes(Encoding.PEM))
    for name, der in shares(site, other, sibling, stranger).items():
        (HERE / f"shared.{name}.der").write_bytes(der)
    write_named(site.kek, site.seal(PLACE, DATA), site.seal(PLACE, DATA))


def write_named(kek: Kek, sealed: bytes, again: bytes) -> None:
    (HERE / "sums").write_bytes(naming(sealed))
    for name, der in by_sums(kek, sealed, again).items():
        (HERE / f"named.{name}.der").write_bytes(der)


if __name__ == "__main__":
    main()
