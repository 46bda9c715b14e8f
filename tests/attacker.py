"""An attacker who holds the box's own credential: tries by plain HTTP to destroy what lies in an Azure Blob Storage container.

Needs nothing of Outpost and no SDK: it may send what an SDK would not. `python -m tests.attacker ADDRESS` with the container's SAS address.
"""

from __future__ import annotations

import base64
import http.client
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import md5
from urllib.parse import quote, urlsplit

VERSIONS = ("2015-04-05", "2019-12-12", "2023-11-03")
"""Of the service's interface: whoever attacks chooses the one in which the credential may do most."""
_JUNK = b"destroyed"
_BLOCK = base64.b64encode(b"000000").decode()
_BLOCK_LIST = f"<?xml version='1.0'?><BlockList><Latest>{_BLOCK}</Latest></BlockList>".encode()
_NOTHING = b"<?xml version='1.0'?><BlockList></BlockList>"
_TAGS = b"<?xml version='1.0'?><Tags><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tags>"
_DATE = "Fri, 01 Jan 2100 00:00:00 GMT"
_BLOB = {"x-ms-blob-type": "BlockBlob"}


@dataclass(frozen=True, slots=True)
class Deed:
    """One request that would destroy, replace, hide or lock something."""

    name: str
    method: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def deeds(source: str) -> Iterator[Deed]:
    """What is tried on each object; `source` is the address of another one, with the credential."""
    yield Deed("Put Blob", "PUT", "", _BLOB, _JUNK)
    yield Deed("Put Blob of nothing", "PUT", "", _BLOB)
    yield Deed("Put Blob where it is there", "PUT", "", {**_BLOB, "If-Match": "*"}, _JUNK)
    yield Deed("Put Blob as an append blob", "PUT", "", {"x-ms-blob-type": "AppendBlob"})
    yield Deed("Put Blob as a page blob", "PUT", "", {"x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": "512"})
    yield Deed("Put Block", "PUT", f"comp=block&blockid={quote(_BLOCK)}", {}, _JUNK)
    yield Deed("Put Block List", "PUT", "comp=blocklist", {}, _BLOCK_LIST)
    yield Deed("Put Block List of nothing", "PUT", "comp=blocklist", {}, _NOTHING)
    yield Deed("Append Block", "PUT", "comp=appendblock", {}, _JUNK)
    yield Deed("Put Page", "PUT", "comp=page", {"x-ms-page-write": "clear", "x-ms-range": "bytes=0-511"})
    yield Deed("Copy Blob", "PUT", "", {"x-ms-copy-source": source})
    yield Deed("Copy Blob From URL", "PUT", "", {"x-ms-copy-source": source, "x-ms-requires-sync": "true"})
    yield Deed("Put Blob From URL", "PUT", "", {**_BLOB, "x-ms-copy-source": source})
    yield Deed("Set Blob Tier", "PUT", "comp=tier", {"x-ms-access-tier": "Archive"})
    yield Deed("Set Blob Metadata", "PUT", "comp=metadata", {"x-ms-meta-k": "v"})
    yield Deed("Set Blob Properties", "PUT", "comp=properties", {"x-ms-blob-content-md5": base64.b64encode(md5(_JUNK).digest()).decode()})
    yield Deed("Set Blob Tags", "PUT", "comp=tags", {}, _TAGS)
    yield Deed("Set Blob Expiry", "PUT", "comp=expiry", {"x-ms-expiry-option": "RelativeToNow", "x-ms-expiry-time": "1"})
    yield Deed("Set Legal Hold", "PUT", "comp=legalhold", {"x-ms-legal-hold": "true"})
    policy = {"x-ms-immutability-policy-until-date": _DATE, "x-ms-immutability-policy-mode": "unlocked"}
    yield Deed("Set Immutability Policy", "PUT", "comp=immutabilityPolicies", policy)
    yield Deed("Lease Blob", "PUT", "comp=lease", {"x-ms-lease-action": "acquire", "x-ms-lease-duration": "-1"})
    yield Deed("Delete Blob", "DELETE")
    yield Deed("Delete Blob with its snapshots", "DELETE", "", {"x-ms-delete-snapshots": "include"})
    yield Deed("Delete Blob for good", "DELETE", "deletetype=permanent")


def container_deeds() -> Iterator[Deed]:
    """What is tried on the container."""
    yield Deed("Delete Container", "DELETE", "restype=container")
    yield Deed("Set Container Metadata", "PUT", "restype=container&comp=metadata", {"x-ms-meta-k": "v"})
    yield Deed("Set Container ACL", "PUT", "restype=container&comp=acl", {"x-ms-blob-public-access": "container"})
    yield Deed("Lease Container", "PUT", "restype=container&comp=lease", {"x-ms-lease-action": "acquire", "x-ms-lease-duration": "-1"})


class Attacker:
    """Holds the SAS address of a container, as it stands in the credential file of a box."""

    def __init__(self, address: str) -> None:
        place = urlsplit(address)
        self._base, self._path, self._sas = f"{place.scheme}://{place.netloc}", place.path, place.query
        kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
        self._line = kind(place.netloc, timeout=30)

    def names(self) -> list[str]:
        """Every object that it can see."""
        status, body = self._ask(Deed("List Blobs", "GET", "restype=container&comp=list"), "", VERSIONS[-1])
        assert status == 200, (status, body)
        return re.findall(r"<Name>([^<]+)</Name>", body.decode())

    def attack(self, versions: Sequence[str] = VERSIONS) -> dict[str, set[int]]:
        """Try everything on everything, in each of these versions; the statuses of each deed."""
        outcome: dict[str, set[int]] = {}
        names = self.names()
        for version in versions:
            for name, other in zip(names, (*names[1:], names[0]), strict=True):
                for deed in deeds(self._address(other)):
                    outcome.setdefault(deed.name, set()).add(self._ask(deed, name, version)[0])
            for deed in container_deeds():
                outcome.setdefault(deed.name, set()).add(self._ask(deed, "", version)[0])
        self._line.close()
        return outcome

    def _address(self, name: str) -> str:
        return f"{self._base}{self._path}/{quote(name)}?{self._sas}"

    def _ask(self, deed: Deed, name: str, version: str) -> tuple[int, bytes]:
        path = f"{self._path}/{quote(name)}" if name else self._path
        query = f"{deed.query}&{self._sas}" if deed.query else self._sas
        headers = {**deed.headers, "x-ms-version": version, "x-ms-date": "Thu, 01 Jan 2026 00:00:00 GMT"}
        self._line.request(deed.method, f"{path}?{query}", deed.body, {**headers, "Content-Length": str(len(deed.body))})
        answer = self._line.getresponse()
        return answer.status, answer.read()


if __name__ == "__main__":
    for done, statuses in Attacker(sys.argv[1]).attack().items():
        print(f"{done}: {sorted(statuses)}")
