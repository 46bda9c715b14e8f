"""From Explicit VR Big Endian, which is retired, to Explicit VR Little Endian (PS3.5 section 7.3), piece by piece."""

from __future__ import annotations

from collections.abc import Iterator

from edge.code.explicit import explicit
from edge.dataset.encode import UNDEFINED, Encoding
from edge.dataset.source import Source, elements, whole
from edge.dataset.vr import WORDS, turned
from edge.dataset.walk import EXPLICIT_BE, EXPLICIT_LE, Malformed

_STEP = 1 << 20
_WRITE = Encoding.of(EXPLICIT_LE)


def little(source: Source) -> Iterator[bytes]:
    """The dataset in Little Endian. Sequences and items get undefined lengths, group lengths, which would be wrong, are left out.

    Raises Malformed, also for a UN of undefined length: what is in it has no byte order that one could rely on.
    """
    for element in elements(source, EXPLICIT_BE):
        if element.vr == "SQ":
            data = memoryview(whole(source, element.offset, element.end - element.offset))
            yield explicit(data, EXPLICIT_BE, signed=False)
        elif element.length == UNDEFINED:
            raise Malformed(f"a {element.vr} of undefined length in big endian")
        elif element.tag & 0xFFFF:
            yield _WRITE.header(element.tag, element.vr, element.length)
            for position in range(element.value, element.end, _STEP):
                yield turned(whole(source, position, min(_STEP, element.end - position)), WORDS.get(element.vr, 1))
