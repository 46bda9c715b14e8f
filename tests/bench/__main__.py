"""`./test bench [GROUP ...] [--json] [--runs N]`: our figures beside the peers', from the same run on the same machine.

The runs alternate, and the medians are quoted. A figure is never asserted: what falls short is printed as it is.
"""

from __future__ import annotations

import argparse
import sys

from tests.bench import ingest, retrieve
from tests.bench.table import show

GROUPS = {"ingest": ingest.rows, "retrieve": retrieve.rows}


def main() -> int:
    arguments = argparse.ArgumentParser(prog="./test bench", description=__doc__)
    arguments.add_argument("groups", nargs="*", choices=[*GROUPS, []], help=f"of {', '.join(GROUPS)}; none for all")
    arguments.add_argument("--json", action="store_true", help="one object a line")
    arguments.add_argument("--runs", type=int, default=5, help="alternating runs of each (default 5)")
    chosen = arguments.parse_args()
    for group in chosen.groups or GROUPS:
        show(GROUPS[group](chosen.runs), as_json=chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
