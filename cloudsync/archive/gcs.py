"""An archive in a bucket of Google Cloud Storage, by its JSON API: google-auth for the token, HTTPS for the rest.

A put is create-only by `ifGenerationMatch=0`, and names the MD5 that Google compares before the object is there; 403, 409 and 412 are
first settled by size and MD5, and only then classed. The roles objectCreator and objectViewer on the bucket are enough.
"""

from __future__ import annotations

import binascii
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar
from urllib.parse import SplitResult, quote, urlencode, urlsplit

import msgspec

from cloudsync.archive import json_text
from cloudsync.archive.access import STORAGE, Access
from cloudsync.archive.attempt import Attempt, Harm, Outcome
from cloudsync.archive.line import Line
from cloudsync.archive.objecthttp import TAKEN, Answer, ObjectHttp, Words, md5_header, raise_status
from cloudsync.archive.port import CredentialRefused, Damaged, LinkDown, NotThere, Occupied, Stat, md5_of, same
from cloudsync.link import unreached
from edge.clock import Clock, SystemClock

_T = TypeVar("_T")

GOOGLE = "https://storage.googleapis.com"
WORDS = Words(
    of_one_object=frozenset({"uploadTooLarge"}),
    slow_down=frozenset({"rateLimitExceeded", "userRateLimitExceeded", "usageLimits"}),
    paused=frozenset({"accountDisabled", "quotaExceeded", "UserProjectAccountProblem", "userProjectAccountProblem"}),
    try_again=frozenset({"backendError", "conflict", "internalError", "timeout", "uploadBroken"}),
)
_MARKS = ("X-GUploader-UploadID",)
_FIELDS = "name,size,md5Hash"
_HASH_MD5 = re.compile(r"(?:^|[,\s])md5=([A-Za-z0-9+/]{22}==)")


class _Object(msgspec.Struct, frozen=True):
    """Object resource of the JSON API, as far as it concerns us. Objects that were composed have no MD5."""

    name: str
    size: int
    md5: str | None = msgspec.field(default=None, name="md5Hash")

    def stat(self) -> Stat:
        return Stat(self.name, self.size, None if self.md5 is None else _decoded(self.md5))


class _Page(msgspec.Struct, frozen=True):
    kind: str
    items: tuple[_Object, ...] = ()
    next: str = msgspec.field(default="", name="nextPageToken")


class _Error(msgspec.Struct, frozen=True):
    code: int


class _Refusal(msgspec.Struct, frozen=True):
    error: _Error


class Gcs:
    """The archive in one bucket; `credential_file` holds the key of a service account, as cloudsync.archive.access says."""

    def __init__(
        self,
        bucket: str,
        credential_file: Path | None,
        endpoint: str = "",
        line: Line | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`endpoint` is empty for Google's own. Without `line` nothing holds it back."""
        self._bucket = bucket
        self._place = urlsplit(endpoint.rstrip("/") or GOOGLE)
        ours = clock or SystemClock()
        spoken = line or Line.of(clock=ours)
        self._access = Access(credential_file, ours, spoken, STORAGE)
        self._http = ObjectHttp(spoken, self._place, _MARKS, ours)

    def __repr__(self) -> str:
        return f"Gcs({self._bucket!r})"

    async def put(self, name: str, data: bytes, md5: bytes) -> None:
        answer = await self._upload(name, data, md5, only_create=True)
        if answer.status == 200:
            found: Stat | None = _read(answer, _Object).stat()
        elif answer.status in TAKEN:
            found = await self.head(name)
        else:
            self._raise_of_bucket(answer, name)
        if found is None:
            self._raise(answer, name)
        if not same(found, data, md5):
            raise Occupied(f"other bytes lie at {name} in the archive. {' '.join((Occupied.__doc__ or '').split())}")

    async def get(self, name: str) -> bytes:
        answer = await self._asked("GET", f"{self._object(name)}?alt=media")
        if answer.status == 404 and await self.head(name) is None:  # what Google says to `alt=media` could be anybody's
            raise NotThere(f"the archive has no {name}")
        if answer.status != 200:
            self._raise(answer, name)
        kept = _HASH_MD5.search(answer.every("X-Goog-Hash"))
        if kept is not None and _decoded(kept[1]) != md5_of(answer.body):
            raise Damaged(f"{name}: the archive sent bytes that do not match the MD5 it keeps beside them")
        if "X-Goog-Generation" not in answer.headers:
            raise LinkDown(unreached.PORTAL)
        return answer.body

    async def head(self, name: str) -> Stat | None:
        answer = await self._asked("GET", f"{self._object(name)}?fields={_FIELDS}")
        if answer.status == 404 and _is_googles(answer):
            return None
        if answer.status != 200:
            self._raise(answer, name)
        found = _read(answer, _Object).stat()
        if found.md5 is not None:
            return found
        try:
            data = await self.get(name)
        except NotThere:
            return None
        return Stat(name, len(data), md5_of(data))

    async def list(self, prefix: str) -> AsyncIterator[Stat]:
        token = ""
        while True:
            query = {"prefix": prefix, "fields": f"kind,nextPageToken,items({_FIELDS})"} | ({"pageToken": token} if token else {})
            answer = await self._asked("GET", f"{self._place.path}/storage/v1/b/{self._bucket}/o?{urlencode(query)}")
            if answer.status != 200:
                self._raise_of_bucket(answer, "")
            page = _read(answer, _Page)
            for found in page.items:
                yield found.stat()
            token = page.next
            if not token:
                return

    def endpoint(self) -> SplitResult:
        """The address of the service."""
        return self._place

    async def attempts(self, name: str, data: bytes) -> AsyncIterator[Attempt]:
        """As cloudsync.archive.attempt.Destructible promises. What a bucket keeps of deleted objects is not counted on."""
        deeds: tuple[tuple[str, Harm], ...] = (("objects.insert", "overwrite"), ("objects.delete", "delete"))
        for deed, harm in deeds:
            if harm == "overwrite":
                answer = await self._upload(name, data, md5_of(data), only_create=False)
            else:
                answer = await self._asked("DELETE", self._object(name))
            yield Attempt(deed, harm, *_outcome(answer))
            if harm == "delete" and answer.status in {200, 204}:
                await self.put(name, data, md5_of(data))

    async def close(self) -> None:
        await self._http.close()

    def _object(self, name: str) -> str:
        return f"{self._place.path}/storage/v1/b/{self._bucket}/o/{quote(name, safe='')}"

    async def _upload(self, name: str, data: bytes, md5: bytes, *, only_create: bool) -> Answer:
        boundary = secrets.token_hex(16)
        described = msgspec.json.encode({"name": name, "md5Hash": md5_header(md5), "contentType": "application/octet-stream"})
        begin = b"\r\n".join(
            [
                f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n".encode(),
                described,
                f"--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n".encode(),
            ]
        )
        condition = "&ifGenerationMatch=0" if only_create else ""
        target = f"{self._place.path}/upload/storage/v1/b/{self._bucket}/o?uploadType=multipart{condition}&fields={_FIELDS}"
        headers = {"Content-Type": f"multipart/related; boundary={boundary}"}
        return await self._asked("POST", target, headers, (begin, data, f"\r\n--{boundary}--\r\n".encode()))

    async def _asked(self, method: str, target: str, headers: dict[str, str] | None = None, body: Sequence[bytes] = ()) -> Answer:
        """The answer to one request; where a token is not taken any more, to the same with a fresh one."""
        known = await self._access.headers(self._http.session())
        answer = await self._http.ask(method, target, (headers or {}) | known, body)
        if answer.status == 401 and self._access.refused(known):
            known = await self._access.headers(self._http.session())
            answer = await self._http.ask(method, target, (headers or {}) | known, body)
        return answer

    def _raise_of_bucket(self, answer: Answer, name: str) -> NoReturn:
        """Of a request that fails for want of a bucket alone."""
        if answer.status == 404 and _is_googles(answer):
            raise CredentialRefused(f"there is no bucket {self._bucket!r} (HTTP 404): make it, or correct archive.container")
        self._raise(answer, name)

    def _raise(self, answer: Answer, name: str) -> NoReturn:
        raise_status(answer.status, answer.code, WORDS, name, answer.headers.get("Retry-After", ""))


def _is_googles(answer: Answer) -> bool:
    """Whether a refusal is the JSON API's own."""
    refusal = json_text.read(answer.body, _Refusal)
    return refusal is not None and refusal.error.code == answer.status


def _outcome(answer: Answer) -> tuple[Outcome, str]:
    if answer.status in {200, 204}:
        return "done", ""
    return ("refused" if answer.status in {401, 403} else "unclear"), f"HTTP {answer.status} {answer.code}".rstrip()


def _decoded(md5: str) -> bytes:
    try:
        return binascii.a2b_base64(md5, strict_mode=True)
    except ValueError:
        raise LinkDown(unreached.PORTAL) from None


def _read(answer: Answer, kind: type[_T]) -> _T:
    found = json_text.read(answer.body, kind, strict=False)  # Google writes numbers of 64 bits as text
    if found is None:
        raise LinkDown(unreached.PORTAL)
    return found
