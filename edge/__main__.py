"""The edge process: reception, packs, the catalogue's only writer. `python -m edge --state DIR`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import pwd
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from edge import drilled, process, settingfiles, startup
from edge.admitting import Admitting
from edge.asks import Asks
from edge.audit import Application
from edge.auditmessage import Source
from edge.clock import SystemClock, utc
from edge.closing import Closing
from edge.code.worker import Coder
from edge.collector import Collector
from edge.commitment import CommitmentDesk
from edge.config import Config, Layout, load
from edge.conflicts import Conflicts
from edge.controller import Controller
from edge.correcting import Correcting
from edge.destinations import destination_of
from edge.dimse.pdu import Deadlines
from edge.dimse.requestor import Requestor
from edge.dimse.server import CannotListen, Listening, Server
from edge.dimse.tls import Certificates, Files
from edge.doorbell import Doorbell, ring
from edge.durable import disk_errors, write_whole
from edge.errors import ConfigError, OutpostError, StoreFailed
from edge.facts import SITE, Facts
from edge.failstop import FailStop
from edge.gauge import Gauge
from edge.index import CatalogueIndex
from edge.intake import PackIntake
from edge.journalfiles import JournalWriter
from edge.keeper import Keeper
from edge.linking import Linking
from edge.model import AETitle
from edge.natives import Natives
from edge.notify import notify
from edge.outbox import Outbox
from edge.outreach import Outreach
from edge.peering import Peering, PeerTable
from edge.pinning import Pinning
from edge.planning import Planning
from edge.queueing import Queueing
from edge.reach import Reach
from edge.recall import RecallDesk
from edge.refusals import Refusals
from edge.reporting import Reporting
from edge.responder import Responding
from edge.restating import Restating
from edge.retrieve import PackRetrieve
from edge.routes import Routes
from edge.routing import Routing
from edge.scrubber import Scrubber
from edge.setaside import SetAside
from edge.sitecopies import SiteCopies
from edge.store import eviction, site
from edge.store.callers import Callers
from edge.store.decisions import Decisions
from edge.store.finder import Finder
from edge.store.packs import OpenPacks
from edge.store.pins import Pins
from edge.store.proving import notices
from edge.store.room import Room, disks
from edge.store.routes import Forwards, RouteTable
from edge.studies import Studies
from edge.trail import Trail
from edge.unread import UnreadFacts
from edge.variants import Variants
from edge.verifying import Verifying
from edge.wall import Gate
from edge.witness import Witness

log = logging.getLogger(__name__)

GRACE_SECONDS = 10.0
FAILED_GRACE_SECONDS = 1.0
"""Enough to tell peers that their instance was not stored."""


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m edge", description=__doc__)
    arguments.add_argument("--state", type=Path, required=True, help="the state directory that `outpost setup` made")
    layout = Layout(arguments.parse_args().state)
    process.begin("edge")
    try:
        with disk_errors():
            config = load(layout.config)
            _make_directories(layout)
            process.lock(layout.edge_lock)
            asyncio.run(_Edge(config, layout).run())
    except StoreFailed as fault:
        process.stop_dead(fault)
    except (OutpostError, BaseExceptionGroup) as fault:
        return process.failed(fault)
    return 0


class _Edge:
    """Everything of the process, made in the order in which it depends on each other, ended in the written order."""

    def __init__(self, config: Config, layout: Layout) -> None:
        self._config = config
        self._layout = layout
        self._clock = SystemClock()
        self._stop = asyncio.Event()

    async def run(self) -> None:
        config, layout = self._config, self._layout
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        fail_stop = FailStop(lambda: loop.call_soon_threadsafe(self._stop.set))
        certificates = _certificates(config)
        loop.add_signal_handler(signal.SIGHUP, _read_again, certificates)
        gate = Gate(layout.facts, _owner(config.wall.cloudsync_user))
        inbox = Gate(layout.inbox, gate.owner)
        copied_at = None
        if not layout.site.exists():
            copied_at = startup.restore_site(layout, gate, inbox)
            if copied_at is not None:
                log.warning("there was no site state: the copy of %s took its place", utc(copied_at))
        cache = config.cache
        wanted = asyncio.Event()
        room = Room(
            disks(layout.cache, layout.edge),
            cache.reserve_bytes,
            layout.ballast,
            cache.ballast_bytes,
            lambda: loop.call_soon_threadsafe(wanted.set),
        )
        if room.scarce():
            room.give_way()
        decided = asyncio.Event()

        def tell_decided() -> None:
            loop.call_soon_threadsafe(decided.set)

        def copy_site() -> bytes:
            return state.copy(settingfiles.gather(config, layout))

        state = site.SiteState(layout.site, tell_decided)
        if copied_at is not None:
            settingfiles.lay_out(state.settings(), settingfiles.gather(config, layout), layout)
        decisions = Decisions(state)
        await asyncio.to_thread(startup.expect_holdings, layout, gate, state)
        opened = await asyncio.to_thread(startup.open_catalogue, layout, state, self._clock, self._stop.is_set, room.give_way, fail_stop)
        catalogue = opened.catalogue
        room.take_ballast()
        journal = JournalWriter(layout.asks)
        asks = Asks(journal, lambda: ring(layout.cloudsync_bell))
        coder, decoder, comparer = Coder(), Coder(), Coder()
        packs = OpenPacks(layout.cache, config.cache, catalogue, self._clock)
        reach = Reach(catalogue, config.link.offline_after_seconds, self._clock)
        refusals = Refusals()
        box = Source(config.site.ae_title, config.site.name, socket.gethostname())
        collector = Collector(config.audit, layout, box, self._clock, fail_stop)
        audit = Trail(layout.audit, self._clock, fail_stop, written=collector.wake)
        callers = Callers(catalogue, self._clock)
        desk = RecallDesk(layout, catalogue, decoder, asks, inbox, room, refusals, fail_stop)
        outbox = Outbox(config, layout, catalogue, room, coder, asks, self._clock)
        closing = Closing(config.cache, packs, catalogue, room, audit, outbox.closed)
        variants = Variants(layout, catalogue, decisions, comparer, desk, self._clock)
        pins = Pins(state)
        keeper = Keeper(config, layout, catalogue, pins, desk, room, wanted, self._clock)
        pinning = Pinning(catalogue, pins, audit, self._clock)
        scrubber = Scrubber(config, layout, catalogue, desk, reach.up, audit, self._clock, fail_stop)
        gauge = Gauge(config, layout, catalogue, room, self._clock)
        intake = PackIntake(config, layout, catalogue, packs, room, self._clock, fail_stop)
        finder = Finder(layout.catalogue)
        natives = Natives(layout.edge, room, loop)
        retrieve = PackRetrieve(layout, catalogue, finder, desk, reach, self._clock, scrubber.suspect, natives)
        index = CatalogueIndex(finder, reach)
        peering = Peering(config, state, callers, audit)
        correcting = Correcting(catalogue, decisions, audit, self._clock)
        conflicts = Conflicts(catalogue, decisions, audit, self._clock)
        set_aside = SetAside(layout, catalogue, intake, audit, AETitle(config.site.ae_title))
        table = PeerTable(state, callers)
        requestor = Requestor(_deadlines(config), self._clock, certificates)
        commitments = CommitmentDesk(state, catalogue, requestor, self._clock, fail_stop)
        outreach = Outreach(config, table, index, retrieve, intake, commitments, requestor, audit)
        destination = partial(destination_of, calling_ae=AETitle(config.site.ae_title), peers=table, requestor=requestor)
        routes = Routes(RouteTable(state), Forwards(catalogue), retrieve, desk, destination, audit, self._clock, fail_stop)
        routing = Routing(routes, audit, self._clock)
        copies = SiteCopies(layout, copy_site, asks, decided)

        verifying = Verifying(catalogue, asks, reach)
        linking = Linking(catalogue, asks, reach, self._clock)

        def damaged(pack: str) -> None:
            verifying.found(pack)
            loop.call_soon_threadsafe(copies.again if pack == SITE else outbox.closed)

        to_code = partial(loop.call_soon_threadsafe, outbox.closed)
        restating = Restating(catalogue, asks, audit, opened.made, to_code, desk.put_off_heads)
        retired = partial(eviction.clear, layout, catalogue, desk)
        unread = UnreadFacts(layout.unread)
        facts = Facts(gate, catalogue, journal, desk, outbox.settle, unread, refusals, restating.told, damaged, retired, restating.reading)
        alarms: list[Callable[[], list[str]]] = [partial(notices, catalogue), scrubber.alarms, gauge.alarms, intake.alarms]
        alarms += [facts.alarms, verifying.alarms, partial(drilled.alarms, layout)]
        reporting = Reporting(
            config,
            layout,
            catalogue,
            packs,
            reach,
            (restating.notices, commitments.notices, routes.notices, collector.notices, outbox.notices),
            alarms,
            refusals,
            self._clock,
            linking.hold,
        )
        studies = Studies(config.cache, catalogue, retrieve, reach)
        nouns: list[Responding] = [
            reporting,
            studies,
            outbox,
            keeper,
            pinning,
            scrubber,
            Planning(config, layout, catalogue, self._clock),
            Admitting(intake, AETitle(config.site.ae_title)),
            peering,
            correcting,
            conflicts,
            set_aside,
            routing,
            outreach,
            verifying,
            linking,
            Queueing(layout, catalogue, audit, linking.hindered, linking.told),
            Witness(audit),
        ]
        controller = Controller(layout.control, nouns, fail_stop)
        bell, rung = Doorbell(layout.edge_bell), asyncio.Event()
        loop.add_reader(bell.fileno(), _answer_bell, bell, rung)
        restating.begin()
        desk.begin()
        facts.begin()
        server = _listen(config, intake, index, retrieve, table, audit, requestor, commitments)
        write_whole(layout.edge / "dicom.port", f"{server.port}\n".encode())
        try:
            async with asyncio.TaskGroup() as tasks:
                work: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
                    "close quiet packs": closing.close_quiet,
                    "code closed packs": outbox.code_closed,
                    "copy site state": copies.copy_changes,
                    "follow facts": partial(facts.follow, rung, config.link.poll_seconds),
                    "recall": desk.work,
                    "keep below mark": keeper.keep_below_mark,
                    "watch the disk": gauge.watch,
                    "class variants": variants.class_all,
                    "answer requests": controller.serve,
                    "tell the service manager": reporting.tell_manager,
                }
                running = [tasks.create_task(fail_stop.guard(name, begin), name=name) for name, begin in work.items()]
                server.start()
                commitments.start()
                routes.start()
                scrubber.start()
                collector.start()
                audit.record(Application(change="started"))
                log.info(
                    "ready: %s on port %d%s", config.site.ae_title, server.port, f", with TLS on {server.tls_port}" * bool(server.tls_port)
                )
                notify("READY=1")
                await self._stop.wait()
                notify("STOPPING=1")
                await asyncio.to_thread(server.stop, GRACE_SECONDS if fail_stop.fault is None else FAILED_GRACE_SECONDS)
                await asyncio.to_thread(commitments.stop)
                await asyncio.to_thread(routes.stop)
                await asyncio.to_thread(scrubber.stop)
                for task in running:
                    task.cancel()
            if fail_stop.fault is None:
                await fail_stop.guard("close every pack", partial(closing.close_due, everything=True))
        finally:
            server.stop(0)
            commitments.stop()
            routes.stop()
            if fail_stop.fault is not None:
                process.stop_dead(fail_stop.fault)
            scrubber.stop()
            loop.remove_reader(bell.fileno())
            bell.close()
            studies.close()
            audit.record(Application(change="stopped"))
            await asyncio.to_thread(audit.close)
            await asyncio.to_thread(collector.stop)
            await coder.close()
            await decoder.close()
            await comparer.close()
            await natives.close()
            finder.close()
            catalogue.close()
            state.close()
            journal.close()
        with contextlib.suppress(OSError):  # the next start takes longer without it
            write_whole(layout.stopped, b"")

    def _end(self) -> None:
        """The first signal ends in order, the second at once."""
        if self._stop.is_set():
            log.warning("forced to end")
            os._exit(1)
        self._stop.set()


def _read_again(certificates: Certificates | None) -> None:
    """What SIGHUP asks for."""
    if certificates is not None:
        certificates.reload()


def _answer_bell(bell: Doorbell, rung: asyncio.Event) -> None:
    bell.drain()
    rung.set()


def _listen(
    config: Config,
    intake: PackIntake,
    index: CatalogueIndex,
    retrieve: PackRetrieve,
    peers: PeerTable,
    audit: Trail,
    requestor: Requestor,
    commitments: CommitmentDesk,
) -> Server:
    dicom = config.dicom
    listening = Listening(
        host=dicom.host,
        port=dicom.port,
        tls_port=dicom.tls_port,
        ae_titles=frozenset({AETitle(config.site.ae_title), AETitle(config.site.stat_ae_title)}),
        max_associations=dicom.max_associations,
        max_associations_per_address=dicom.max_associations_per_address,
        deadlines=_deadlines(config),
    )
    try:
        secured = requestor.certificates if dicom.tls_port else None
        return Server(listening, intake, index, retrieve, peers, audit, requestor, certificates=secured, commitments=commitments)
    except CannotListen as fault:
        key = "dicom.tls_port" if fault.port and fault.port == dicom.tls_port else "dicom.port"
        cure = "Stop what listens there, or choose another port."
        raise ConfigError(key, f"port {fault.port} on {dicom.host} cannot be used ({fault.why})", cure) from fault


def _certificates(config: Config) -> Certificates | None:
    dicom = config.dicom
    if not dicom.certificate_file:
        return None
    return Certificates(
        Files(
            Path(dicom.certificate_file),
            Path(dicom.key_file),
            Path(dicom.client_ca_file) if dicom.client_ca_file else None,
            dicom.require_client_certificate,
        )
    )


def _deadlines(config: Config) -> Deadlines:
    dicom = config.dicom
    return Deadlines(request_seconds=dicom.request_seconds, pdu_seconds=dicom.pdu_seconds, idle_seconds=dicom.idle_seconds)


def _make_directories(layout: Layout) -> None:
    for path in (layout.open_packs, layout.heads, layout.quarantine, layout.outbox, layout.asks, layout.audit):
        try:
            path.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as fault:
            cure = "Run `outpost setup`, or give this user the right to write there."
            raise ConfigError("--state", f"{path} cannot be made ({fault.strerror})", cure) from fault


def _owner(user: str) -> int | None:
    if not user:
        return None
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError as fault:
        raise ConfigError("wall.cloudsync_user", f"there is no user {user!r}", "Create it, or leave the setting empty.") from fault


if __name__ == "__main__":
    sys.exit(main())
