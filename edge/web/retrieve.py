"""Retrieve (WADO-RS, PS3.18 section 10.4): the instances of a study or series, one instance, and their metadata."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing

import msgspec
from aiohttp import web

from edge.code.head_source import HeadSource
from edge.code.manifest import Head, read_head
from edge.config import Layout
from edge.dataset.patch import PatchedSource, Uncorrectable, patch
from edge.dataset.source import PackSource, Source
from edge.errors import Corrupt
from edge.model import Json, PackId
from edge.store.files import OPEN_MAX
from edge.store.reader import Stored
from edge.web.accept import DICOM, DICOM_JSON, Form, choose, takes
from edge.web.faults import NotAcceptable, Unavailable
from edge.web.metadata import metadata
from edge.web.packs import OpenedPacks
from edge.web.part10 import as_explicit, as_stored
from edge.web.streaming import Answer, Part
from edge.web.supply import Supply
from edge.web.target import address, base_of, forms_of, target_of

log = logging.getLogger(__name__)


class Retrieves:
    """The resources that are instances, and their metadata."""

    def __init__(self, supply: Supply, layout: Layout) -> None:
        self._supply = supply
        self._layout = layout

    async def instances(self, request: web.Request) -> web.StreamResponse:
        """Each as it is stored, or in Explicit VR Little Endian; those in the cache first, the others as they come from the archive."""
        target, forms, base = target_of(request), forms_of(request), base_of(request)
        with self._supply.packs() as packs:
            async with aclosing(self._supply.begin(target)) as delivery, aclosing(delivery.opened(packs)) as opened:
                chosen = _agree(forms, await delivery.known(), single=target.instance is not None)
                if not chosen.multipart:
                    async for descriptor, stored in opened:
                        part = await _part(packs, descriptor, stored, chosen.syntax(stored), base)
                        async with Answer(request, part.content_type, part.length) as answer:
                            await answer.send(part)
                        return answer.response
                async with Answer.multipart(request, DICOM) as answer:
                    async for descriptor, stored in opened:
                        try:
                            part = await _part(packs, descriptor, stored, chosen.syntax(stored), base)
                        except Uncorrectable as fault:  # the others are sent: it is too late for another status
                            log.warning("retrieve: %s", fault)
                            continue
                        await answer.send(part)
        return answer.response

    async def metadata(self, request: web.Request) -> web.StreamResponse:
        """An array with the metadata of each instance; of nearline ones from the heads of their packs."""
        if not takes(forms_of(request), DICOM_JSON, "application/json"):
            raise NotAcceptable("Metadata comes as application/dicom+json only.")
        known = await self._supply.known(target_of(request))
        base, separator = base_of(request), b"["
        answer = Answer(request, DICOM_JSON)
        with self._supply.packs() as packs:
            heads = _Heads(self._layout)
            async with answer:
                for begin in range(0, len(known), OPEN_MAX):
                    batch = [(await packs.open(one) if one.located.present else None, one) for one in known[begin : begin + OPEN_MAX]]
                    made = await asyncio.to_thread(_describe, heads, batch, base)
                    if made:
                        await answer.write(separator + b",".join(map(_encode, made)))
                        separator = b","
                await answer.write(b"]" if separator == b"," else b"[]")
        return answer.response


class _Chosen:
    """How each instance of an answer is sent."""

    def __init__(self, multipart: bool, syntaxes: dict[str, str]) -> None:
        self.multipart = multipart
        self._syntaxes = syntaxes

    def syntax(self, stored: Stored) -> str:
        return self._syntaxes[stored.located.transfer_syntax]


def _agree(forms: list[Form], known: Sequence[Stored], single: bool) -> _Chosen:
    """Raises NotAcceptable, before a byte is sent, when one of the instances cannot be had in a form that is taken."""
    multipart = True
    syntaxes: dict[str, str] = {}
    for stored in {one.located.transfer_syntax for one in known}:
        choice = choose(forms, DICOM, stored, single)
        if choice is None:
            raise NotAcceptable(f"It is stored in transfer syntax {stored}, which was not asked for. Ask with transfer-syntax=*.")
        multipart, syntaxes[stored] = choice
    return _Chosen(multipart, syntaxes)


async def _part(packs: OpenedPacks, descriptor: int, stored: Stored, syntax: str, base: str) -> Part:
    located = stored.located
    if syntax == located.transfer_syntax and located.correction is None:
        pieces = as_stored(descriptor, stored)
    else:
        pieces = await asyncio.to_thread(as_stored if syntax == located.transfer_syntax else as_explicit, descriptor, stored)
    return Part(f"{DICOM}; transfer-syntax={syntax}", pieces, address(base, stored.located), packs.unread(stored))


class _Heads:
    """The head of the pack that was asked for last."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._last: tuple[PackId, Head] | None = None

    def source(self, stored: Stored) -> Source:
        """The dataset of a nearline instance, without its long values. Raises Corrupt or Unavailable."""
        pack = stored.located.pack
        if self._last is None or self._last[0] != pack:
            try:
                data = self._layout.head(pack).read_bytes()
            except FileNotFoundError as fault:
                raise Unavailable("The head of its pack is not here yet.") from fault
            self._last = (pack, read_head(data))
        head = self._last[1]
        for member in head.manifest.members:
            if member.dataset_offset == stored.located.dataset_offset:
                return HeadSource(head, member)
        raise Corrupt(f"The head of pack {pack} does not know an instance of it. Evict and recall the study.")


def _describe(heads: _Heads, batch: Sequence[tuple[int | None, Stored]], base: str) -> list[Json]:
    """The metadata of instances, each with a descriptor of its pack where it is in the cache."""
    made = []
    for descriptor, stored in batch:
        try:
            source = _source(descriptor, heads, stored)
        except Uncorrectable as fault:  # nothing is answered uncorrected
            log.warning("metadata: %s", fault)
            continue
        made.append(metadata(source, stored.located.transfer_syntax, f"{address(base, stored.located)}/bulkdata"))
    return made


def _source(descriptor: int | None, heads: _Heads, stored: Stored) -> Source:
    located = stored.located
    here = None if descriptor is None else PackSource(descriptor, located.dataset_offset, located.dataset_length)
    source = here or heads.source(stored)
    if located.correction is None:
        return source
    return PatchedSource(source, patch(source, located.transfer_syntax, located.correction))


def _builtin(value: object) -> object:
    """pydicom's own kinds of text and numbers as what they are."""
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(type(value).__name__)


_encode = msgspec.json.Encoder(enc_hook=_builtin).encode
