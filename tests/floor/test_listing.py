"""The listing of a pack's instances crosses the wall: what is none is refused."""

from __future__ import annotations

import json

import pytest

from edge import listing
from edge.errors import Corrupt
from edge.listing import InstanceFile

FILE = {"study": "1.2", "series": "1.2.3", "sop_instance": "1.2.3.4", "bytes": 700, "digest": "a" * 64}


def test_what_is_written_is_read_again() -> None:
    files = [InstanceFile("1.2", "1.2.3", f"1.2.3.{number}", number, "0" * 64) for number in range(3)]
    assert listing.read(listing.write(files)) == files


@pytest.mark.parametrize(
    "file",
    [
        FILE | {"study": ""},
        FILE | {"series": "1..2"},
        FILE | {"sop_instance": "../../etc"},
        FILE | {"sop_instance": "1.2 "},
        FILE | {"bytes": -1},
        FILE | {"bytes": "700"},
        FILE | {"digest": "A" * 64},
        FILE | {"more": 1},
        [],
    ],
    ids=str,
)
def test_what_names_no_instance_is_refused(file: object) -> None:
    with pytest.raises(Corrupt):
        listing.read(json.dumps([file]).encode())


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b"[" * 100_000])
def test_what_is_no_listing_is_refused(data: bytes) -> None:
    with pytest.raises(Corrupt):
        listing.read(data)
