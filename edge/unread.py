"""Facts that edge cannot follow: kept beside the journal, named to a person, and tried again at the next start.

A line that says nothing must not keep the lines behind it from being read: they say which packs may be evicted, and bring what viewers
wait for. What it may have said is asked for once more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge.journal import (
    Ack,
    Allowance,
    AsksUnread,
    CatalogRead,
    Damaged,
    Entry,
    Follows,
    Held,
    Here,
    Link,
    Progress,
    RecallFailed,
    Retired,
    SiteStateHere,
    Stopped,
    Unread,
    Verification,
    decode,
)
from edge.keptlines import KeptLines
from edge.model import Json, parse_digest, parse_pack_id, parse_uid
from edge.store.fold import first

_NAME = "00100010"
_DEPTH_CAP = 16
"""Sequences within sequences that are looked into; what describes a study or a series has far fewer."""


class UnreadFacts:
    """The directory of facts that were set aside. `alarms` is for any thread."""

    def __init__(self, directory: Path) -> None:
        self._kept = KeptLines(directory, "fact")

    def keep(self, fact: Unread) -> None:
        """As KeptLines does."""
        self._kept.keep(fact)

    def followable(self) -> Iterator[Entry]:
        """Those that this version can follow after all, oldest first; each is forgotten once the next one is asked for."""
        for kept in self._kept.all():
            entry = decode(kept.seq, kept.line)
            if isinstance(entry, Unread) or fault_of(entry):
                continue
            yield entry
            self._kept.forget(kept)

    def alarms(self) -> list[str]:
        """What a person must know; without patient data."""
        named = self._kept.named()
        if not named:
            return []
        return [
            f"What cloudsync said was set aside, because it cannot be followed: {named}. Run edge and cloudsync of one release: "
            f"a start tries it again. Else report it with the files in {self._kept.directory}, and remove them."
        ]


def fault_of(fact: Entry) -> str:
    """The rule that a fact breaks, as a sentence; empty when it may be followed. Cloudsync is on the other side of the wall."""
    match fact:
        case Held():
            return _held_fault(fact)
        case Progress() | Stopped() | RecallFailed() | Damaged():
            return "" if parse_pack_id(fact.pack) or fact.pack == "site" else "it names no pack"
        case Retired():
            return "" if parse_pack_id(fact.pack) else "it names no pack"
        case Here():
            whole = parse_pack_id(fact.pack) and parse_digest(fact.digest) and fact.number >= 0 and fact.bytes >= 0
            return "" if whole else "it names no pack, no digest, or no part"
        case SiteStateHere():
            return "" if parse_digest(fact.digest) else "it names no digest"
        case Link() | Allowance() | Ack() | AsksUnread() | Verification() | Follows() | CatalogRead():
            return ""
        case _:
            return "it is an ask, not a fact"


def _held_fault(fact: Held) -> str:
    if parse_pack_id(fact.pack) is None or parse_digest(fact.sha256) is None:
        return "it names no pack, or no digest"
    if min(fact.instances, fact.raw_bytes, fact.sealed_bytes) < 0:
        return "it counts below zero"
    if fact.origin and not re.fullmatch(r"[a-z2-7]{10}", fact.origin):
        return "it names a site that is none"
    if not all(map(_sound, (fact.study, *fact.series))):
        return "its attributes are none of DICOM"
    if not parse_uid(first(fact.study, "0020000D")) or not all(parse_uid(first(one, "0020000E")) for one in fact.series):
        return "it has no study or series instance UID"
    return ""


def _sound(attributes: Json, depth: int = 0) -> bool:
    """Whether these are attributes in the DICOM JSON Model (PS3.18 F.2): another site wrote them, where one is followed."""
    return depth <= _DEPTH_CAP and all(
        re.fullmatch("[0-9A-F]{8}", tag) and _is_element(tag, element, depth) for tag, element in attributes.items()
    )


def _is_element(tag: str, element: Any, depth: int) -> bool:
    if not isinstance(element, dict) or not re.fullmatch("[A-Z]{2}", str(element.get("vr"))):
        return False
    values, vr = element.get("Value", []), element["vr"]
    if not isinstance(values, list) or (tag == _NAME and vr != "PN"):
        return False
    if vr == "PN":
        return all(value is None or (isinstance(value, dict) and all(isinstance(part, str) for part in value.values())) for value in values)
    if vr == "SQ":
        return all(isinstance(value, dict) and _sound(value, depth + 1) for value in values)
    return all(value is None or isinstance(value, str | int | float) for value in values)
