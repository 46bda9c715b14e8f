"""Makes the vectors of this folder anew: `python -m tests.vectors.dataset.make`, from the top of the repository.

A vector's name is `<fate>.<why>.<context>.dataset`, sent by C-STORE on a presentation context of that transfer syntax. Its fate is
`stored` (nothing wrong was seen), `flagged` (stored as it arrived, its fault in the catalogue; both answered 0000), `aside` (in quarantine,
answered C000) or `contradicts` (in quarantine, answered A900). The SOP Instance UID of the command set is `instance_of(why)`. Those that
are larger than LARGEST_FILE are not files: `cases` makes them too.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from edge.dataset.walk import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE
from tests.dataset.datasets import ITEM, ITEM_END, SEQUENCE_END, UNDEFINED, dataset, element, sequence

HERE = Path(__file__).parent
LARGEST_FILE = 8 << 10
JPEG = "1.2.840.10008.1.2.4.50"
CONTEXTS = {"explicit": EXPLICIT_LE, "implicit": IMPLICIT_LE, "deflated": DEFLATED_LE, "big-endian": EXPLICIT_BE, "jpeg": JPEG}
BEFORE, AFTER = 0x00081111, 0x00400275
"""Sequences before and after the four UIDs."""
NUMBER, PIXELS = 0x00200013, 0x7FE00010
BOMB_BYTES = 512 << 20
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Case:
    fate: str
    why: str
    context: str
    data: bytes

    @property
    def name(self) -> str:
        return f"{self.fate}.{self.why}.{self.context}.dataset"

    @property
    def syntax(self) -> str:
        return CONTEXTS[self.context]


def instance_of(why: str) -> str:
    return f"2.25.{int(sha256(why.encode()).hexdigest()[:16], 16)}"


def case_of(path: Path) -> Case:
    fate, why, context, _ = path.name.split(".")
    return Case(fate, why, context, path.read_bytes())


Maker = Callable[[str], bytes]


def good(uid: str, syntax: str = EXPLICIT_LE, **changes: str) -> bytes:
    return dataset(**{"study": "2.25.1", "series": "2.25.1.1", "instance": uid, **changes}, syntax=syntax)


def put(uid: str, piece: bytes, before: int, syntax: str = EXPLICIT_LE) -> bytes:
    """A good dataset with bytes of any kind put in front of the element `before`."""
    data = good(uid, syntax)
    order = "big" if syntax == EXPLICIT_BE else "little"
    tag = (before >> 16).to_bytes(2, order) + (before & 0xFFFF).to_bytes(2, order)
    position = data.index(tag)
    return data[:position] + piece + data[position:]


def end(uid: str, tail: bytes) -> bytes:
    """A good dataset up to its pixel data, and another end."""
    data = good(uid)
    return data[: data.index(b"\xe0\x7f\x10\x00")] + tail


def nested(depth: int, tag: int, syntax: str = EXPLICIT_LE) -> bytes:
    opening = element(tag, "SQ", b"", syntax, UNDEFINED) + element(ITEM, "", b"", syntax, UNDEFINED)
    return opening * depth + (element(ITEM_END, "", b"", syntax) + element(SEQUENCE_END, "", b"", syntax)) * depth


def packed(*pieces: bytes, zeros: int = 0) -> bytes:
    """Deflated without holding what it inflates to."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    data = b"".join(map(packer.compress, pieces))
    data += b"".join(packer.compress(bytes(1 << 20)) for _ in range(zeros >> 20))
    return data + packer.flush()


def with_more(uid: str, more: dict[int, tuple[str, bytes | str]], syntax: str = EXPLICIT_LE) -> bytes:
    return dataset(study="2.25.1", series="2.25.1.1", instance=uid, syntax=syntax, more=more)


def open_end(tag: int, vr: str, *items: bytes) -> bytes:
    return element(tag, vr, b"", length=UNDEFINED) + b"".join(items)


TINY, TINY_BEFORE = element(0x00211001, "US", b"\0\0"), element(0x00091001, "US", b"\0\0")
START = element(ITEM, "", b"") + element(ITEM, "", b"\xff\xd8")
META = element(0x00020010, "UI", EXPLICIT_LE)

_TABLE: dict[str, Maker] = {
    # Lengths that lie, are odd, or are undefined where they may not be.
    "flagged.pixel-data-claims-4-gib.explicit": lambda uid: end(uid, element(PIXELS, "OW", b"abc", length=0xFFFFFFFE)),
    "flagged.pixel-data-claims-4-gib.implicit": lambda uid: good(uid, IMPLICIT_LE)[:-10] + b"\xfe\xff\xff\xff" + b"pixels",
    "flagged.pixel-data-claims-one-byte-more.explicit": lambda uid: end(uid, element(PIXELS, "OB", b"pixels", length=7)),
    "flagged.pixel-data-ends-in-its-header.explicit": lambda uid: good(uid)[:-9],
    "aside.4-gib-before-the-uids.explicit": lambda uid: put(uid, element(0x00080001, "OB", b"", length=0xFFFFFFFE), 0x00080016),
    "aside.short-length-lies-before-the-uids.explicit": lambda uid: put(uid, element(0x00100000, "LO", b"AB", length=0xFFF0), 0x00100010),
    "aside.series-uid-claims-more-than-there-is.explicit": lambda uid: with_more(uid, {})[:-60],
    "aside.nothing-at-all.explicit": lambda uid: b"",
    "aside.one-byte.explicit": lambda uid: b"\x08",
    "stored.odd-length.explicit": lambda uid: put(uid, element(0x00080050, "SH", b"", length=3) + b"abc", 0x00080060),
    "stored.lengths-of-zero.explicit": lambda uid: with_more(uid, dict.fromkeys((0x00100010, 0x00100020, 0x00081030), ("LO", b""))),
    "aside.text-of-undefined-length-before-the-uids.explicit": lambda uid: put(uid, open_end(0x00080119, "UT"), 0x00081030),
    "flagged.text-of-undefined-length.explicit": lambda uid: put(uid, open_end(0x0040A160, "UT"), PIXELS),
    "flagged.sequence-without-end.explicit": lambda uid: put(uid, open_end(AFTER, "SQ"), PIXELS)[: -len("PDpixels") - 10],
    "flagged.item-claims-4-gib.explicit": lambda uid: put(uid, open_end(AFTER, "SQ", element(ITEM, "", b"", length=0xFFFFFFF0)), PIXELS),
    "flagged.item-in-no-sequence.explicit": lambda uid: put(uid, element(ITEM, "", b""), PIXELS),
    "flagged.element-where-an-item-belongs.explicit": lambda uid: put(uid, open_end(AFTER, "SQ", TINY), PIXELS),
    "stored.un-of-undefined-length.explicit": lambda uid: put(
        uid, sequence(0x00211010, [element(0x00080050, "SH", "x", IMPLICIT_LE)], IMPLICIT_LE, "UN").replace(
            element(0x00211010, "", b"", IMPLICIT_LE, UNDEFINED), element(0x00211010, "UN", b"", length=UNDEFINED)
        ), PIXELS,
    ),
    "flagged.un-of-undefined-length-without-end.explicit": lambda uid: end(uid, open_end(0x00211010, "UN")),
    "flagged.fragments-without-end.jpeg": lambda uid: end(uid, open_end(PIXELS, "OB", START)),
    "flagged.fragment-claims-4-gib.jpeg": lambda uid: end(
        uid, open_end(PIXELS, "OB", element(ITEM, "", b""), element(ITEM, "", b"\xff\xd8", length=0xFFFFFFF0))
    ),
    # Depth.
    "stored.sequences-32-deep.explicit": lambda uid: put(uid, nested(32, AFTER), PIXELS),
    "flagged.sequences-33-deep.explicit": lambda uid: put(uid, nested(33, AFTER), PIXELS),
    "flagged.sequences-5000-deep.explicit": lambda uid: put(uid, nested(5000, AFTER), PIXELS),
    "flagged.sequences-5000-deep.implicit": lambda uid: put(uid, nested(5000, AFTER, IMPLICIT_LE), PIXELS, IMPLICIT_LE),
    "flagged.sequences-5000-deep.big-endian": lambda uid: put(uid, nested(5000, AFTER, EXPLICIT_BE), PIXELS, EXPLICIT_BE),
    "aside.sequences-5000-deep-before-the-uids.explicit": lambda uid: put(uid, nested(5000, BEFORE), 0x00100010),
    # Deflate.
    "stored.bomb-of-512-mib.deflated": lambda uid: packed(
        end(uid, element(PIXELS, "OW", b"", length=BOMB_BYTES)), zeros=BOMB_BYTES
    ),
    "aside.bomb-of-zeros.deflated": lambda uid: packed(zeros=BOMB_BYTES),
    "flagged.sequences-5000-deep-before-a-bomb.deflated": lambda uid: packed(put(uid, nested(5000, AFTER), PIXELS), zeros=64 << 20),
    "aside.no-deflate-stream.deflated": good,
    "aside.zlib-header.deflated": lambda uid: zlib.compress(good(uid), 9),
    "aside.cut-before-the-uids.deflated": lambda uid: packed(good(uid))[:60],
    "stored.cut-in-the-pixel-data.deflated": lambda uid: packed(end(uid, element(PIXELS, "OB", bytes(range(256)) * 64)))[:-8],
    # Value representations and transfer syntaxes.
    "aside.vr-unknown-before-the-uids.explicit": lambda uid: put(uid, element(0x00080050, "XX", "x"), 0x00080060),
    "flagged.vr-unknown.explicit": lambda uid: put(uid, element(0x00211001, "XX", "x"), PIXELS),
    "flagged.vr-in-small-letters.explicit": lambda uid: put(uid, element(0x00211001, "lo", "x"), PIXELS),
    "aside.vr-of-zeros.explicit": lambda uid: put(uid, element(0x00080050, "\0\0", "x"), 0x00080060),
    "aside.implicit-on-an-explicit-context.explicit": lambda uid: good(uid, IMPLICIT_LE),
    "aside.explicit-on-an-implicit-context.implicit": good,
    "aside.little-endian-on-a-big-endian-context.big-endian": good,
    "aside.big-endian-on-a-little-endian-context.explicit": lambda uid: good(uid, EXPLICIT_BE),
    # What does not belong there, or not in that order.
    "stored.group-0002-inside.explicit": lambda uid: META + good(uid),
    "stored.group-0000-inside.explicit": lambda uid: element(0x00000000, "UL", b"\4\0\0\0") + good(uid),
    "aside.pixel-data-first.explicit": lambda uid: element(PIXELS, "OB", "pixels") + good(uid),
    "stored.patient-before-the-classes.explicit": lambda uid: element(0x00100030, "DA", "19700101") + good(uid),
    "stored.an-element-twice.explicit": lambda uid: put(uid, element(0x00080060, "CS", "MR"), 0x00081030),
    "stored.zeros-after-the-pixel-data.explicit": lambda uid: good(uid) + bytes(512),
    "flagged.zeros-instead-of-pixel-data.explicit": lambda uid: end(uid, bytes(512)),
    "aside.a-whole-file.explicit": lambda uid: bytes(128) + b"DICM" + META + good(uid),
    "aside.a-program-for-linux.explicit": lambda uid: (b"\x7fELF\2\1\1" + bytes(121)) + b"DICM" + META + good(uid),
    "aside.a-program-for-windows.explicit": lambda uid: (b"MZ\x90\0\3" + bytes(123)) + b"DICM" + META + good(uid),
    "aside.a-script.explicit": lambda uid: b"#!/bin/sh\nexit 1\n".ljust(128, b"\n") + b"DICM" + META + good(uid),
    "aside.a-web-page.explicit": lambda uid: b"<html><script>alert(1)</script></html>" + good(uid),
    # UIDs that are none, and those that are about another instance.
    "aside.study-uid-climbs.explicit": lambda uid: good(uid, study="../../../../etc/cron.d/x"),
    "aside.series-uid-is-a-path.explicit": lambda uid: good(uid, series="/etc/passwd"),
    "aside.instance-uid-climbs.explicit": lambda uid: good("..\\..\\windows\\x"),
    "aside.study-uid-holds-a-nul.explicit": lambda uid: good(uid, study="1.2\0.3"),
    "aside.study-uid-holds-a-newline.explicit": lambda uid: good(uid, study="1.2\n1.3"),
    "aside.study-uid-of-65-characters.explicit": lambda uid: good(uid, study="1." + "2" * 63),
    "stored.study-uid-of-64-characters.explicit": lambda uid: good(uid, study="1." + "2" * 62),
    "aside.study-uid-empty.explicit": lambda uid: good(uid, study=""),
    "aside.study-uid-twice-with-backslash.explicit": lambda uid: good(uid, study="1.2\\1.3"),
    "stored.study-uid-with-leading-zeros.explicit": lambda uid: good(uid, study="1.02.003"),
    "aside.study-uid-missing.explicit": lambda uid: good(uid).replace(element(0x0020000D, "UI", "2.25.1"), b""),
    "contradicts.another-instance.explicit": lambda uid: good("2.25.2"),
    "contradicts.another-class.explicit": lambda uid: good(uid, sop_class="1.2.840.10008.5.1.4.1.1.4"),
    # Sizes and text that somebody may trust later.
    "stored.a-million-tiny-elements.explicit": lambda uid: put(uid, TINY * MILLION, PIXELS),
    "aside.a-million-tiny-elements-before-the-uids.explicit": lambda uid: put(uid, TINY_BEFORE * MILLION, 0x00100010),
    "aside.a-million-items-before-the-uids.explicit": lambda uid: put(
        uid, open_end(BEFORE, "SQ", element(ITEM, "", b"") * MILLION, element(SEQUENCE_END, "", b"")), 0x00100010
    ),
    "stored.pixels-of-an-exabyte.explicit": lambda uid: with_more(
        uid,
        {0x00280008: ("IS", "2147483647"), 0x00280010: ("US", b"\xff\xff"), 0x00280011: ("US", b"\xff\xff"), 0x00280100: ("US", b"\x10\0")},
    ),
    "stored.character-set-unknown.explicit": lambda uid: with_more(
        uid, {0x00080005: ("CS", "ISO_IR 999\\\\KLINGON"), 0x00100010: ("PN", b"\xff\xfe")}
    ),
    "stored.escape-sequences-without-end.explicit": lambda uid: with_more(
        uid, {0x00080005: ("CS", "\\ISO 2022 IR 87"), 0x00100010: ("PN", b"\x1b$B" + b"\x1b" * 61)}
    ),
    "stored.control-characters-in-a-name.explicit": lambda uid: with_more(uid, {0x00100010: ("PN", b"A\r\n\x1b[2J\0\x07^<script>")}),
}  # fmt: skip


def cases() -> Iterator[Case]:
    for name, make in _TABLE.items():
        fate, why, context = name.split(".")
        yield Case(fate, why, context, make(instance_of(why)))


@functools.cache
def large() -> tuple[Case, ...]:
    """Those that are no files."""
    return tuple(case for case in cases() if len(case.data) > LARGEST_FILE)


def main() -> None:
    for path in HERE.glob("*.dataset"):
        path.unlink()
    for case in cases():
        if len(case.data) <= LARGEST_FILE:
            (HERE / case.name).write_bytes(case.data)


if __name__ == "__main__":
    main()
