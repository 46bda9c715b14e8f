"""What schemathesis cannot know: how multipart/related is written, and which studies there are. Loaded by its command."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import schemathesis

BOUNDARY = "----generated"
REAL = json.loads(os.environ["OUTPOST_REAL_INSTANCES"])
"""(study, series, instance) of what is stored."""


@schemathesis.serializer("multipart/related")
def multipart(context: Any, value: Any) -> bytes:
    """A body of one part, with whatever was generated in it."""
    content = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return head + content + f"\r\n--{BOUNDARY}--\r\n".encode()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Half of the cases ask for what is there; the boundary stands in the header."""
    chosen = random.Random(repr((case.method, case.path, case.path_parameters, case.query)))
    if case.path_parameters and chosen.random() < 0.5:
        names = ("study", "series", "instance")
        case.path_parameters |= {name: uid for name, uid in zip(names, chosen.choice(REAL), strict=True) if name in case.path_parameters}
        if "frames" in case.path_parameters:
            case.path_parameters["frames"] = chosen.choice(["1", "1,2", "2"])
        if "path" in case.path_parameters:
            case.path_parameters["path"] = chosen.choice(["7FE00010", "7FE00010", "00081115/1/0020000E"])
    if case.media_type and case.media_type.startswith("multipart/related"):
        case.headers["Content-Type"] = f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"'
