"""The recovery kit: what a person keeps outside the box to open and rebuild everything of a site. It holds no archive credential.

A directory: `recovery.key` (PKCS#8 under eight words), `recovery.pem`, `kit.json`, `sheet.html` (to print; it holds the key in clear,
because paper lies in a safe: delete the file once it is printed) and `open-by-hand.sh` (openssl, zstd and tar suffice).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cloudsync.seal.keys import Keys, RecoveryKey
from edge.errors import Permanent, Refused
from edge.model import Digest


class WrongPassphrase(Refused):
    """These eight words do not open this kit. Compare them with what was written down at set-up; order matters, case does not."""


class KitDamaged(Permanent):
    """A file of the recovery kit is missing or altered. Use another copy of the kit, or type in the printed sheet."""


class Mistyped(Refused):
    """A line of the sheet was typed in wrongly. The message names it; compare it letter by letter."""


@dataclass(frozen=True, slots=True)
class Kit:
    """All that a rebuild needs besides the archive's credential."""

    site_id: str
    archive: str
    """Where the archive is, as set-up was told; for people and for `outpost restore`."""
    recovery: RecoveryKey
    trust_root: Digest
    """SHA-256 of the first signing certificate, in DER."""


def write(directory: Path, keys: Keys, recovery: RecoveryKey, archive: str, *, now: float) -> str:
    """Write the kit, flushed, and return its passphrase of eight words, which is stored nowhere: show it once.

    Runs `openssl`; the key goes by stdin and the passphrase by a file descriptor. Raises FileExistsError when the directory has a kit.
    """
    raise NotImplementedError


def read(path: Path, passphrase: str) -> Kit:
    """The kit in a directory, or beside any of its files. Raises WrongPassphrase or KitDamaged."""
    raise NotImplementedError


def from_sheet_lines(lines: Sequence[str], site_id: str, archive: str, trust_root: str) -> Kit:
    """The kit from what a person typed in from the sheet. Raises Mistyped naming the line (1 is the first)."""
    raise NotImplementedError
