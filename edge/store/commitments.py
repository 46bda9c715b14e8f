"""Requests for storage commitment as rows of site state: they survive restarts, and a rebuilt box goes on with them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge.model import UID, AETitle
from edge.store.site import SiteState

KEPT_SECONDS = 30 * 86_400.0
"""For so long after its end a transaction UID may not be used again."""

Pair = tuple[UID, UID]
"""SOP class and SOP instance."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A request that has not ended."""

    commitment: int
    transaction: UID
    peer: AETitle
    called: AETitle
    wanted: tuple[Pair, ...]
    failed: tuple[tuple[UID, UID, int], ...] | None
    """None = not decided yet."""
    asked_at: float
    decided_at: float | None
    attempts: int


@dataclass(frozen=True, slots=True)
class PeerFigures:
    peer: AETitle
    waiting: int
    unreported: int
    given_up: int


class CommitmentRows:
    """Every change is flushed when it returns. Methods raise StoreFull or StoreFailed. Safe to use from several threads."""

    def __init__(self, site: SiteState) -> None:
        self._site = site

    def ask(self, transaction: UID, peer: AETitle, called: AETitle, wanted: Sequence[Pair], now: float, next_at: float, reused: int) -> int:
        """Record a request, to be looked at at `next_at`; its number.

        The same request again, whether it has ended or not, is decided and reported anew. A transaction UID that was used for another
        one fails for each instance, with the reason `reused`.
        """
        text = json.dumps(wanted)
        digest = hashlib.sha256(json.dumps(sorted(wanted)).encode()).hexdigest()
        earlier = self._site.rows("commitments_of_transaction", transaction)
        for commitment, its_peer, its_digest in earlier:
            if (its_peer, its_digest) == (peer, digest):
                self._site.change("ask_again", commitment=commitment, wanted=text, called=called, now=now, next_at=next_at)
                return int(commitment)
        failed = json.dumps([(*pair, reused) for pair in wanted]) if earlier else None
        rows = self._site.rows(
            "add_commitment",
            transaction=transaction,
            peer=peer,
            called=called,
            digest=digest,
            wanted=text,
            failed=failed,
            now=now,
            next_at=next_at,
        )
        return int(rows[0][0])

    def due(self, now: float, busy: Iterable[AETitle]) -> list[Pending]:
        """What is to be looked at, of all peers but the busy ones."""
        return [
            Pending(
                commitment=row[0],
                transaction=row[1],
                peer=row[2],
                called=row[3],
                wanted=tuple((one[0], one[1]) for one in json.loads(row[4])),
                failed=None if row[5] is None else tuple((one[0], one[1], one[2]) for one in json.loads(row[5])),
                asked_at=row[6],
                decided_at=row[7],
                attempts=row[8],
            )
            for row in self._site.rows("due_commitments", now=now, busy=json.dumps(sorted(busy)))
        ]

    def next_at(self, busy: Iterable[AETitle]) -> float | None:
        """When something is to be looked at."""
        ((stamp,),) = self._site.rows("next_commitment", busy=json.dumps(sorted(busy)))
        return None if stamp is None else float(stamp)

    def postpone(self, commitment: int, next_at: float) -> None:
        self._site.change("postpone_commitment", commitment=commitment, next_at=next_at)

    def decide(self, commitment: int, failed: Sequence[tuple[UID, UID, int]], now: float) -> None:
        self._site.change("decide_commitment", commitment=commitment, failed=json.dumps(failed), now=now)

    def report_failed(self, commitment: int, fault: str, next_at: float) -> None:
        self._site.change("report_failed", commitment=commitment, fault=fault, next_at=next_at)

    def end(self, commitment: int, now: float, *, delivered: bool) -> None:
        """Also forgets what ended long ago."""
        self._site.change("end_commitment", commitment=commitment, now=now, delivered=int(delivered))
        self._site.change("forget_commitments", now - KEPT_SECONDS)

    def hurry(self, peer: AETitle, next_at: float) -> int:
        """How many reports are now given earlier."""
        return self._site.change("hurry_reports", peer=peer, next_at=next_at)

    def figures(self) -> list[PeerFigures]:
        return [PeerFigures(*row) for row in self._site.rows("commitment_figures")]

    def seek(self, transaction: UID, peer: AETitle, instances: int, now: float) -> None:
        """We ask an archive."""
        self._site.change("add_sought", transaction=transaction, peer=peer, instances=instances, now=now)

    def answer(self, transaction: UID, peer: AETitle, failed: Sequence[tuple[UID, UID, int]], now: float) -> bool:
        """The archive answers. False when we did not ask it that; the first answer counts."""
        return self._site.change("answer_sought", transaction=transaction, peer=peer, failed=json.dumps(failed), now=now) == 1

    def answered(self, transaction: UID) -> list[tuple[UID, UID, int]] | None:
        """What failed of what we asked; None while there is no answer."""
        rows = self._site.rows("sought", transaction)
        return None if not rows or rows[0][0] is None else [(one[0], one[1], one[2]) for one in json.loads(rows[0][0])]
