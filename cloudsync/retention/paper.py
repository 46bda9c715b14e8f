"""What retention writes down: the plan for review, and the list of packs that may be deleted. Each is one CMS SignedData by the site's key,
its content a zstd frame of JSON, its file mode 0600.

By hand: openssl cms -verify -inform DER -in FILE -certfile signing.pem -nointern -noverify -binary | zstd -d
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
import zstandard
from cryptography.x509 import load_der_x509_certificate

from cloudsync.seal import signed
from cloudsync.seal.certificates import to_der
from cloudsync.seal.keys import Keys, is_site_id
from cloudsync.seal.part import NotOurs
from cloudsync.seal.signed import BadSignature
from edge.durable import write_whole
from edge.errors import ConfigError, Unknown
from edge.model import Digest, parse_pack_id

_MAX_BYTES = 256 << 20


class _Paper(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    site: str
    signing: bytes
    """The signing certificate, DER; it counts if its SHA-256 is the one that the reader trusts."""
    at: str
    """UTC."""
    by: str
    """Who is responsible for it."""
    law: str
    reason: str


class PlannedPack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A holding."""

    pack: str
    """Its id in the archive: what the tombstone names."""
    copies: list[str]
    """All ids under which the archive may have something of it, that one last: damaged copies that it replaced come before."""


class PlannedStudy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A study that is due, with all of its packs. No name and no birth date: the Study Instance UID says which one it is."""

    study: str
    date: str
    """ISO 8601: from which its years are counted."""
    dated: bool
    """Whether that is its own Study Date; else the day when it came into the archive."""
    kept_until: str
    modalities: list[str]
    instances: int
    bytes: int
    """In the archive."""
    packs: list[PlannedPack]


class Plan(_Paper, frozen=True, kw_only=True, tag_field="kind", tag="outpost-retention-plan-1"):
    """Studies whose time is over by a rule. It changes nothing until it is approved."""

    rule: str
    """In words."""
    studies: list[PlannedStudy]


class Deletions(_Paper, frozen=True, kw_only=True, tag_field="kind", tag="outpost-retention-list-1"):
    """Packs whose tombstones the archive has: their objects may be deleted. Names no study and no person."""

    planned_by: str
    sequence: int
    """Of the archive's catalog, which had them all by then."""
    packs: list[str]
    """Ids in the archive."""


P = TypeVar("P", Plan, Deletions)


def write(path: Path, paper: Plan | Deletions, keys: Keys) -> None:
    """Sign it, and put it whole in its place, mode 0600. Raises ConfigError when there is something already, or no place for it."""
    content = zstandard.ZstdCompressor(level=12).compress(msgspec.json.format(msgspec.json.encode(paper)) + b"\n")
    if path.exists():
        raise ConfigError("--out", f"{path} is there already", "Name a file that is not.")
    try:
        write_whole(path, signed.sign(content, keys.signing_key, keys.signing), 0o600)
    except OSError as fault:
        raise ConfigError("--out", f"{path}: {fault.strerror}", "Name a file that this user can write.") from fault


def read(path: Path, kind: type[P], trusted: Digest) -> P:
    """What `write` wrote, signed by the certificate that has this SHA-256. Raises NotOurs for anything else, BadSignature, and Unknown."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as fault:
        raise Unknown(f"{path} cannot be read ({fault.strerror}). Name the file that `outpost retention` wrote.") from fault
    name = os.fspath(path)
    if len(data) > _MAX_BYTES:
        raise NotOurs(f"{name}: larger than any of its kind")
    certificate = _unverified(signed.content_of(data, name), kind, name).signing
    if sha256(certificate).hexdigest() != trusted:
        raise BadSignature(
            f"{name} brings the signing certificate {sha256(certificate).hexdigest()}, and {trusted} is trusted: it is of another "
            "site, or forged. Nothing was done. Compare both with the site's recovery kit."
        )
    try:
        signer = load_der_x509_certificate(certificate)
    except ValueError as fault:
        raise NotOurs(f"{name}: its signing certificate is none") from fault
    return _unverified(signed.verify(data, signer, name), kind, name)


def common(keys: Keys, at: str, by: str, law: str, reason: str) -> dict[str, object]:
    """The fields that every paper of a site begins with."""
    return {"site": keys.site_id, "signing": to_der(keys.signing), "at": at, "by": by, "law": law, "reason": reason}


def _unverified(content: bytes, kind: type[P], name: str) -> P:
    try:
        if not 0 < zstandard.frame_content_size(content) <= _MAX_BYTES:
            raise NotOurs(f"{name}: larger than any of its kind")
        text = zstandard.ZstdDecompressor().decompress(content, max_output_size=_MAX_BYTES, allow_extra_data=False)
        paper = msgspec.json.decode(text, type=kind)
    except (zstandard.ZstdError, msgspec.DecodeError) as fault:
        raise NotOurs(f"{name} is no {_called(kind)} of this version of Outpost: {fault}") from fault
    if not is_site_id(paper.site) or not all(map(parse_pack_id, _packs(paper))):
        raise NotOurs(f"{name} names a site or a pack that cannot be")
    return paper


def _packs(paper: Plan | Deletions) -> list[str]:
    if isinstance(paper, Deletions):
        return paper.packs
    return [each for study in paper.studies for pack in study.packs for each in (pack.pack, *pack.copies)]


def _called(kind: type[Plan] | type[Deletions]) -> Literal["retention plan", "retention list"]:
    return "retention plan" if kind is Plan else "retention list"
