"""Search (QIDO-RS, PS3.18 section 10.6): the query as a pure function of path and parameters, and its answer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import replace

import msgspec
from aiohttp import hdrs, web
from pydicom.datadict import tag_for_keyword

from edge.dataset.attributes import INTEREST, SEQUENCES
from edge.model import Json, Level, Manner, Query, parse_uid
from edge.store.reader import CatalogueReader
from edge.web.accept import DICOM_JSON, takes
from edge.web.faults import BadRequest, NotAcceptable
from edge.web.target import base_of, forms_of, uid_in
from edge.web.witness import Witness

MOST = 5000
"""Answers to one request; the rest is had with offset."""
VALUE_MAX = 4096

_OF_STUDY = {"00080061": "CS", "00080062": "UI"}
"""Modalities and SOP Classes in Study, which the catalogue knows by counting: their VRs."""
_CHARACTER_SET = "00080005"
_LEVELS = (Level.PATIENT, Level.STUDY, Level.SERIES, Level.IMAGE)
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_KEYWORD = re.compile(r"[A-Za-z0-9]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,9}")
_COSTLY = frozenset({"00080062", "00201200", "00201202", "00201204"})
"""Answered of a study when they are named: SOP Classes in Study, and the counts of its patient."""
_SWITCHES = {"fuzzymatching", "emptyvaluematching", "multiplevaluematching"}


def parse_query(level: Level, path: Iterable[tuple[str, str]], parameters: Iterable[tuple[str, str]]) -> Query:
    """The query. `path` has the tags and UIDs that the path fixes.

    Raises BadRequest with a sentence for whatever PS3.18 sections 8.3.4 and 10.6.1.2 do not know.
    """
    matching: dict[str, str] = {}
    limit: int | None = None
    offset, on = 0, set[str]()
    also: set[str] = set()
    for name, value in parameters:
        if len(value) > VALUE_MAX:
            raise BadRequest(f"The value of {_shown(name)} is too long.")
        if name == "limit":
            limit = _number(name, value)
        elif name == "offset":
            offset = _number(name, value)
        elif name in _SWITCHES:
            if value not in {"true", "false"}:
                raise BadRequest(f"{name} is true or false.")
            on |= {name} if value == "true" else set()
        elif name == "includefield":
            for field in value.split(","):
                if field == "all":
                    also |= _COSTLY
                else:
                    also |= {_tag(step) for step in field.split(".")} & _COSTLY
        elif name != "accept":
            tag, text = _match(level, name, value)
            if matching.setdefault(tag, text) != text:
                raise BadRequest(f"{_shown(name)} is given twice. Give a list of UIDs with commas.")
    for tag, uid in path:
        if matching.setdefault(tag, uid) != uid:
            raise BadRequest("A UID in the path and one in the parameters differ.")
    manner = Manner(fuzzy="fuzzymatching" in on, empty="emptyvaluematching" in on)
    return Query(level, matching, limit, offset, manner, frozenset(also))


class Searches:
    """The search resources."""

    def __init__(self, reader: CatalogueReader, witness: Witness) -> None:
        self._reader = reader
        self._witness = witness

    async def studies(self, request: web.Request) -> web.StreamResponse:
        return await self._search(request, Level.STUDY)

    async def series(self, request: web.Request) -> web.StreamResponse:
        return await self._search(request, Level.SERIES)

    async def instances(self, request: web.Request) -> web.StreamResponse:
        return await self._search(request, Level.IMAGE)

    async def _search(self, request: web.Request, level: Level) -> web.StreamResponse:
        forms = forms_of(request)
        if not takes(forms, DICOM_JSON, "application/json"):
            raise NotAcceptable("Search answers come as application/dicom+json only.")
        path = [(tag, uid_in(request, name)) for tag, name in (("0020000D", "study"), ("0020000E", "series")) if name in request.match_info]
        query = parse_query(level, path, request.query.items())
        await self._witness.searches(request, request.match_info.get("study", ""), list(query.matching))
        capped = query.limit is None or query.limit > MOST
        base, body, count = base_of(request), bytearray(b"["), 0
        async with aclosing(self._reader.find(replace(query, limit=MOST + 1) if capped else query)) as found:
            async for one in found:
                count += 1
                if count > MOST:
                    break
                body += (b"," if count > 1 else b"") + msgspec.json.encode(_with_address(one, base, level))
        warnings = []
        if count > MOST:
            warnings.append(f'299 Outpost "There are more than {MOST} results; ask for the next ones with offset={query.offset + MOST}"')
        # No match is 200 with an empty list: CP-2473 took 204 out of PS3.18 section 8.3.4.4.1, because RFC 9110 says otherwise.
        headers = {hdrs.WARNING: ", ".join(warnings)} if warnings else {}
        return web.Response(body=bytes(body) + b"]", content_type=DICOM_JSON, headers=headers)


def _with_address(found: Json, base: str, level: Level) -> Json:
    """The answer with its Retrieve URL (0008,1190), PS3.18 section 10.6.3.3."""
    address = f"{base}/studies/{found['0020000D']['Value'][0]}"
    if level is not Level.STUDY:
        address += f"/series/{found['0020000E']['Value'][0]}"
    if level is Level.IMAGE:
        address += f"/instances/{found['00080018']['Value'][0]}"
    answer = found | {"00081190": {"vr": "UR", "Value": [address]}}
    answer.pop(_CHARACTER_SET, None)  # that of the stored instances; this is JSON, in UTF-8
    return dict(sorted(answer.items()))


def _match(level: Level, name: str, value: str) -> tuple[str, str]:
    tag = ".".join(_tag(step) for step in name.split("."))
    vr, own = _known(tag)
    if own is None:
        raise BadRequest(f"{_shown(name)} cannot be searched by: the catalogue does not hold it.")
    if _LEVELS.index(own) > _LEVELS.index(level):
        raise BadRequest(f"{_shown(name)} is an attribute of {own.lower()} level. Search there.")
    if vr == "UI":
        value = value.replace(",", "\\")
        if value and any(parse_uid(uid) is None for uid in value.split("\\")):
            raise BadRequest(f"{_shown(name)} holds something that is no UID.")
    return tag, value


def _known(tag: str) -> tuple[str, Level | None]:
    """VR and level of what can be searched by; of an element of a sequence, the level of the sequence."""
    sequence, dot, inner = tag.partition(".")
    if tag in _OF_STUDY:
        return _OF_STUDY[tag], Level.STUDY
    if not dot:
        return INTEREST.get(int(tag, 16), ("", None))
    level, items = SEQUENCES.get(int(sequence, 16), (None, {}))
    vr = items.get(int(inner, 16), "") if "." not in inner else ""
    return vr, level if vr else None


def _tag(name: str) -> str:
    if _TAG.fullmatch(name):
        return name.upper()
    tag = tag_for_keyword(name) if _KEYWORD.fullmatch(name) else None
    if tag is None:
        raise BadRequest(f"There is no parameter or attribute {_shown(name)}. Use keywords of PS3.6, or tags of eight hexadecimal digits.")
    return f"{tag:08X}"


def _number(name: str, value: str) -> int:
    if not _NUMBER.fullmatch(value):
        raise BadRequest(f"{name} is a number of zero or more.")
    return int(value)


def _shown(name: str) -> str:
    return name if all(_KEYWORD.fullmatch(step) for step in name.split(".")) else "of that name"
