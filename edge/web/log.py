"""Logging as JSON lines on standard error. No patient data: routes as templates, faults as type and place, never their text."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from pathlib import Path

from edge.clock import utc

_EXTRAS = ("method", "route", "status", "milliseconds", "port")


class JsonLines(logging.Formatter):
    """One JSON object a record."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": utc(record.created),
            "process": "edge-web",
            "level": record.levelname.lower(),
            "says": record.getMessage() if record.name.startswith("edge.") else str(record.msg),
        }
        line |= {name: getattr(record, name) for name in _EXTRAS if hasattr(record, name)}
        if record.exc_info and record.exc_info[0] is not None:
            line["fault"] = record.exc_info[0].__name__
            line["where"] = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(record.exc_info[2])]
        return json.dumps(line)


def to_stderr() -> None:
    """Send the records of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("aiosqlite").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its warnings quote values
