"""`outpost takeover`: a person chooses which of two boxes of one site goes on."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from cloudsync.terminal import DEFAULT_STATE, JSON, STATE, plainly, stopped

if TYPE_CHECKING:
    from cloudsync.catalog import SharedEntry
    from cloudsync.takeover import Taken
    from edge.config import Layout

# What this command needs besides typer is imported when it runs: `outpost --help` must not wait for it.

app = typer.Typer()

_STOP = "Stop it for `outpost takeover`: `systemctl stop cloudsync.service`, or Ctrl-C in `outpost run`."


@app.command("takeover")
def takeover(state: STATE = DEFAULT_STATE, as_json: JSON = False) -> None:
    """Let this box write its site's archive again after another one took the site over, with cloudsync stopped: it reads what the other
    one wrote, and ships what it still has. The other box stops shipping.
    """
    import asyncio  # noqa: PLC0415

    with plainly(), stopped(state, _STOP) as layout:
        taken = asyncio.run(_take(layout))
    if as_json:
        typer.echo(json.dumps(asdict(taken)))
        return
    if not taken.followed:
        typer.echo(f"No other box has written this site. The catalog is at number {taken.sequence}; nothing was to be taken over.")
        return
    typer.echo(f"This box writes the site from now on: it has read {taken.followed} segments of the other one, and wrote {taken.sequence}.")
    typer.echo('The other box ships nothing more. What it had not shipped is on its disk alone: see "Two boxes for one site" in')
    typer.echo("docs/operations-archive.md. Next: start cloudsync.")


async def _take(layout: Layout) -> Taken:
    from cloudsync import epochs  # noqa: PLC0415
    from cloudsync.archive.opening import open_archive  # noqa: PLC0415
    from cloudsync.catalog import CatalogChain  # noqa: PLC0415
    from cloudsync.following import Following  # noqa: PLC0415
    from cloudsync.lane import CatalogLane  # noqa: PLC0415
    from cloudsync.ledger.ledger import Ledger  # noqa: PLC0415
    from cloudsync.seal import keys as seal_keys  # noqa: PLC0415
    from cloudsync.takeover import take_over  # noqa: PLC0415
    from cloudsync.teller import Teller  # noqa: PLC0415
    from edge.clock import SystemClock  # noqa: PLC0415
    from edge.config import load  # noqa: PLC0415
    from edge.doorbell import ring  # noqa: PLC0415
    from edge.journalfiles import JournalWriter  # noqa: PLC0415

    def reads_too(entry: SharedEntry) -> None:
        epochs.reads_too(layout.keys, seal_keys.load(layout.keys), entry)

    config, clock = load(layout.config), SystemClock()
    archive = open_archive(config.archive, known=layout.archive_mark)
    ledger, facts = await Ledger.open(layout.ledger), JournalWriter(layout.facts)
    try:
        teller = Teller(ledger, facts, lambda: ring(layout.edge_bell))
        keys = await epochs.current(layout.keys, ledger)
        lane = CatalogLane(ledger, keys, archive, teller, clock, 0.0, lambda sequence: None)
        chain = CatalogChain(keys.site_id, keys.trust_root, keys.open)
        following = Following(ledger, archive, chain, reads_too, lambda fault: None)
        taken = await take_over(ledger, lane, following, clock.now())
        await teller.flush()
        return taken
    finally:
        facts.close()
        await ledger.close()
        await archive.close()
