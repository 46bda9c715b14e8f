"""The rows of the bench, and how they are printed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

FIELDS = ("name", "ours", "peer", "peer_name", "ratio", "unit", "promise", "kept")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure beside a peer's. `ratio` is better the larger it is; `promise` is the least ratio that was promised, 0 for none."""

    name: str
    ours: float
    peer: float
    peer_name: str
    unit: str
    ratio: float
    promise: float

    @property
    def kept(self) -> str:
        return "-" if not self.promise else "yes" if self.ratio >= self.promise else "no"


def show(rows: Iterable[Row], as_json: bool) -> None:
    if not as_json:
        print(f"{'':42} {'ours':>9} {'peer':>9} {'unit':5} {'ratio':>7} {'promise':>8} {'kept':>5}  peer")
    for row in rows:
        if as_json:
            print(json.dumps({**asdict(row), "kept": row.kept}), flush=True)
        else:
            promise = f">= {row.promise}" if row.promise else "-"
            print(
                f"{row.name:42} {row.ours:9.2f} {row.peer:9.2f} {row.unit:5} {row.ratio:7.2f} {promise:>8} {row.kept:>5}  {row.peer_name}",
                flush=True,
            )
