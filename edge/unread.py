"""Facts that edge cannot follow: kept beside the journal, named to a person, and tried again at the next start.

A line that says nothing must not keep the lines behind it from being read: they say which packs may be evicted, and bring what viewers
wait for. What it may have said is asked for once more.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edge.durable import disk_errors, flush_directory, write_whole
from edge.errors import Corrupt
from edge.journal import Ack, Entry, Held, Here, Link, Progress, RecallFailed, SiteStateHere, Stopped, Unread, decode
from edge.model import parse_digest, parse_pack_id
from edge.store.fold import first

log = logging.getLogger(__name__)

MOST = 1000
"""Facts that are kept; a journal with more of them is not read any further."""
_NAMED = 3


class _Kept(msgspec.Struct, frozen=True):
    """One file of the directory; `line` is base64 in JSON, for what does not parse may be any bytes."""

    seq: int
    reason: str
    line: bytes


class UnreadFacts:
    """The directory of facts that were set aside. `alarms` is for any thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, fact: Unread) -> None:
        """Durable when this returns. Idempotent. Raises Corrupt when too many are kept."""
        if len(self._files()) >= MOST:
            raise Corrupt(f"more than {MOST} facts cannot be followed, the last one is {fact.seq}: {fact.reason}")
        log.error("fact %d is set aside: %s", fact.seq, fact.reason)
        name = f"{fact.seq:012d}-{hashlib.sha256(fact.line).hexdigest()[:8]}.json"
        with disk_errors():
            self._directory.mkdir(mode=0o700, exist_ok=True)
            write_whole(self._directory / name, msgspec.json.encode(_Kept(fact.seq, fact.reason, fact.line)), 0o600)
            flush_directory(self._directory)

    def followable(self) -> Iterator[Entry]:
        """Those that this version can follow after all, oldest first; each is forgotten once the next one is asked for."""
        for path in self._files():
            kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
            entry = decode(kept.seq, kept.line)
            if isinstance(entry, Unread) or fault_of(entry):
                continue
            yield entry
            with disk_errors():
                path.unlink(missing_ok=True)

    def alarms(self) -> list[str]:
        """What a person must know; without patient data."""
        files = self._files()
        if not files:
            return []
        kept = [msgspec.json.decode(path.read_bytes(), type=_Kept) for path in files[:_NAMED]]
        named = ", ".join(f"{one.seq} ({one.reason})" for one in kept)
        more = f" and {len(files) - len(kept)} more" * (len(files) > len(kept))
        return [
            f"What cloudsync said was set aside, because it cannot be followed: fact {named}{more}. Run edge and cloudsync of one release: "
            f"a start tries it again. Else report it with the files in {self._directory}, and remove them."
        ]

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob("*.json"))


def fault_of(fact: Entry) -> str:
    """The rule that a fact breaks, as a sentence; empty when it may be followed. Cloudsync is on the other side of the wall."""
    match fact:
        case Held():
            return _held_fault(fact)
        case Progress() | Stopped() | RecallFailed():
            return "" if parse_pack_id(fact.pack) or fact.pack == "site" else "it names no pack"
        case Here():
            whole = parse_pack_id(fact.pack) and parse_digest(fact.digest) and fact.number >= 0 and fact.bytes >= 0
            return "" if whole else "it names no pack, no digest, or no part"
        case SiteStateHere():
            return "" if parse_digest(fact.digest) else "it names no digest"
        case Link() | Ack():
            return ""
        case _:
            return "it is an ask, not a fact"


def _held_fault(fact: Held) -> str:
    if parse_pack_id(fact.pack) is None or parse_digest(fact.sha256) is None:
        return "it names no pack, or no digest"
    if min(fact.instances, fact.raw_bytes, fact.sealed_bytes) < 0:
        return "it counts below zero"
    if not first(fact.study, "0020000D") or not all(first(one, "0020000E") for one in fact.series):
        return "it has no study or series instance UID"
    return ""
