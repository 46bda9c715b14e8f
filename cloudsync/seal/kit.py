"""The recovery kit: what a person keeps outside the box to open and rebuild everything of a site. It holds no archive credential.

A directory: `recovery.key` (PKCS#8 under eight words), `recovery.pem`, `kit.json`, `open-by-hand.sh` (openssl, zstd and tar suffice),
`sheet.pdf` and `sheet.html`: one of them is to be printed, then both deleted.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import resources
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import Certificate, load_pem_x509_certificate

from cloudsync.seal import paper, passphrase, sheet
from cloudsync.seal.certificates import fingerprint, key_id
from cloudsync.seal.keys import Keys, RecoveryKey, is_site_id, private_pem
from cloudsync.seal.paper import Mistyped
from cloudsync.seal.part import WrongKey
from cloudsync.seal.sheet import Sheet
from edge.clock import utc
from edge.durable import flush_directory, write_whole
from edge.errors import Permanent, Refused
from edge.model import Digest, parse_digest

__all__ = [
    "ClosedKit",
    "Kit",
    "KitDamaged",
    "Mistyped",
    "WrongKit",
    "WrongPassphrase",
    "from_sheet_lines",
    "look",
    "prove",
    "read",
    "write",
]

_ROUNDS = 1_000_000
_KIT, _KEY, _CERTIFICATE, _SCRIPT = "kit.json", "recovery.key", "recovery.pem", "open-by-hand.sh"


class WrongPassphrase(Refused):
    """These eight words do not open this kit. Compare them with what was written down at set-up; order matters, case does not."""


class KitDamaged(Permanent):
    """A file of the recovery kit is missing or altered. Use another copy of the kit, or type in the printed sheet."""


class WrongKit(Refused):
    """This is a whole recovery kit, but not this site's. The message says whose; look for the right one now, while this box still runs."""


@dataclass(frozen=True, slots=True)
class Kit:
    """All that a rebuild needs besides the archive's credential."""

    site_id: str
    archive: str
    """Where the archive is, as set-up was told; for people and for `outpost restore`."""
    recovery: RecoveryKey
    trust_root: Digest
    """SHA-256 of the first signing certificate, in DER."""


@dataclass(frozen=True, slots=True)
class ClosedKit:
    """A kit whose files are there and belong together; its words open it."""

    site_id: str
    archive: str
    """As in Kit."""
    trust_root: Digest
    _certificate: Certificate = field(repr=False)
    _key: bytes = field(repr=False)

    def open(self, words: str) -> Kit:
        """Raises WrongPassphrase, or KitDamaged when the key is not the certificate's."""
        return Kit(self.site_id, self.archive, _recovery_key(self._key, words, self._certificate), self.trust_root)


def write(directory: Path, keys: Keys, recovery: RecoveryKey, archive: str, *, now: float) -> str:
    """Write the kit, flushed, and return its passphrase of eight words, which is stored nowhere: show it once.

    Runs `openssl`; the key goes by stdin and the passphrase by a file descriptor. Raises FileExistsError when the directory has a kit.
    """
    words = passphrase.generate()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (directory / _KIT).exists():
        raise FileExistsError(f"{directory} holds a recovery kit already")
    key = _under(words, private_pem(recovery.private))
    about = _About(1, keys.site_id, archive, keys.trust_root, fingerprint(keys.recovery), sha256(key).hexdigest(), utc(now))
    write_whole(directory / _KEY, key, 0o600)
    write_whole(directory / _CERTIFICATE, keys.recovery.public_bytes(Encoding.PEM), 0o644)
    write_whole(directory / _SCRIPT, resources.files(__package__).joinpath(_SCRIPT).read_bytes(), 0o755)
    page = Sheet(keys.site_id, archive, about.made, keys.trust_root, paper.to_lines(recovery.scalar, keys.site_id))
    write_whole(directory / "sheet.html", sheet.as_html(page).encode(), 0o600)
    write_whole(directory / "sheet.pdf", sheet.as_pdf(page), 0o600)
    write_whole(directory / _KIT, msgspec.json.format(msgspec.json.encode(about)) + b"\n", 0o644)
    flush_directory(directory.parent)
    return words


def look(path: Path) -> ClosedKit:
    """The kit in a directory, or beside any of its files, before anyone is asked for the words. Raises KitDamaged."""
    if not path.exists():
        raise KitDamaged(f"there is no {path}. Name the directory of the recovery kit.")
    directory = path if path.is_dir() else path.parent
    try:
        about = msgspec.json.decode(_content(directory, _KIT), type=_About)
        certificate = load_pem_x509_certificate(_content(directory, _CERTIFICATE))
        trust_root = parse_digest(about.signing_sha256)
        if about.format != 1 or not is_site_id(about.site_id) or trust_root is None:
            raise KitDamaged(f"{_KIT} is of another format. Use the Outpost that wrote it, or a newer one.")
    except (ValueError, msgspec.DecodeError) as fault:
        raise KitDamaged(f"{_KIT} or {_CERTIFICATE} is damaged ({fault}). Use another copy of the kit, or the printed sheet.") from fault
    key = _content(directory, _KEY)
    for name, digest, named in (
        (_CERTIFICATE, fingerprint(certificate), about.recovery_sha256),
        (_KEY, sha256(key).hexdigest(), about.key_sha256),
    ):
        if digest != named:
            raise KitDamaged(f"{name} is not the one that {_KIT} names. Use another copy of the kit, or the printed sheet.")
    return ClosedKit(about.site_id, about.archive, trust_root, certificate, key)


def read(path: Path, words: str) -> Kit:
    """What `look` finds, opened by its words. Raises WrongPassphrase or KitDamaged."""
    return look(path).open(words)


def from_sheet_lines(lines: Sequence[str], site_id: str, archive: str, trust_root: str) -> Kit:
    """The kit from what a person typed in from the sheet. Raises Mistyped naming the line (1 is the first) or the other field."""
    site_id = site_id.strip().lower()
    if not is_site_id(site_id):
        raise Mistyped(f"{site_id!r} is no site id; it has ten letters and digits")
    root = parse_digest("".join(trust_root.split()).replace(":", "").lower())
    if root is None:
        raise Mistyped("the SHA-256 of the signing certificate has 64 hexadecimal digits")
    scalar = paper.from_lines(lines, site_id)
    try:
        key = ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP384R1())
    except ValueError as fault:
        raise Mistyped("these lines are no key") from fault
    return Kit(site_id, archive, RecoveryKey(key), root)


def prove(kit: Kit, keys: Keys) -> None:
    """Nothing, if the kit opens what this box seals, and carries the root of its catalog. Raises WrongKit saying what differs."""
    if kit.site_id != keys.site_id:
        raise WrongKit(f"this is the kit of site {kit.site_id}; this box is site {keys.site_id}")
    place, probe = f"{keys.site_id}/kit-test", os.urandom(32)
    try:
        opened = kit.recovery.open(keys.seal(place, probe), place)
    except WrongKey as fault:
        raise WrongKit(f"this key opens nothing of site {keys.site_id}, which seals for the key {key_id(keys.recovery).hex()}") from fault
    assert opened == probe
    if kit.trust_root != keys.trust_root:
        raise WrongKit(
            f"this kit names the signing certificate {kit.trust_root}; the catalog of site {keys.site_id} began with {keys.trust_root}"
        )


class _About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    site_id: str
    archive: str
    signing_sha256: str
    recovery_sha256: str
    key_sha256: str
    """Of recovery.key as it lies there: a damaged file is told apart from a wrong passphrase."""
    made: str


def _under(words: str, pem: bytes) -> bytes:
    """PKCS#8 under the passphrase, by openssl: cryptography's own form has 2,048 rounds only."""
    passphrase_end, our_end = os.pipe()
    try:
        os.write(our_end, words.encode() + b"\n")
    finally:
        os.close(our_end)
    command = ["openssl", "pkcs8", "-topk8", "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA256"]
    command += ["-iter", str(_ROUNDS), "-passout", f"fd:{passphrase_end}"]
    try:
        done = subprocess.run(command, input=pem, capture_output=True, check=True, pass_fds=(passphrase_end,))
    except FileNotFoundError as fault:
        raise Permanent("the program openssl is not there. Install the package openssl.") from fault
    except subprocess.CalledProcessError as fault:
        raise Permanent(f"openssl could not write the recovery key: {fault.stderr.decode(errors='replace').strip()}") from fault
    finally:
        os.close(passphrase_end)
    return done.stdout


def _recovery_key(pem: bytes, words: str, certificate: Certificate) -> RecoveryKey:
    try:
        key = load_pem_private_key(pem, passphrase.normal(words).encode())
    except (ValueError, TypeError) as fault:
        raise WrongPassphrase from fault
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise KitDamaged(f"{_KEY} does not belong to {_CERTIFICATE}. Use another copy of the kit, or the printed sheet.")
    return RecoveryKey(key)


def _content(directory: Path, name: str) -> bytes:
    try:
        return (directory / name).read_bytes()
    except OSError as fault:
        raise KitDamaged(f"{directory / name} cannot be read ({fault.strerror}). Use another copy of the kit.") from fault
