"""`./test bench [GROUP ...] [--json] [--runs N] [--studies N] [--restored N]`: our figures beside the peers', from one run on one machine.

The runs alternate, and the medians are quoted. A figure is never asserted: what falls short is printed as it is.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial

from tests.bench import ack, code, ingest, link, query, restore, retrieve, seal, wire
from tests.bench.table import show

GROUPS = ("ingest", "ack", "retrieve", "query", "wire", "seal", "code", "restore", "link")


def main() -> int:
    arguments = argparse.ArgumentParser(prog="./test bench", description=__doc__)
    arguments.add_argument("groups", nargs="*", choices=[*GROUPS, []], help=f"of {', '.join(GROUPS)}; none for all")
    arguments.add_argument("--json", action="store_true", help="one object a line")
    arguments.add_argument("--runs", type=int, default=5, help="alternating runs of each (default 5)")
    arguments.add_argument("--studies", type=int, default=1_000_000, help="of the catalogue that query asks (default 1000000)")
    arguments.add_argument(
        "--restored", type=int, default=3_000, help="studies in the archive that restore reads (default 3000; promised of 75000)"
    )
    chosen = arguments.parse_args()
    rows = {
        "ingest": partial(ingest.rows, chosen.runs),
        "ack": partial(ack.rows, chosen.runs),
        "retrieve": partial(retrieve.rows, chosen.runs),
        "query": partial(query.rows, chosen.runs, chosen.studies),
        "wire": wire.rows,
        "seal": partial(seal.rows, chosen.runs),
        "code": partial(code.rows, chosen.runs),
        "restore": partial(restore.rows, chosen.restored),
        "link": partial(link.rows, chosen.runs),
    }
    for group in chosen.groups or GROUPS:
        show(rows[group](), as_json=chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
