"""What a credential for S3 could destroy with, tried on one object: each call once, each writing what is there already.

Where the bucket keeps versions (Object Lock needs that) an overwrite and a deletion "succeed" and destroy nothing: the older version is
read back, and only what comes back whole counts as kept.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from cloudsync.archive.attempt import Attempt, Harm, Outcome
from cloudsync.archive.objecthttp import md5_header
from cloudsync.archive.port import md5_of
from cloudsync.archive.s3 import described

if TYPE_CHECKING:
    from cloudsync.archive.objecthttp import Answer
    from cloudsync.archive.s3 import S3

_REFUSED = {401, 403}
_CONDITION = 412
_MADE = {200, 204}
_UPLOAD = re.compile(rb"<UploadId>([^<]{1,1024})</UploadId>")


async def attempts(bucket: S3, name: str, data: bytes) -> AsyncIterator[Attempt]:
    """As Destructible promises, for the object `name` whose content is `data`."""
    headers = described(md5_of(data))
    deeds: tuple[tuple[str, Harm, Callable[[], Awaitable[tuple[Outcome, str]]]], ...] = (
        ("PutObject with If-None-Match", "overwrite", lambda: _asked(bucket.asked("PUT", name, {"If-None-Match": "*", **headers}, data))),
        ("PutObject", "overwrite", lambda: _asked(bucket.asked("PUT", name, headers, data))),
        ("CompleteMultipartUpload", "overwrite", lambda: _in_parts(bucket, name, data)),
        ("DeleteObject", "delete", lambda: _asked(bucket.asked("DELETE", name, {}))),
    )
    for deed, harm, act in deeds:
        before = (await bucket.asked("HEAD", name, {})).headers.get("x-amz-version-id", "")
        outcome, said = await act()
        if outcome == "done" and await _kept(bucket, name, before, data):
            outcome, said = "kept", "the older version stays"
        yield Attempt(deed, harm, outcome, said)
        if harm == "delete" and outcome in {"done", "kept"}:
            await bucket.put(name, data, md5_of(data))


async def _asked(call: Awaitable[Answer]) -> tuple[Outcome, str]:
    return _outcome(await call)


def _outcome(answer: Answer) -> tuple[Outcome, str]:
    said = f"HTTP {answer.status} {answer.code}".rstrip()
    if answer.status in _MADE:
        return "done", ""
    return ("refused" if answer.status in _REFUSED or answer.status == _CONDITION else "unclear"), said


async def _in_parts(bucket: S3, name: str, data: bytes) -> tuple[Outcome, str]:
    begun = await bucket.asked("POST", name, {}, query={"uploads": ""})
    upload = _UPLOAD.search(begun.body)
    if begun.status != 200 or upload is None:
        return _outcome(begun)
    number = {"uploadId": upload[1].decode()}
    part = await bucket.asked("PUT", name, {"Content-MD5": md5_header(md5_of(data))}, data, {"partNumber": "1", **number})
    etag = part.headers.get("ETag", "").strip('"')
    if part.status == 200 and etag.isalnum():
        whole = f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
        part = await bucket.asked("POST", name, {}, whole.encode(), number)
    if part.status != 200:
        await bucket.asked("DELETE", name, {}, query=number)  # what was begun would be kept, and paid for
    if part.status == 200 and b"<Error>" in part.body:  # S3 begins to answer before it is done
        return "unclear", "HTTP 200 with an error"
    return _outcome(part)


async def _kept(bucket: S3, name: str, version: str, data: bytes) -> bool:
    """Whether the version of an object that was there before is there still. "null" is that of a bucket which keeps none."""
    if version in {"", "null"}:
        return False
    answer = await bucket.asked("GET", name, {}, query={"versionId": version})
    return answer.status == 200 and answer.body == data
