"""What a credential for Azure Blob Storage could destroy with, tried on one blob: each call once, each writing what is there already."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobBlock, BlobProperties, ContentSettings

from cloudsync.archive.attempt import Attempt, Harm, Outcome
from cloudsync.archive.port import md5_of

if TYPE_CHECKING:
    from azure.storage.blob.aio import BlobClient

_REFUSED = {401, 403}
_IMMUTABLE = "BlobImmutableDueToPolicy"
_BLOCK = "000000"


async def attempts(blob: BlobClient, data: bytes) -> AsyncIterator[Attempt]:
    """As Destructible promises, for the blob whose content is `data`. Faults of the way to the service rise as the SDK's."""
    found = await blob.get_blob_properties()
    for deed, harm, call in _deeds(blob, found, data):
        outcome, said = await _outcome(call)
        yield Attempt(deed, harm, outcome, said)
        if outcome == "done" and harm == "delete":
            await blob.upload_blob(data, length=len(data), overwrite=False, content_settings=_settings(data))


def _deeds(blob: BlobClient, found: BlobProperties, data: bytes) -> tuple[tuple[str, Harm, Callable[[], Awaitable[object]]], ...]:
    async def put_block_list() -> None:
        with contextlib.suppress(HttpResponseError):  # refused or not, the list is a right of its own
            await blob.stage_block(_BLOCK, data)
        await blob.commit_block_list([BlobBlock(_BLOCK)], content_settings=_settings(data))

    return (
        ("Put Blob", "overwrite", lambda: blob.upload_blob(data, length=len(data), overwrite=True, content_settings=_settings(data))),
        ("Put Block List", "overwrite", put_block_list),
        # The address holds the credential, which has to open the source too.
        ("Copy Blob", "overwrite", lambda: blob.start_copy_from_url(blob.url)),
        ("Set Blob Properties", "overwrite", lambda: blob.set_http_headers(_settings(data))),
        ("Set Blob Metadata", "overwrite", lambda: blob.set_blob_metadata({})),
        ("Set Blob Tier", "overwrite", lambda: blob.set_standard_blob_tier(found.blob_tier or "Hot")),
        ("Delete Blob", "delete", blob.delete_blob),
    )


async def _outcome(call: Callable[[], Awaitable[object]]) -> tuple[Outcome, str]:
    try:
        await call()
    except HttpResponseError as fault:
        code = (getattr(fault.response, "headers", None) or {}).get("x-ms-error-code") or ""
        said = f"HTTP {fault.status_code} {code if code.isalnum() else ''}".rstrip()
        return "refused" if fault.status_code in _REFUSED or code == _IMMUTABLE else "unclear", said
    return "done", ""


def _settings(data: bytes) -> ContentSettings:
    return ContentSettings(content_type="application/octet-stream", content_md5=bytearray(md5_of(data)))
