"""The box's part of retention, while its cloudsync does not run: what is due, and tombstones for what was approved.

The chain has one writer, and deletion comes after the tombstone, never before: whoever rebuilds the box in between finds a study that is
gone, not one that cannot be brought back, and no verification takes for damage what was meant.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from cloudsync.lane import CatalogLane
from cloudsync.ledger.ledger import Ledger
from cloudsync.ledger.values import Known
from cloudsync.retention.paper import Deletions, Plan, PlannedPack, PlannedStudy, common
from cloudsync.retention.rule import Rule, judged, text_of
from cloudsync.seal.keys import Keys
from cloudsync.segment import Tombstone
from edge.clock import utc
from edge.model import PackId, successor

_STUDY_UID = "0020000D"
_SUCCESSORS_MOST = 1000
"""How often one pack may have been shipped anew."""


@dataclass(frozen=True, slots=True)
class Due:
    """What a rule finds."""

    studies: list[PlannedStudy]
    undecided: list[str]
    """Studies that would be due, of which something is not in the archive yet."""


@dataclass(frozen=True, slots=True)
class Approved:
    """What became of a plan."""

    packs: list[str]
    """Ids in the archive whose objects may be deleted; their tombstones are owed, or were before."""
    studies: int
    retired: int
    """Packs that were retired by it now."""
    changed: list[str]
    """Studies that are not as they were planned: something came since. They stay."""
    excepted: list[str]


async def due(ledger: Ledger, rule: Rule, now: float) -> Due:
    """The studies that are kept no longer than yesterday, oldest first, each with all of its packs."""
    today = datetime.fromtimestamp(now, UTC).date()
    studies, undecided = [], []
    for uid, packs in (await _studies(ledger)).items():
        newest = max(packs, key=lambda pack: (pack.held_at, pack.pack))
        series = [one for pack in packs for one in pack.series]
        # Of several descriptions of one study the one that keeps it longest counts.
        kept = max((judged(rule, pack.study, series, newest.held_at) for pack in packs), key=lambda kept: kept.until)
        if kept.until >= today:
            continue
        if any(pack.state != "held" for pack in packs):
            undecided.append(uid)
            continue
        studies.append(
            PlannedStudy(
                study=uid,
                date=kept.on.isoformat(),
                dated=kept.dated,
                kept_until=kept.until.isoformat(),
                modalities=list(kept.modalities),
                instances=sum(pack.instances for pack in packs),
                bytes=sum(pack.sealed_bytes for pack in packs),
                packs=[PlannedPack(pack.stored_as, _copies(pack)) for pack in packs],
            )
        )
    return Due(sorted(studies, key=lambda study: (study.kept_until, study.study)), sorted(undecided))


async def approve(ledger: Ledger, plan: Plan, excepted: Collection[str], by: str, now: float) -> Approved:
    """Retire what a plan names, but for the studies in `excepted` and those that changed since. Idempotent: broken off, run it again."""
    there, packs, changed, left_out, studies = await _studies(ledger), [], [], [], 0
    tombstones = []
    for study in plan.studies:
        if study.study in excepted:
            left_out.append(study.study)
            continue
        planned = {pack.pack for pack in study.packs}
        now_there = {pack.stored_as for pack in there.get(study.study, ())}
        gone = {pack for pack in planned - now_there if await ledger.retiring.is_retired(PackId(pack))}
        if planned - now_there != gone or now_there - planned or any(pack.state != "held" for pack in there.get(study.study, ())):
            changed.append(study.study)
            continue
        studies += 1
        packs += [copy for pack in study.packs for copy in pack.copies]
        tombstones += [Tombstone(pack=pack, at=now, reason=plan.reason, law=plan.law, by=by) for pack in sorted(now_there)]
    retired = await ledger.retiring.retire(tombstones)
    return Approved(packs, studies, retired, changed, left_out)


async def say(lane: CatalogLane, ledger: Ledger) -> int:
    """Ship what the catalog owes; the number of the last segment that the archive has. Raises as the archive does."""
    await lane.settle()
    return await ledger.chain.last_confirmed()


def deletions(keys: Keys, plan: Plan, approved: Approved, sequence: int, by: str, now: float) -> Deletions:
    """The list for whoever may delete."""
    fields = common(keys, utc(now), by, plan.law, plan.reason)
    return Deletions(**fields, planned_by=plan.by, sequence=sequence, packs=approved.packs)  # type: ignore[arg-type]


async def _studies(ledger: Ledger) -> dict[str, list[Known]]:
    found: defaultdict[str, list[Known]] = defaultdict(list)
    async for pack in ledger.retiring.known():
        if uid := text_of(pack.study, _STUDY_UID):  # none: edge was refused it, and nothing of it is in the archive
            found[uid].append(pack)
    return found


def _copies(pack: Known) -> list[str]:
    """The ids that the pack has had in the archive, in their order."""
    copies = [pack.pack]
    while copies[-1] != pack.stored_as and len(copies) < _SUCCESSORS_MOST:
        copies.append(successor(copies[-1]))
    return [str(each) for each in copies]
