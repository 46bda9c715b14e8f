"""An archive in a bucket of Amazon S3, or of what speaks as S3 does.

A put is create-only by `If-None-Match: *`, and names the MD5 that S3 compares before the object is there; 403, 409 and 412 are first
settled by size and MD5, and only then classed. Why no library does it: decision record 25.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import NoReturn
from urllib.parse import SplitResult, urlsplit

from cloudsync.archive import s3_credential, s3_listing, s3_signature
from cloudsync.archive.attempt import Attempt
from cloudsync.archive.line import Line
from cloudsync.archive.objecthttp import TAKEN, Answer, ObjectHttp, Words, md5_header, raise_status
from cloudsync.archive.port import ClockWrong, CredentialRefused, Damaged, LinkDown, NotThere, Occupied, Stat, md5_of, same
from cloudsync.link import unreached
from edge.clock import Clock, SystemClock
from edge.errors import ConfigError

WORDS = Words(
    of_one_object=frozenset({"EntityTooLarge", "InvalidObjectState", "KeyTooLongError"}),
    slow_down=frozenset({"SlowDown", "SlowDownRead", "SlowDownWrite", "TooManyRequests", "ThrottlingException"}),
    paused=frozenset({"AccountProblem", "AllAccessDisabled", "NotSignedUp", "QuotaExceeded", "XMinioStorageFull"}),
    try_again=frozenset(
        {"BadDigest", "ConditionalRequestConflict", "IncompleteBody", "OperationAborted", "RequestTimeout", "XAmzContentSHA256Mismatch"}
    ),
    no_place=frozenset({"NoSuchBucket", "PermanentRedirect", "TemporaryRedirect", "IllegalLocationConstraintException"}),
    no_object=frozenset({"NoSuchKey", "NoSuchVersion"}),
    clock=frozenset({"RequestTimeTooSkewed"}),
)
_MARKS = ("x-amz-request-id", "x-amz-id-2")
_ETAG_MD5 = re.compile(r'"([0-9a-f]{32})"')


class S3:
    """The archive in one bucket. The credential file is as cloudsync.archive.s3_credential says.

    It is read at first use, and again after the archive refused what it held: a renewed credential needs no restart.
    """

    def __init__(
        self,
        bucket: str,
        region: str,
        endpoint: str,
        credential_file: Path,
        line: Line | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`endpoint` is empty for Amazon's own. Without `line` nothing holds it back."""
        self._bucket, self._region = bucket, region
        # Amazon has an address for each bucket; what else speaks S3 is sure to know the bucket as the first step of the path.
        self._place = urlsplit(endpoint.rstrip("/") + f"/{bucket}" if endpoint else f"https://{bucket}.s3.{region}.amazonaws.com")
        self._credential_file = credential_file
        self._clock = clock or SystemClock()
        self._http = ObjectHttp(line or Line.of(clock=self._clock), self._place, _MARKS, self._clock)
        self._key: s3_credential.AccessKey | None = None

    def __repr__(self) -> str:
        return f"S3({self._bucket!r})"

    async def put(self, name: str, data: bytes, md5: bytes) -> None:
        answer = await self.asked("PUT", name, {"If-None-Match": "*", **described(md5)}, data)
        if answer.status == 200 and kept_md5(answer) in {None, md5}:
            return
        if answer.status != 200 and answer.status not in TAKEN:
            self._raise(answer, name)
        try:
            found = await self.head(name)
        except CredentialRefused:  # an answer to HEAD has no body: the one to the put says more
            found = None
        if found is None:
            self._raise(answer, name)
        if not same(found, data, md5):
            raise Occupied(f"other bytes lie at {name} in the archive. {' '.join((Occupied.__doc__ or '').split())}")

    async def get(self, name: str) -> bytes:
        answer = await self.asked("GET", name, {})
        if answer.status != 200:
            self._raise(answer, name)
        if kept_md5(answer) not in {None, md5_of(answer.body)}:
            raise Damaged(f"{name}: the archive sent bytes that do not match the MD5 it keeps beside them")
        return answer.body

    async def head(self, name: str) -> Stat | None:
        answer = await self.asked("HEAD", name, {})
        if answer.status == 404:  # which anybody might say, without a body
            answer = await self.asked("GET", name, {"Range": "bytes=0-0"})
            if answer.status == 404 and answer.code in WORDS.no_object:
                return None
        if answer.status != 200:
            self._raise(answer, name)
        md5, size = kept_md5(answer), answer.headers.get("Content-Length", "")
        if md5 is not None and size.isdigit():
            return Stat(name, int(size), md5)
        try:
            data = await self.get(name)
        except NotThere:
            return None
        return Stat(name, len(data), md5_of(data))

    async def list(self, prefix: str) -> AsyncIterator[Stat]:
        query = {"list-type": "2", "encoding-type": "url", "prefix": prefix}
        while True:
            answer = await self.asked("GET", "", {}, query=query)
            if answer.status != 200:
                self._raise(answer, "")
            try:
                page = s3_listing.read(answer.body)
            except s3_listing.NoListing:
                raise LinkDown(unreached.PORTAL) from None
            for name, size in page.entries:
                yield Stat(name, size, None)
            if not page.token:
                return
            query["continuation-token"] = page.token

    def endpoint(self) -> SplitResult:
        """The address of the bucket. Raises ConfigError as `s3_credential.read`."""
        self._known()
        return self._place

    async def attempts(self, name: str, data: bytes) -> AsyncIterator[Attempt]:
        """As cloudsync.archive.attempt.Destructible promises."""
        from cloudsync.archive.s3_attempt import attempts  # noqa: PLC0415

        async for attempt in attempts(self, name, data):
            yield attempt

    async def close(self) -> None:
        await self._http.close()

    async def asked(
        self, method: str, name: str, headers: Mapping[str, str], data: bytes = b"", query: Mapping[str, str] | None = None
    ) -> Answer:
        """The answer about one object, whatever it is; about the bucket when `name` is empty."""
        path, asked = f"{self._place.path}/{name}", query or {}
        known = self._known()
        proven = s3_signature.signed(known, self._region, method, self._place.netloc, path, asked, headers, self._clock.now())
        answer = await self._http.ask(method, s3_signature.target(path, asked), proven, (data,))
        if answer.status == 200 and name and method in {"GET", "HEAD", "PUT"} and "ETag" not in answer.headers:
            raise LinkDown(unreached.PORTAL)
        if answer.status in {401, 403}:
            if self._http.line.far.wrong:  # a signature names our time
                raise ClockWrong(self._http.line.far.wrong)
            self._key = None
        return answer

    def _raise(self, answer: Answer, name: str) -> NoReturn:
        raise_status(answer.status, answer.code, WORDS, name, answer.headers.get("Retry-After", ""))

    def _known(self) -> s3_credential.AccessKey:
        if self._key is None:
            self._key = s3_credential.read(self._credential_file)
        return self._key


def kept_md5(answer: Answer) -> bytes | None:
    """The MD5 that S3 keeps of an object: its ETag, except where it was encrypted by KMS or with a customer's key, or came in parts."""
    encrypted = answer.headers.get("x-amz-server-side-encryption", "AES256")
    found = _ETAG_MD5.fullmatch(answer.headers.get("ETag", ""))
    if found is None or encrypted != "AES256" or "x-amz-server-side-encryption-customer-algorithm" in answer.headers:
        return None
    return bytes.fromhex(found[1])


def described(md5: bytes) -> dict[str, str]:
    """The headers of what is put."""
    return {"Content-MD5": md5_header(md5), "Content-Type": "application/octet-stream"}


def check(region: str) -> None:
    """Raises ConfigError when it is no region."""
    if not re.fullmatch(r"[a-z0-9-]+", region):
        raise ConfigError(
            "archive.region", f"{region!r} is no region", 'Write it as the service does: "af-south-1"; where it has none, "us-east-1".'
        )
