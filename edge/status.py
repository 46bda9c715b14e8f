"""The one sentence: is everything safe off-site, and if not, when? With the figures behind it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edge.control.studies import Study
from edge.journal import Allowance
from edge.link import LinkState, answers
from edge.model import Availability, availability

SILENT = "silent"
"""The state of the link while cloudsync does not say how it is."""
FOR_A_PERSON = frozenset({"credential", "quota", "disk", "clock", "conflict", SILENT})
"""States of the link that end only when somebody acts."""
IDLE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Link:
    """The link as people are told of it."""

    state: str = ""
    """As edge.journal.Link says, or silent; empty before anything was heard of it."""
    since: float | None = None
    sentence: str = ""
    goodput_bytes_per_second: float = 0.0
    sequence: int = 0
    answers: bool = False
    """Whether the archive answers, whatever else is wrong."""


@dataclass(frozen=True, slots=True)
class Figures:
    studies: int
    waiting_studies: int
    waiting_bytes: int
    last_held_at: float | None
    stopped: int
    link: Link
    receiving: int
    conflicts: int = 0
    """Studies with an instance among whose variants a person must choose."""
    hold: str = ""
    """Why not everything is shipped, in a sentence, where that is no fault of the link."""
    alarms: int = 0
    """Other things that a person must see to, each said in a sentence of its own."""
    dropped: int = 0
    """Studies of which something is not to be archived, as a person decided."""


def sentence(figures: Figures, now: float) -> str:
    """In plain words, for a person who wants to go home."""
    safe = _safe(figures, now)
    if figures.dropped:
        safe += f" {count(figures.dropped, 'study stays', 'studies stay')} here only, as somebody decided: `outpost queue` says why."
    if not figures.conflicts:
        return safe
    wait = count(figures.conflicts, "study waits", "studies wait")
    return f"{safe} {wait} for a person to choose between two versions: see `outpost conflicts ls`."


def _safe(figures: Figures, now: float) -> str:
    # Where a person has to act, it is said although nothing waits yet.
    alarm = f" {figures.link.sentence}" if figures.link.state in FOR_A_PERSON else f" {figures.hold}".rstrip()
    if not figures.studies:
        return f"No study has arrived yet.{alarm}"
    if not figures.waiting_studies and figures.dropped:
        others = count(figures.studies - figures.dropped, "other study is", "other studies are")
        return f"{others} safe in the archive; the last one {ago(figures.last_held_at, now)}.{alarm}"
    if not figures.waiting_studies:
        all_of_them = "The only study is" if figures.studies == 1 else f"All {figures.studies:,} studies are"
        return f"{all_of_them} safe in the archive; the last one {ago(figures.last_held_at, now)}.{alarm}"
    of_all = f"{figures.waiting_studies:,} of {count(figures.studies, 'study', 'studies')}"
    waiting = f"{of_all} not yet in the archive ({size(figures.waiting_bytes)})"
    if figures.stopped:
        wait = count(figures.stopped, "of them waits", "of them wait")
        return f"{waiting}; {wait} for a person: `outpost queue` says why, and what to do."
    if figures.hold and figures.link.state not in FOR_A_PERSON:
        return f"{figures.hold} Scanning continues; {waiting}."
    if figures.hold and figures.link.state == "clock" and figures.link.answers:
        return f"{figures.link.sentence} {figures.hold} Scanning continues; {waiting}."
    if figures.link.state not in {"up", ""}:
        stands = figures.link.state in {"conflict", SILENT}
        shipping = (
            "nothing more is shipped"
            if stands
            else "shipping goes on"
            if figures.link.answers
            else "shipping goes on by itself as soon as it can"
        )
        return f"{figures.link.sentence} Scanning continues, and {shipping}; {waiting}."
    if figures.receiving:
        return f"{waiting}; {count(figures.receiving, 'study is', 'studies are')} being received."
    if figures.link.goodput_bytes_per_second > 0 and figures.waiting_bytes:
        seconds = figures.waiting_bytes / figures.link.goodput_bytes_per_second
        return f"{waiting}; at the present speed that takes about {duration(seconds)}."
    return f"{waiting}; on the way."


def link(said: LinkState | None, silent_since: float | None, now: float) -> Link:
    """How the link is: of an archive that was not asked for a while it is not said that it answers now, and what cloudsync said is not
    believed for ever.
    """
    sequence = said.sequence if said else 0
    if silent_since is not None:
        heard = f"was last heard of {ago(silent_since, now)}" if said else "was not heard of yet"
        sentence = f"Cloudsync, which ships to the archive, {heard}: its log says why."
        return Link(SILENT, silent_since, sentence, 0.0, sequence)
    if said is None:
        return Link()
    idle = said.state == "up" and said.answered_at and now - said.answered_at >= IDLE_SECONDS
    sentence = f"The archive answered {ago(said.answered_at, now)}." if idle else said.sentence
    return Link(said.state, said.since, sentence, said.goodput_bytes_per_second, sequence, answers(said))


def hold(told: Allowance | None, now: float) -> str:
    """Why not everything is shipped, as cloudsync said last, in a sentence; empty where nothing keeps it."""
    if told is None or not told.hold:
        return ""
    if told.hold == "paused":
        if told.paused_until is None:
            return "Shipping is paused until somebody lets it go on: `outpost link resume`."
        return f"Shipping is paused until {local(told.paused_until)}." if now < told.paused_until else ""
    anew = f"the next month of it begins on {local(told.month_ends_at)[:10]}"
    if told.hold == "reserve":
        return f"What is left of the data budget ({size(told.budget_bytes)}) is kept for STAT studies and recalls; {anew}."
    return f"The data budget ({size(told.budget_bytes)}) is used up: {anew}, or raise link.monthly_budget_bytes."


def lamp(figures: Figures) -> str:
    """green: everything is safe. amber: it is on its way. red: a person must act."""
    if figures.stopped or figures.conflicts or figures.alarms or figures.link.state in FOR_A_PERSON:
        return "red"
    return "amber" if figures.waiting_studies or figures.dropped else "green"


def study(row: tuple[Any, ...], link_up: bool) -> Study:
    """One row of the named query `studies_in_packs`."""
    (uid, patient, attributes, received_at, series, instances, packs, raw_bytes, coded_bytes) = row[:9]
    (closed, coded, confirmed, objects, held, here, away, stopped, held_at, rejected, origins) = row[9:]
    if rejected:
        state = "rejected"
    elif held == packs:
        state = "evicted" if away == packs else "held"
    elif coded == packs:
        state = "shipping"
    else:
        state = "local" if closed == packs else "received"
    return Study(
        study=uid,
        patient=json.loads(patient),
        attributes=json.loads(attributes),
        received_at=received_at,
        series=series,
        instances=instances,
        packs=packs,
        raw_bytes=raw_bytes,
        coded_bytes=coded_bytes,
        closed=closed,
        coded=coded,
        confirmed=confirmed,
        objects=objects,
        held=held,
        held_at=held_at,
        here=here,
        away=away,
        stopped=stopped,
        availability=Availability.UNAVAILABLE if rejected else availability(here == packs, link_up),
        state=state,
        origins=json.loads(origins),
    )


def ago(stamp: float | None, now: float) -> str:
    return "at an unknown time" if stamp is None else f"{duration(max(0.0, now - stamp))} ago"


def local(stamp: float) -> str:
    """A time by this machine's clock, to the minute: 2027-01-31 14:00."""
    return datetime.fromtimestamp(stamp).strftime("%Y-%m-%d %H:%M")  # noqa: DTZ006 - people read the clock on the wall


def duration(seconds: float) -> str:
    """Rounded for reading: 40 seconds, 3 minutes, 2 h 40, 5 days."""
    if seconds < 90:
        return count(max(1, round(seconds)), "second", "seconds")
    if seconds < 5400:
        return f"{round(seconds / 60)} minutes"
    if seconds < 172_800:
        hours, minutes = divmod(round(seconds / 60), 60)
        return f"{hours} h {minutes:02d}"
    return f"{round(seconds / 86_400)} days"


def size(count: int) -> str:
    """Decimal units, as disks and links are sold: 4.1 GB."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


def count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
