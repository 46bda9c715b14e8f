"""DER: what is written is what X.690 says, and only that is read."""

from __future__ import annotations

import pytest

from cloudsync.seal.der import INTEGER, OCTET_STRING, SEQUENCE, NotDer, Reader, header, integer, oid, tlv


@pytest.mark.parametrize(
    ("value", "encoding"),
    [(0, "020100"), (16, "020110"), (127, "02017f"), (128, "02020080"), (255, "020200ff"), (256, "02020100"), (65_535, "020300ffff")],
)
def test_integers_are_written_in_their_shortest_form(value: int, encoding: str) -> None:
    assert integer(value).hex() == encoding


def test_object_identifiers_are_written_in_base_128() -> None:
    assert oid("2.16.840.1.101.3.4.1.46").hex() == "060960864801650304012e"
    assert oid("1.2.840.113549.1.9.16.1.23").hex() == "060b2a864886f70d0109100117"


@pytest.mark.parametrize(
    ("length", "encoding"), [(0, "0400"), (127, "047f"), (128, "048180"), (255, "0481ff"), (256, "04820100"), (1 << 20, "0483100000")]
)
def test_lengths_are_written_in_their_shortest_form(length: int, encoding: str) -> None:
    assert header(OCTET_STRING, length).hex() == encoding


@pytest.mark.parametrize("length", [0, 1, 127, 128, 255, 256, 65_535, 65_536, 1 << 20])
def test_what_is_written_is_read(length: int) -> None:
    reader = Reader(tlv(SEQUENCE, tlv(OCTET_STRING, bytes(length)), integer(5))).enter(SEQUENCE)
    assert len(reader.take(OCTET_STRING)) == length
    reader.skip(integer(5))
    assert not reader


@pytest.mark.parametrize(
    ("encoding", "fault"),
    [
        ("", "nothing"),
        ("04", "no length"),
        ("0405aaaa", "longer than the bytes"),
        ("0480aabb0000", "indefinite length"),
        ("048101aa", "a long form for a short length"),
        ("04820001aa", "a leading zero in the length"),
        ("0485000000000101", "a length of five digits"),
        ("04ff", "a length of 127 digits"),
        ("0201aa", "another tag"),
    ],
)
def test_any_other_form_is_refused(encoding: str, fault: str) -> None:
    with pytest.raises(NotDer):
        Reader(bytes.fromhex(encoding)).take(OCTET_STRING)


def test_a_value_of_another_size_or_bytes_is_refused() -> None:
    with pytest.raises(NotDer):
        Reader(bytes.fromhex("0402aabb")).sized(OCTET_STRING, 3)
    with pytest.raises(NotDer):
        Reader(bytes.fromhex("020105")).skip(integer(6))
    assert Reader(bytes.fromhex("020105")).take(INTEGER) == b"\x05"
