"""What a credential says of itself: of a SAS, what it may do, and until when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from cloudsync.archive.s3_credential import AccessKey
from edge.clock import utc
from edge.finding import Finding

WARN_DAYS = 30.0
_NEEDED = {"r": "read", "c": "create", "l": "list"}
_HARMFUL = {
    "w": "write",
    "d": "delete",
    "x": "delete version",
    "y": "permanent delete",
    "t": "tags",
    "i": "immutability policy",
    "p": "permissions",
    "o": "ownership",
    "m": "move",
    "e": "execute",
    "a": "add",
    "u": "update",
}
_DAY = 86_400.0
_RENEW = "Make a new SAS with the permissions read, create and list (sp=rcl), and write it into archive.credential_file."


@dataclass(frozen=True, slots=True)
class Credential:
    """The parts of a credential that are no secret."""

    means: Literal["account key", "SAS"]
    rights: str = ""
    """The letters of `sp`; empty where a stored access policy of the container says it."""
    begins_at: float | None = None
    ends_at: float | None = None
    """Seconds since the epoch."""
    policy: bool = False
    """Whether it names a stored access policy (`si`)."""


def read(text: str) -> Credential:
    """The credential in the text of a credential file, which `cloudsync.archive.azure_blob` accepts."""
    if "://" in text.partition(";")[0].partition("=")[0]:
        query = urlsplit(text).query
    else:
        fields = dict(field.partition("=")[::2] for field in text.split(";"))
        if "SharedAccessSignature" not in fields:
            return Credential("account key")
        query = fields["SharedAccessSignature"].lstrip("?")
    said = {name: values[0] for name, values in parse_qs(query).items()}
    return Credential("SAS", said.get("sp", ""), _stamp(said.get("st")), _stamp(said.get("se")), "si" in said)


def look(credential: Credential, now: float) -> Iterator[Finding]:
    """What follows from it at `now`, in seconds since the epoch."""
    if credential.means == "account key":
        sentence = "The box holds the key of the storage account: whoever takes it can delete the archive, container and all."
        yield Finding("credential.rights", "fault", sentence, f"{_RENEW} Then rotate the account key.")
        yield Finding("credential.expiry", "good", "The key of a storage account does not expire.")
        return
    yield _rights(credential)
    yield _expiry(credential, now)


def of_access_key(key: AccessKey) -> Iterator[Finding]:
    """Of an access key for S3, which does not say what it may do: the canary shows that."""
    if key.token:
        cure = "Make an access key of a user for this box (docs/operations-archive.md), and write it into archive.credential_file."
        yield Finding("credential.expiry", "warning", "The access key is a temporary one, which ends within hours.", cure)
    else:
        yield Finding("credential.expiry", "good", "The access key does not expire.")


def _rights(credential: Credential) -> Finding:
    check = "credential.rights"
    if not credential.rights:
        where = "its stored access policy" if credential.policy else "nothing in it"
        return Finding(check, "unknown", f"The SAS does not say what it may do; {where} does. The canary shows it.")
    missing = [f"{word} ({letter})" for letter, word in _NEEDED.items() if letter not in credential.rights]
    if missing:
        sentence = f"The SAS (sp={credential.rights}) lacks {', '.join(missing)}."
        return Finding(check, "fault", sentence, f"{_RENEW} To restore a box, read and list are enough.")
    more = [f"{_HARMFUL.get(letter, 'unknown')} ({letter})" for letter in credential.rights if letter not in _NEEDED]
    if more:
        return Finding(check, "fault", f"The SAS (sp={credential.rights}) may do more than Outpost needs: {', '.join(more)}.", _RENEW)
    return Finding(check, "good", "The SAS has the permissions read, create and list, and no others.")


def _expiry(credential: Credential, now: float) -> Finding:
    check = "credential.expiry"
    if credential.begins_at is not None and credential.begins_at > now:
        sentence = f"The SAS is valid only from {utc(credential.begins_at)} on, and the clock of this box says {utc(now)}."
        return Finding(check, "fault", sentence, "Set the clock of this box, or wait until then.")
    if credential.ends_at is None:
        where = "; its stored access policy does" if credential.policy else ""
        return Finding(check, "unknown", f"The SAS does not say when it expires{where}.")
    days = (credential.ends_at - now) / _DAY
    figures = {"days": round(days, 2)}
    if days <= 0:
        sentence = f"The SAS expired {-days:.0f} days ago ({utc(credential.ends_at)}): nothing is shipped or recalled."
        return Finding(check, "fault", sentence, f"{_RENEW} It is taken up within minutes; nothing has to be started again.", figures)
    sentence = f"The SAS expires in {days:.0f} days ({utc(credential.ends_at)})."
    if days < WARN_DAYS:
        return Finding(check, "warning", sentence, f"{_RENEW} Nothing has to be started again.", figures)
    return Finding(check, "good", sentence, "", figures)


def _stamp(text: str | None) -> float | None:
    """ISO 8601 as Azure writes it in a SAS: a day, or a time in UTC with or without seconds. None where it is none."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
