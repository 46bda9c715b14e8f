"""Signature Version 4 of Amazon (AWS Signature Version 4, "Authenticating Requests: Using the Authorization Header"), as S3 wants it.

The body is named by Content-MD5 and not by a SHA-256 of its own: S3 compares it before the object is there, and TLS keeps the rest.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote

from cloudsync.archive.s3_credential import AccessKey

_ALGORITHM = "AWS4-HMAC-SHA256"
_PAYLOAD = "UNSIGNED-PAYLOAD"


def target(path: str, query: Mapping[str, str]) -> str:
    """Path and query of an address as they are signed, and have to be sent: each but the unreserved characters of RFC 3986 encoded."""
    return quote(path, safe="/-_.~") + (f"?{_encoded(query)}" if query else "")


def signed(
    key: AccessKey, region: str, method: str, host: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], now: float
) -> dict[str, str]:
    """`headers` and those that prove who sends them; `host` with its port as in the header, `now` in seconds since the epoch."""
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    sent = {**headers, "x-amz-content-sha256": _PAYLOAD, "x-amz-date": stamp} | ({"x-amz-security-token": key.token} if key.token else {})
    proven = sorted({"host": host, **{name.lower(): value.strip() for name, value in sent.items()}}.items())
    names = ";".join(name for name, _ in proven)
    request = "\n".join(
        [method, quote(path, safe="/-_.~"), _encoded(query), *(f"{name}:{value}" for name, value in proven), "", names, _PAYLOAD]
    )
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    text = "\n".join([_ALGORITHM, stamp, scope, sha256(request.encode()).hexdigest()])
    derived = b"AWS4" + key.secret.encode()
    for step in scope.split("/"):
        derived = hmac.digest(derived, step.encode(), "sha256")
    proof = hmac.digest(derived, text.encode(), "sha256").hex()
    return {**sent, "Authorization": f"{_ALGORITHM} Credential={key.key_id}/{scope}, SignedHeaders={names}, Signature={proof}"}


def _encoded(query: Mapping[str, str]) -> str:
    return "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted(query.items()))
