"""What an archive answers to a STOW-RS request: the Store Instances Response Module in the DICOM JSON Model (PS3.18 section 10.5 and
annex I), read item by item.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cloudsync.archive import json_text
from cloudsync.archive.instances import Reply
from edge.model import UID, Json

_FAILED, _REFERENCED, _INSTANCE, _REASON = "00081198", "00081199", "00081155", "00081197"

_REASONS = {
    0x0110: "it could not process it, or has another instance under this UID",
    0x0111: "it has an instance under this UID already",
    0x0122: "it takes no instances of this SOP class",
    0x0124: "our credential may not store it",
    45070: "it has an instance under this UID already",
    45071: "it is creating, or failed to create, an instance under this UID",
}
"""PS3.7 annex C, and two that Azure adds."""
_WITHOUT_ROOM = range(0xA700, 0xA800)


class NoAnswer(ValueError):
    """The body is no Store Instances Response."""


def replies(body: bytes, offered: Sequence[UID]) -> tuple[Reply, ...]:
    """A reply for each instance that was offered. Raises NoAnswer."""
    answer = json_text.read(body, object)
    if not isinstance(answer, dict) or not {_FAILED, _REFERENCED} & answer.keys():
        raise NoAnswer
    stored = set(_uids(answer, _REFERENCED))
    failed = dict(_failures(answer))
    return tuple(_reply(uid, stored, failed) for uid in offered)


def is_without_room(body: bytes) -> bool:
    """Whether the archive says of an instance that it has no room for it."""
    answer = json_text.read(body, object)
    return isinstance(answer, dict) and any(_number(item, _REASON) in _WITHOUT_ROOM for item in _items(answer, _FAILED))


def text(item: Mapping[str, object], tag: str) -> str:
    """The first value of an attribute in the DICOM JSON Model; empty where there is none."""
    values = _values(item, tag)
    return values[0] if values and isinstance(values[0], str) else ""


def _reply(uid: UID, stored: set[str], failed: Mapping[str, str]) -> Reply:
    if uid in failed:
        return Reply(uid, "failed", failed[uid])
    if uid in stored:
        return Reply(uid, "stored")
    return Reply(uid, "unsaid", "the archive's answer does not name it")


def _failures(answer: Json) -> Iterator[tuple[str, str]]:
    for item in _items(answer, _FAILED):
        code = _number(item, _REASON)
        yield text(item, _INSTANCE), f"the archive says 0x{code:04X}: {_REASONS.get(code, 'it does not take it')}"


def _uids(answer: Json, tag: str) -> Iterator[str]:
    for item in _items(answer, tag):
        yield text(item, _INSTANCE)


def _items(answer: Json, tag: str) -> Iterator[dict[str, object]]:
    yield from (item for item in _values(answer, tag) if isinstance(item, dict))


def _values(item: Mapping[str, object], tag: str) -> list[object]:
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _number(item: Mapping[str, object], tag: str) -> int:
    values = _values(item, tag)
    return values[0] if values and isinstance(values[0], int) else 0
