"""Proof that a credential cannot destroy: what the port of archives cannot do, tried on one object that nobody needs.

Stands beside the port and not in it: nothing but `outpost doctor` has a way to overwrite or delete.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

Outcome = Literal["refused", "done", "kept", "unclear"]
"""kept: the archive did it, and keeps what lay there as an older version, which was read back."""
Harm = Literal["overwrite", "delete"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way to destroy an object, and whether the archive let us."""

    deed: str
    """As the archive's own documentation calls it."""
    harm: Harm
    outcome: Outcome
    said: str = ""
    """What the archive answered; holds no secret."""


class Destructible(Protocol):
    """An adapter that can be told to try. Raises what the port raises when the archive does not answer."""

    def attempts(self, name: str, data: bytes) -> AsyncIterator[Attempt]:
        """Try to overwrite the object `name`, whose content is `data`, in each way there is, then to delete it.

        Every overwrite writes what is there already, and what could be deleted is put back: the object is the same afterwards. Broken
        off between the two it is gone, and the next `put` of the same bytes makes it again.
        """
        ...
