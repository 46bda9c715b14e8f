"""Query/retrieve identifiers against their information model (PS3.4 sections C.4 and C.6): level, unique keys, matching keys."""

from __future__ import annotations

from collections.abc import Iterator

from edge.dataset.moments import TIME_ZONE
from edge.dimse.classes import Root
from edge.dimse.extended import is_relational, manner
from edge.dimse.identifier import CHARACTER_SET, BadIdentifier, text_of, vr_of
from edge.model import Json, Level, Query, parse_uid

LEVEL = "00080052"
RETRIEVE_AE = "00080054"
AVAILABILITY = "00080056"
UNIQUE_KEYS = {Level.PATIENT: "00100020", Level.STUDY: "0020000D", Level.SERIES: "0020000E", Level.IMAGE: "00080018"}
UID_KEYS = tuple(UNIQUE_KEYS[level] for level in (Level.STUDY, Level.SERIES, Level.IMAGE))
_MOST_VALUES = 1000
_ISSUER = "00100021"
_NO_KEYS = {LEVEL, RETRIEVE_AE, AVAILABILITY, TIME_ZONE, CHARACTER_SET}


def level_of(identifier: Json, root: Root) -> Level:
    """The Query/Retrieve Level. Raises BadIdentifier when it is not one of the model."""
    text = text_of(identifier.get(LEVEL, {}))
    level = next((level for level in root.levels if level == text), None)
    if level is None:
        raise BadIdentifier("Query/Retrieve Level (0008,0052) is not one of this model.", LEVEL)
    return level


def find_query(identifier: Json, root: Root, limit: int, agreed: bytes = b"") -> Query:
    """What a C-FIND asks, after what was agreed by extended negotiation.

    Raises BadIdentifier where a unique key above the level is missing, or one below it is given, and relational queries were not agreed on;
    where something comes with items that is no sequence; and for a list that is too long to be looked for.
    """
    _check_structure(identifier)
    level = level_of(identifier, root)
    how = manner(agreed, text_of(identifier.get(TIME_ZONE, {})))
    if not how.relational:
        _check_above(identifier, root, level)
    return Query(level, dict(_keys(identifier)), limit, manner=how, also=frozenset(identifier))


def _check_structure(dataset: Json) -> None:
    """Items belong to sequences alone (PS3.5 section 7.5), and only a list of UIDs may be as long as it likes (PS3.4 section C.2.2.2.2)."""
    for tag, element in dataset.items():
        if element["vr"] != "SQ":
            if element["vr"] != "UI" and len(element.get("Value", ())) > _MOST_VALUES:
                raise BadIdentifier(f"Element {tag} has more than {_MOST_VALUES} values.", tag)
            continue
        if vr_of(tag) not in {"SQ", "UN"}:
            raise BadIdentifier(f"Element {tag} has items and is no sequence.", tag)
        for item in element.get("Value", ()):
            _check_structure(item)


def _keys(identifier: Json) -> Iterator[tuple[str, str]]:
    """Matching keys with their texts; those of the item of a sequence as `sequence.tag` (PS3.4 section C.2.2.2.6)."""
    for tag, element in identifier.items():
        if tag in _NO_KEYS:
            continue
        if element["vr"] != "SQ":
            if text := text_of(element):
                yield tag, text
            continue
        for inner, key in (element.get("Value") or [{}])[0].items():
            if key["vr"] != "SQ" and (text := text_of(key)):
                yield f"{tag}.{inner}", text


def retrieve_query(identifier: Json, root: Root, agreed: bytes = b"") -> Query:
    """What a C-MOVE or C-GET asks: unique keys alone count, single above the level and a list at it; and with the Patient ID its issuer,
    where that is given: the two of them are what a patient is.

    Where relational retrieve was agreed on, those above may be missing (PS3.4 section C.4.2.2.2). Raises BadIdentifier.
    """
    level = level_of(identifier, root)
    if not is_relational(agreed):
        _check_above(identifier, root, level)
    keys = [UNIQUE_KEYS[step] for step in root.levels[: root.levels.index(level) + 1]]
    matching = {key: text_of(identifier.get(key, {})) for key in keys}
    wanted = matching[keys[-1]]
    issuer = text_of(identifier.get(_ISSUER, {}))
    if keys[0] == UNIQUE_KEYS[Level.PATIENT] and issuer:
        if set(issuer) & set("*?\\"):
            raise BadIdentifier("Issuer of Patient ID (0010,0021) is not a single value.", _ISSUER)
        matching[_ISSUER] = issuer
    if level is Level.PATIENT:
        sound = bool(wanted) and not set(wanted) & set("*?\\")
    else:
        sound = all(parse_uid(uid) is not None for uid in wanted.split("\\"))
    if not sound:
        raise BadIdentifier(f"The unique key of level {level} is missing or malformed.", keys[-1])
    return Query(level, matching)


def _check_above(identifier: Json, root: Root, level: Level) -> None:
    """PS3.4 sections C.4.1.2.1 and C.4.2.2.1: a single value for each level above, nothing for those below."""
    position = root.levels.index(level)
    for step in root.levels[:position]:
        value = text_of(identifier.get(UNIQUE_KEYS[step], {}))
        if not value or set(value) & set("*?\\"):
            raise BadIdentifier(f"Level {level} needs a single {step} key.", UNIQUE_KEYS[step])
    for step in root.levels[position + 1 :]:
        if text_of(identifier.get(UNIQUE_KEYS[step], {})):
            raise BadIdentifier(f"A {step} key does not belong to level {level}.", UNIQUE_KEYS[step])
