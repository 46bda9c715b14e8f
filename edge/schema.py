"""What a database is to be, and by which steps an older one becomes that (docs/formats.md, "Databases").

Text only: who owns a database runs it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edge.errors import Corrupt, Refused

_STEP = re.compile(r"([0-9]{4})_[a-z0-9_]+\.sql")


class NewerDatabase(Refused):
    """A database was made by a newer Outpost. Install that version again; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The script that makes a new database, and the numbered migrations whose sum it is."""

    whole: str
    steps: tuple[tuple[int, str], ...]
    """Ascending. The first one makes what the first release knew."""

    @property
    def version(self) -> int:
        """What `PRAGMA user_version` says of a database that is up to date: the number of the last migration."""
        return self.steps[-1][0]

    def script(self, found: int, name: str) -> str:
        """The statements that bring the database `name` from version `found` (0 for a new one) up to date; empty when it is. To be run in
        one transaction, foreign keys off, and followed by setting the version. Raises NewerDatabase.
        """
        if found > self.version:
            raise NewerDatabase(
                f"{name} was made by a newer Outpost (schema {found}, this one knows {self.version}). Install that version again."
            )
        if found == 0:
            return self.whole
        return "\n".join(text for number, text in self.steps if number > found)


def load(whole: Path, migrations: Path) -> Schema:
    """A schema from its file and the directory of its migrations, `NNNN_name.sql`. Raises Corrupt for an installation that is not whole."""
    steps = {}
    for path in sorted(migrations.glob("*.sql")):
        named = _STEP.fullmatch(path.name)
        if named is None or int(named[1]) in steps:
            raise Corrupt(f"{path} is no migration, or its number is taken. Install Outpost again.")
        steps[int(named[1])] = path.read_text("utf-8")
    if not steps:
        raise Corrupt(f"{migrations} holds no migration. Install Outpost again.")
    return Schema(whole.read_text("utf-8"), tuple(steps.items()))


def backup_of(database: Path) -> Path:
    """Where a copy of a database lies as it was before it was last brought up to date."""
    return database.with_name(f"{database.name}.before")
