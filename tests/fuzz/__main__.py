"""Fuzz one target. Ends with 0 after its time, with another code when an input broke it: that input is then in `--found`."""

from __future__ import annotations

import argparse
import sys
from hashlib import sha256
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["edge"]):
    from tests.fuzz.targets import TARGETS
from tests.fuzz.seeds import seeds


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    arguments.add_argument("target", choices=sorted(TARGETS))
    arguments.add_argument("--seconds", type=int, default=60)
    arguments.add_argument("--corpus", type=Path, required=True, help="a directory that keeps what reached new code; seeds are added")
    arguments.add_argument("--found", type=Path, required=True, help="a directory for an input that broke the target")
    chosen = arguments.parse_args()
    for directory in (chosen.corpus, chosen.found):
        directory.mkdir(parents=True, exist_ok=True)
    for seed in seeds(chosen.target):
        (chosen.corpus / sha256(seed).hexdigest()[:16]).write_bytes(seed)
    options = [
        f"-max_total_time={chosen.seconds}",
        "-max_len=8192",
        "-timeout=5",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
        f"-artifact_prefix={chosen.found}/",
    ]
    atheris.Setup([sys.argv[0], *options, str(chosen.corpus)], TARGETS[chosen.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
