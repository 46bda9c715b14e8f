"""Logs as JSON lines on stderr: when, how grave, where, what. No PHI and no secret: packs are named by their ids."""

from __future__ import annotations

import json
import logging
import sys

from edge.clock import utc


class JsonLines(logging.Formatter):
    """One object a line; a traceback goes into `trace`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"at": utc(record.created), "level": record.levelname.lower(), "logger": record.name, "text": record.getMessage()}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def to_stderr() -> None:
    """Send the logs of this process there. Those of the cloud SDK only when something is wrong: they name every request."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for chatty in ("azure", "aiosqlite"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
