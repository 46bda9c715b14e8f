"""A written DICOMweb archive with the ways of Google's: byte-identical again is success, other bytes under a UID are 409 with 0x0110,
invalid files are 409 too, tokens end, and too many requests are 429. And instances that say that they are generated.
"""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO

import aiohttp
import pydicom
from aiohttp import web
from pydicom.errors import InvalidDicomError

from cloudsync.archive.instances import InstanceName, Offer
from edge.dataset.part10 import file_meta
from edge.model import UID, AETitle, Digest, Identity

_JSON = "application/dicom+json"
CT = UID("1.2.840.10008.5.1.4.1.1.2")
EXPLICIT_LE = UID("1.2.840.10008.1.2.1")


@dataclass(frozen=True, slots=True)
class File:
    """An instance as edge keeps it."""

    name: InstanceName
    content: bytes

    @property
    def offer(self) -> Offer:
        return Offer(self.name, len(self.content), lambda offset, length: self.content[offset : offset + length])


def generated(study: str, series: str, number: int, note: bytes = b"generated for a test") -> File:
    """A small instance of a series; another `note` makes another dataset of it."""
    name = InstanceName(UID(study), UID(series), UID(f"{series}.{number}"))
    elements = [
        (0x0008, 0x0016, b"UI", CT.encode()),
        (0x0008, 0x0018, b"UI", name.sop_instance.encode()),
        (0x0010, 0x0010, b"PN", b"TEST^GENERATED"),
        (0x0010, 0x4000, b"LT", note),
        (0x0020, 0x000D, b"UI", study.encode()),
        (0x0020, 0x000E, b"UI", series.encode()),
        (0x0020, 0x0013, b"IS", str(number).encode()),
    ]
    dataset = b"".join(_element(*element) for element in elements)
    identity = Identity(CT, name.sop_instance, name.series, name.study)
    return File(name, file_meta(identity, EXPLICIT_LE, AETitle("TEST"), Digest(sha256(dataset).hexdigest())) + dataset)


def _element(group: int, element: int, vr: bytes, value: bytes) -> bytes:
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return group.to_bytes(2, "little") + element.to_bytes(2, "little") + vr + len(value).to_bytes(2, "little") + value


@dataclass(slots=True)
class Fake:
    """The archive: what it holds, what it was asked, and how it is to answer next."""

    url: str = ""
    held: dict[InstanceName, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    accepts: list[str] = field(default_factory=list)
    """What each of them wanted."""
    stored: list[int] = field(default_factory=list)
    """Instances in each request to store."""
    next_answers: list[web.Response] = field(default_factory=list)
    """Given instead of what is right, one for each request."""
    tokens: set[str] | None = None
    """Those that are taken; None: nobody is asked for one."""
    issued: int = 0
    page: int = 3
    single_part: bool = False
    unlisted: set[UID] = field(default_factory=set)
    """Instances that QIDO does not show, as if its index were behind."""

    refused: set[UID] = field(default_factory=set)
    """Instances that it does not take."""
    changes: bool = False
    """It gives another dataset than it got."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        self.accepts.append(request.headers.get("Accept", ""))
        if request.path == "/token":
            self.issued += 1
            return web.json_response({"access_token": f"token-{self.issued}", "expires_in": 3600, "token_type": "Bearer"})
        if self.next_answers:
            await request.read()
            return self.next_answers.pop(0)
        if self.tokens is not None and request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            await request.read()
            return web.Response(status=401)
        if request.method == "POST":
            return await self._store(request)
        if request.method != "GET":
            return web.Response(status=405)
        steps = request.path.removeprefix("/dicom-web/").split("/")
        if len(steps) == 6:
            return self._retrieve(InstanceName(UID(steps[1]), UID(steps[3]), UID(steps[5])))
        return self._search(steps, request.query)

    async def _store(self, request: web.Request) -> web.Response:
        referenced, failed, count = [], [], 0
        reader = aiohttp.MultipartReader(request.headers, request.content)
        while (part := await reader.next()) is not None:
            assert isinstance(part, aiohttp.BodyPartReader)
            assert part.headers["Content-Type"] == "application/dicom"
            content = bytes(await part.read())
            count += 1
            name = _name_of(content)
            if name is None:
                failed.append({"00081197": _value("US", 0xC000)})
            elif name.sop_instance in self.refused:
                failed.append(_reference(name) | {"00081197": _value("US", 0x0122)})
            elif self.held.setdefault(name, content) == content:
                referenced.append(_reference(name))
            else:
                failed.append(_reference(name) | {"00081197": _value("US", 0x0110)})
        self.stored.append(count)
        body = {"00081199": {"vr": "SQ", "Value": referenced}} | ({"00081198": {"vr": "SQ", "Value": failed}} if failed else {})
        status = 200 if not failed else 202 if referenced else 409
        return web.json_response(body, status=status, content_type=_JSON)

    def _retrieve(self, name: InstanceName) -> web.Response:
        content = self.held.get(name)
        if content is None:
            return web.Response(status=404)
        content = b"\xff" * 128 + content[128:]  # a preamble of its own
        if self.changes:
            content = content[:-2] + b"9 "
        if self.single_part:
            return web.Response(body=content, content_type="application/dicom")
        body = b"--edge\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n--edge--"
        headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=edge', "Content-Encoding": "gzip"}
        return web.Response(body=gzip.compress(body), headers=headers)

    def _search(self, steps: list[str], query: Iterable[str]) -> web.Response:
        names = sorted((name for name in self.held if name.sop_instance not in self.unlisted), key=lambda name: name.sop_instance)
        if len(steps) > 1:
            names = [name for name in names if name.study == steps[1]]
        if steps[-1] == "studies":
            items = [{"0020000D": _value("UI", study)} for study in dict.fromkeys(name.study for name in names)]
        else:
            items = [_reference(name) for name in names if "series" not in steps or name.series == steps[3]]
        offset = int(dict(query)["offset"])  # type: ignore[call-overload]
        page = items[offset : offset + self.page]
        return web.json_response(page, content_type=_JSON) if page else web.Response(status=204)


@contextlib.asynccontextmanager
async def running(fake: Fake) -> AsyncIterator[Fake]:
    """The archive on a free port of loopback, in this loop."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        fake.url = f"http://{host}:{port}/dicom-web"
        yield fake
    finally:
        await runner.cleanup()


def _name_of(content: bytes) -> InstanceName | None:
    try:
        found = pydicom.dcmread(BytesIO(content), stop_before_pixels=True)
        return InstanceName(UID(found.StudyInstanceUID), UID(found.SeriesInstanceUID), UID(found.SOPInstanceUID))
    except (InvalidDicomError, AttributeError):
        return None


def _reference(name: InstanceName) -> dict[str, object]:
    return {"00081150": _value("UI", CT), "00081155": _value("UI", name.sop_instance), "0020000E": _value("UI", name.series),
            "00080018": _value("UI", name.sop_instance)}  # fmt: skip


def _value(vr: str, value: object) -> dict[str, object]:
    return {"vr": vr, "Value": [value]}
