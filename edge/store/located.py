"""Where an instance lies, from its row: the one reading of it for edge and edge-web."""

from __future__ import annotations

from typing import Any

from edge.model import Located
from edge.store.studies import correction_of


def located(row: tuple[Any, ...]) -> Located:
    """A row that begins with the columns that are named in `whereabouts.py` and in reader_queries.sql."""
    return Located(
        sop_class=row[0],
        sop_instance=row[1],
        series=row[2],
        study=row[3],
        transfer_syntax=row[4],
        pack=row[5],
        dataset_offset=row[6],
        dataset_length=row[7],
        digest=row[8],
        present=bool(row[9]),
        correction=correction_of(row[3], row[10], row[11]) if row[10] else None,
    )
