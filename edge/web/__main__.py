"""`python -m edge.web --state DIR`: the edge-web process."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from edge import process
from edge.config import Layout, load
from edge.errors import OutpostError
from edge.web.log import to_stderr
from edge.web.server import serve


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m edge.web", description="DICOMweb over a state directory.")
    parser.add_argument("--state", type=Path, required=True, help="the state directory, as made by `outpost setup`")
    layout = Layout(parser.parse_args().state)
    process.begin("edge-web", process.BEHIND_RECEPTION)
    to_stderr()
    try:
        asyncio.run(serve(load(layout.config), layout))
    except (OutpostError, BaseExceptionGroup) as fault:
        return process.failed(fault)
    return 0


if __name__ == "__main__":
    sys.exit(main())
