"""The faults of Azure Blob Storage and of the way there as the port's errors: each by what can be done about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from azure.core.exceptions import AzureError, ClientAuthenticationError, DecodeError, HttpResponseError

from cloudsync.archive.port import CredentialRefused, LinkDown, NotThere, ObjectRefused, QuotaExceeded, Throttled, seconds_asked
from cloudsync.link import unreached

_OF_ONE_OBJECT = {"BlobArchived", "BlobBeingRehydrated", "InvalidBlobType", "InvalidMd5", "LeaseIdMissing", "BlobImmutableDueToPolicy"}
"""What the archive may hold against one object. Any other refusal would meet each object alike: it waits for a person."""
_TAKEN = {409, 412}
_TAKEN_BY_NAME = {"", "BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet"}
_PAUSED = {"AccountIsDisabled", "InsufficientAccountPermissions", "AccountLimitExceeded", "AccountProtectedFromDeletion"}


def raise_mapped(fault: AzureError, name: str, container: str, creating: bool) -> NoReturn:
    """The fault as one of the port's errors; `creating` says that an object was to be made.

    Texts of the SDK are not passed on: they may hold an address with a signature.
    """
    if isinstance(fault, HttpResponseError) and fault.status_code is not None:
        _raise_status(fault, name, container, creating)
    if isinstance(fault, ClientAuthenticationError):
        raise CredentialRefused from fault
    if isinstance(fault, DecodeError):
        raise LinkDown(unreached.PORTAL) from fault
    raise LinkDown(unreached.sentence(fault)) from fault


def _raise_status(fault: HttpResponseError, name: str, container: str, creating: bool) -> NoReturn:
    status, code = fault.status_code or 0, _code(fault)
    reason = f"HTTP {status} {code}".rstrip()
    if code in _PAUSED:
        raise QuotaExceeded(f"the storage account is closed or full ({reason}): settle it") from fault
    if status in {401, 403}:
        raise CredentialRefused(f"the archive refuses our credential ({reason}): put a valid one in archive.credential_file") from fault
    if code in {"ContainerNotFound", "ContainerBeingDeleted"} or (status == 404 and creating):
        raise CredentialRefused(f"there is no container {container!r} ({reason}): make it, or correct archive.container") from fault
    if status == 404:
        raise NotThere(f"the archive has no {name}") from fault
    if status in {429, 503}:
        raise Throttled(
            f"the archive asks us to slow down ({reason}): nothing to do", seconds_asked(_header(fault, "Retry-After"))
        ) from fault
    if status < 400 or status == 511:
        raise LinkDown(unreached.PORTAL) from fault
    if status == 408 or status >= 500 or code in {"Md5Mismatch", "OperationTimedOut"}:
        cure = "nothing to do, unless it lasts for hours: then look at the status page of the service"
        raise LinkDown(f"the archive answers that it cannot do it now ({reason}): {cure}") from fault
    if status in _TAKEN and code in _TAKEN_BY_NAME:  # and found to be not there: another attempt of ours may be arriving
        raise LinkDown(f"the archive has not settled yet whether it has {name} ({reason}): nothing to do") from fault
    if status == 413 or code in _OF_ONE_OBJECT:
        raise ObjectRefused(f"the archive refuses {name} ({reason})") from fault
    raise CredentialRefused(
        f"the archive refuses our requests ({reason}): compare archive.container and archive.credential_file with the portal"
    ) from fault


def _header(fault: HttpResponseError, name: str) -> str:
    headers: Mapping[str, str] = getattr(fault.response, "headers", {})
    return headers.get(name) or ""


def _code(fault: HttpResponseError) -> str:
    code = _header(fault, "x-ms-error-code")
    return code if code.isalnum() else ""
