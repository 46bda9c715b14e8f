"""Retrieve (WADO-RS, PS3.18 section 10.4) of frames and bulk data, in the stored syntax: pixels are decoded nowhere in this process."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import aclosing

from aiohttp import web

from edge.dataset.frames import Frame, Frames, cut_bits, locate
from edge.dataset.source import PackSource, Source
from edge.dataset.walk import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, PIXEL_DATA, Malformed
from edge.store.reader import Stored
from edge.web.accept import OCTETS, Form
from edge.web.faults import BadRequest, NotAcceptable, NotFound
from edge.web.metadata import find_bulk, plain
from edge.web.packs import OpenedPacks
from edge.web.streaming import Answer, FileRange, Part, Piece
from edge.web.supply import Supply
from edge.web.target import address, base_of, forms_of, target_of

FRAMES_MAX = 4096
_LIST = re.compile(r"[0-9]{1,9}(,[0-9]{1,9})*")
_BULK = re.compile(r"[0-9A-F]{8}(/[0-9]{1,6}/[0-9A-F]{8}){0,16}")
_JPEG, _JPEG_LS, _JPEG_2000, _HTJ2K = "image/jpeg", "image/jls", "image/jp2", "image/jphc"
_IMAGES = {
    "1.2.840.10008.1.2.4.50": _JPEG,
    "1.2.840.10008.1.2.4.51": _JPEG,
    "1.2.840.10008.1.2.4.57": _JPEG,
    "1.2.840.10008.1.2.4.70": _JPEG,
    "1.2.840.10008.1.2.4.80": _JPEG_LS,
    "1.2.840.10008.1.2.4.81": _JPEG_LS,
    "1.2.840.10008.1.2.4.90": _JPEG_2000,
    "1.2.840.10008.1.2.4.91": _JPEG_2000,
    "1.2.840.10008.1.2.4.201": _HTJ2K,
    "1.2.840.10008.1.2.4.202": _HTJ2K,
    "1.2.840.10008.1.2.4.203": _HTJ2K,
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}
"""PS3.18 table 8.7.3-5: the media type of one compressed frame."""


class Bulks:
    """The resources that are parts of an instance."""

    def __init__(self, supply: Supply) -> None:
        self._supply = supply

    async def frames(self, request: web.Request) -> web.StreamResponse:
        """The frames of a list of numbers from 1, in its order. A number that the instance does not have is NotFound for all."""
        numbers = _numbers(request.match_info["frames"])
        with self._supply.packs() as packs:
            descriptor, stored = await self._one(request, packs)
            source, frames = await asyncio.to_thread(_located, descriptor, stored)
            if max(numbers) > frames.count:
                raise NotFound(f"This instance has {frames.count} frames.")
            return await self._send(request, packs.unread(stored), descriptor, stored, source, frames, [number - 1 for number in numbers])

    async def bulkdata(self, request: web.Request) -> web.StreamResponse:
        """The value that a BulkDataURI of the metadata names; encapsulated Pixel Data as its frames."""
        path = request.match_info["path"]
        if not _BULK.fullmatch(path):
            raise BadRequest("A path of bulk data is a tag of eight hexadecimal digits, or tags with item numbers between them.")
        with self._supply.packs() as packs:
            descriptor, stored = await self._one(request, packs)
            located = stored.located
            if path == f"{PIXEL_DATA:08X}":
                source, frames = await asyncio.to_thread(_located, descriptor, stored)
                if frames.encapsulated:
                    return await self._send(request, packs.unread(stored), descriptor, stored, source, frames, list(range(frames.count)))
            dataset = PackSource(descriptor, located.dataset_offset, located.dataset_length)
            try:
                found = await asyncio.to_thread(find_bulk, dataset, located.transfer_syntax, path)
            except Malformed as fault:
                raise NotFound("This instance has no such value.") from fault
            piece: Piece = found if isinstance(found, bytes) else FileRange(descriptor, located.dataset_offset + found[0], found[1])
            return await _answer(request, forms_of(request), [Part(OCTETS, [piece], unread=packs.unread(stored))], OCTETS)

    async def _one(self, request: web.Request, packs: OpenedPacks) -> tuple[int, Stored]:
        """The one instance of the path, recalled if need be, and a descriptor of its pack."""
        async with aclosing(self._supply.begin(target_of(request))) as delivery, aclosing(delivery.opened(packs)) as opened:
            async for descriptor, stored in opened:
                return descriptor, stored
        raise NotFound

    async def _send(
        self,
        request: web.Request,
        unread: Callable[[], None],
        descriptor: int,
        stored: Stored,
        source: Source,
        frames: Frames,
        indexes: list[int],
    ) -> web.StreamResponse:
        forms, base = forms_of(request), base_of(request)
        media, syntax = _form_of(forms, stored.located.transfer_syntax, frames.encapsulated)
        at = address(base, stored.located)
        parts = [
            Part(
                f"{media}; transfer-syntax={syntax}",
                _pieces(descriptor, stored, source, frames.at(index)),
                f"{at}/frames/{index + 1}",
                unread,
            )
            for index in indexes
        ]
        return await _answer(request, forms, parts, media)


def _located(descriptor: int, stored: Stored) -> tuple[Source, Frames]:
    located = stored.located
    try:
        source, syntax = plain(PackSource(descriptor, located.dataset_offset, located.dataset_length), located.transfer_syntax)
        frames = locate(source, syntax)
    except Malformed as fault:
        raise NotFound(f"Its frames cannot be found: {fault}. Retrieve the instance itself.") from fault
    if frames is None:
        raise NotFound("This instance has no Pixel Data.")
    return source, frames


def _pieces(descriptor: int, stored: Stored, source: Source, frame: Frame) -> list[Piece]:
    if frame.bits:
        return [cut_bits(b"".join(bytes(source.read(offset, length)) for offset, length in frame.ranges), frame)]
    if stored.located.transfer_syntax == DEFLATED_LE:
        return [bytes(source.read(offset, length)) for offset, length in frame.ranges]
    return [FileRange(descriptor, stored.located.dataset_offset + offset, length) for offset, length in frame.ranges]


def _form_of(forms: list[Form], stored: str, encapsulated: bool) -> tuple[str, str]:
    """Media type and transfer syntax of the frames: native ones as octets, encapsulated ones as octets or in their own media type."""
    syntax = stored if encapsulated or stored == EXPLICIT_BE else EXPLICIT_LE
    own = _IMAGES.get(stored)
    for form in forms:
        named = form.syntax in {"*", stored, syntax}
        if form.media == own and encapsulated and (named or form.syntax is None):
            return own, syntax
        if form.media == OCTETS and (named or (form.syntax is None and syntax == EXPLICIT_LE)):
            return OCTETS, syntax
        if form.media in {"*/*", "application/*"} and (named or form.syntax is None):
            return OCTETS, syntax
    raise NotAcceptable(f"The frames are stored in transfer syntax {syntax}, which was not asked for. Ask with transfer-syntax=*.")


async def _answer(request: web.Request, forms: list[Form], parts: list[Part], media: str) -> web.StreamResponse:
    """One part alone where that is wanted and possible, else multipart."""
    wanted = next((form for form in forms if form.media in {media, "*/*", "application/*"}), None)
    if wanted is None:
        raise NotAcceptable(f"It comes as {media} only.")
    if wanted.multipart is False:
        if len(parts) != 1:
            raise NotAcceptable("More than one part comes as multipart/related only.")
        async with Answer(request, parts[0].content_type, parts[0].length) as answer:
            await answer.send(parts[0])
        return answer.response
    async with Answer.multipart(request, media) as answer:
        for part in parts:
            await answer.send(part)
    return answer.response


def _numbers(text: str) -> list[int]:
    if not _LIST.fullmatch(text):
        raise BadRequest("Frames are a list of numbers from 1, with commas.")
    numbers = [int(number) for number in text.split(",")]
    if min(numbers) < 1 or len(numbers) > FRAMES_MAX:
        raise BadRequest(f"Frames are numbered from 1, and at most {FRAMES_MAX} are asked for at once.")
    return numbers
