"""queries.sql against schema.sql: each statement is named, is prepared, and is used."""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from pathlib import Path

import pytest

import cloudsync.ledger
from cloudsync.ledger.database import named_queries

LEDGER = Path(cloudsync.ledger.__file__).parent
QUERIES = named_queries((LEDGER / "queries.sql").read_text())


def test_every_statement_has_a_name_and_a_purpose() -> None:
    text = (LEDGER / "queries.sql").read_text()
    assert len(QUERIES) == text.count("\n-- ") + 1 == len(re.findall(r"^-- \w+: \S", text, re.MULTILINE))
    assert all(statement.endswith(";") for statement in QUERIES.values())


def test_every_statement_is_used() -> None:
    code = "".join(path.read_text() for path in LEDGER.glob("*.py"))
    assert [name for name in QUERIES if f'"{name}"' not in code] == []


@pytest.mark.parametrize("name", QUERIES)
def test_a_statement_is_prepared(name: str) -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript((LEDGER / "schema.sql").read_text())
    connection.execute(f"EXPLAIN {QUERIES[name]}", defaultdict(lambda: None))
    connection.close()
