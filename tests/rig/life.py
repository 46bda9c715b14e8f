"""One life of edge's store, to be killed anywhere in it: a start, a look at what was acknowledged before, then the whole way of one study.

`python -m tests.rig.life STATE NUMBER DESCRIPTOR PHASE`. On the descriptor, a socket, it says a line at a time what phase begins (`phase
NAME`), what is acknowledged (`ack SOP-INSTANCE DIGEST`), what is not there any more (`lost SOP-INSTANCE`), and `done`. Before PHASE it
waits for a byte. The use cases are those of the edge process; the archive is a directory of coded parts in the clear, to which this
process also plays cloudsync.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import shutil
import socket
import sqlite3
import sys
from pathlib import Path

from edge.asks import Asks
from edge.clock import SystemClock
from edge.closing import Closing
from edge.code.coder import code
from edge.code.decoder import finish_job, restore
from edge.code.jobs import CodedPack, CodeJob, DecodeJob, FinishJob, Restored
from edge.config import Cache, Config, Layout
from edge.dataset.walk import EXPLICIT_LE
from edge.dimse.ports import Arrival, Outcome
from edge.failstop import FailStop
from edge.intake import PackIntake
from edge.journal import Recall
from edge.journalfiles import JournalReader, JournalWriter
from edge.model import UID, AETitle, PackId, Peer
from edge.outbox import Outbox
from edge.recall import RecallDesk
from edge.refusals import Refusals
from edge.store import eviction
from edge.store.catalogue import Catalogue
from edge.store.packs import OpenPacks
from edge.store.proving import prove_files, prove_recent
from edge.store.reconcile import reconcile
from edge.store.room import Room
from edge.wall import Gate
from tests.dataset.datasets import CT, dataset
from tests.dimse.fakes import FakeAudit

_WHERE = """
SELECT instance.pack, dataset_offset, dataset_length, here, EXISTS (SELECT 1 FROM holding WHERE holding.pack = instance.pack)
FROM instance WHERE uid = ?
"""
INSTANCES = 3
TITLE = AETitle("CT99")


class Inline:
    """Codes and restores in this process: its calls are counted with the others."""

    async def code(self, job: CodeJob) -> CodedPack:
        return code(job)

    async def restore(self, job: DecodeJob) -> list[Restored]:
        return restore(job)

    async def finish(self, job: FinishJob) -> bool:
        return finish_job(job)


class Life:
    def __init__(self, state: Path, number: int, line: socket.socket, held_up: str) -> None:
        self.layout = layout = Layout(state)
        self.number = number
        self.line = line
        self.held_up = held_up
        self.archive = state / "archive"
        for directory in (layout.open_packs, layout.heads, layout.quarantine, layout.outbox, layout.asks, layout.inbox, self.archive):
            directory.mkdir(parents=True, exist_ok=True)
        self.clock = SystemClock()
        self.begin("start")
        self.catalogue = Catalogue(layout.catalogue)
        self.looking = sqlite3.connect(f"file:{layout.catalogue}?mode=ro", uri=True, isolation_level=None)
        reconcile(layout.cache, layout.quarantine, self.catalogue, self.clock)
        prove_files(layout.cache, self.catalogue)
        prove_recent(layout.cache, self.catalogue)
        config = Config(cache=Cache(reserve_bytes=0, ballast_bytes=0, pack_max_members=INSTANCES))
        room = Room([layout.cache], 0)
        self.packs = OpenPacks(layout.cache, config.cache, self.catalogue, self.clock)
        fail_stop = FailStop(lambda: os._exit(70))
        self.intake = PackIntake(config, layout, self.catalogue, self.packs, room, self.clock, fail_stop)
        self.closing = Closing(config.cache, self.packs, self.catalogue, room, FakeAudit(), lambda: None)
        self.asks = JournalWriter(layout.asks)
        self.reader = JournalReader(Gate(layout.asks), self.asks.last)
        asks = Asks(self.asks, lambda: None)
        self.outbox = Outbox(config, layout, self.catalogue, room, Inline(), asks, self.clock)  # type: ignore[arg-type]
        self.desk = RecallDesk(
            layout,
            self.catalogue,
            Inline(),
            asks,
            Gate(layout.inbox),
            room,
            Refusals(),
            fail_stop,  # type: ignore[arg-type]
        )

    def begin(self, phase: str) -> None:
        self.say(f"phase {phase}")
        if phase == self.held_up:
            self.line.recv(1)

    def say(self, text: str) -> None:
        self.line.sendall(f"{text}\n".encode())

    async def live(self, acknowledged: dict[str, str]) -> None:
        """`acknowledged` are digests by SOP Instance UID."""
        for uid, digest in acknowledged.items():
            if not self.holds(uid, digest):
                self.say(f"lost {uid}")
        eviction.sweep(self.layout, self.catalogue, self.desk)
        self.desk.begin()
        self.begin("receive")
        for data in self.receive():
            acknowledged |= data
        self.begin("close")
        await self.closing.close_due(everything=True)
        self.begin("code")
        coding = asyncio.create_task(self.outbox.code_closed())
        while self.catalogue.rows("next_to_code", since=0.0):
            await asyncio.sleep(0)
        coding.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await coding
        self.begin("hold")
        self.hold()
        self.begin("evict")
        self.evict()
        self.begin("recall")
        await self.recall()
        for uid, digest in acknowledged.items():
            if not self.holds(uid, digest):
                self.say(f"lost {uid}")
        self.say("done")

    def receive(self) -> list[dict[str, str]]:
        """A study: its instances, one of them twice, and one that does not say what it is."""
        study, chance = f"1.2.7.{self.number}", random.Random(self.number)
        told = []
        for number in (1, 2, 2, 3):
            uid = f"{study}.1.{number}"
            pixels = random.Random(f"{self.number} {number}").randbytes(chance.choice((2_000, 40_000, 300_000)) if number != 2 else 9_000)
            data = dataset(study=study, series=f"{study}.1", instance=uid, number=number, pixels=pixels)
            outcome = self.store(uid, data)
            assert outcome in {Outcome.STORED, Outcome.DUPLICATE}, outcome
            digest = hashlib.sha256(data).hexdigest()
            self.say(f"ack {uid} {digest}")
            told.append({uid: digest})
        aside = b"%PDF-1.7 " + str(self.number).encode()
        assert self.store("1.2.7", aside) is Outcome.UNIDENTIFIED
        return told

    def store(self, uid: str, data: bytes) -> Outcome:
        reception = self.intake.begin(Arrival(UID(CT), UID(uid), UID(EXPLICIT_LE), TITLE, AETitle("OUTPOST"), "", Peer(TITLE)))
        try:
            for begin in range(0, len(data), 50_000):
                reception.write(memoryview(data)[begin : begin + 50_000])
            return reception.commit()
        finally:
            reception.abort()

    def hold(self) -> None:
        """What is coded is copied to the archive; then it is held, as the facts would say."""
        upto = int(self.catalogue.figure("facts_upto"))
        for directory in sorted(self.layout.outbox.iterdir()):
            state = self.catalogue.pack(directory.name)
            if state is None or state.coded_at is None or state.held:
                continue
            shutil.copytree(directory, self.archive / directory.name, dirs_exist_ok=True)
            upto += 1
            with self.catalogue.facts(upto):
                self.catalogue.hold(state.pack, self.clock.now(), 1000)
            self.outbox.settle(state.pack)

    def evict(self) -> None:
        """All but the packs of the life before."""
        keep = {row[0] for row in self.catalogue.rows("packs_here") if row[1] == f"1.2.7.{self.number - 1}"}
        chosen = [one for one in eviction.evictable(self.catalogue) if one.pack not in keep]
        assert list(eviction.evict(self.layout, self.catalogue, self.desk, chosen)) or not chosen

    async def recall(self) -> None:
        """The packs of this life, as far as the archive has them."""
        packs = {row[0] for row in self.catalogue.rows("packs_of_study", f"1.2.7.{self.number}")}
        for pack in packs:
            self.desk.want(PackId(pack), None)
        await asyncio.sleep(0)
        while any(self.desk.busy(pack) for pack in packs):
            for ask in self.reader.read():
                if isinstance(ask, Recall):
                    for number in ask.parts:
                        self.bring(ask.pack, number)
            for pack in packs:
                assert self.desk.failure(PackId(pack)) is None
            await asyncio.sleep(0.001)

    def bring(self, pack: str, number: int) -> None:
        target = self.layout.inbox / pack / f"{number:06d}"
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(self.archive / pack / target.name, target)
        self.desk.arrived(pack, number, "", 0)

    def holds(self, uid: str, digest: str) -> bool:
        """Whether an instance lies in the cache bit for bit, or the archive has its pack."""
        for pack, offset, length, here, held in self.looking.execute(_WHERE, (uid,)).fetchall():
            if not here:
                return bool(held) and (self.archive / pack / "000001").exists()
            for path in (self.layout.open_packs / f"{pack}.tar", self.layout.cached(pack)):
                with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                    return hashlib.sha256(os.pread(file.fileno(), length, offset)).hexdigest() == digest
        return False


def main() -> None:
    state, number, descriptor = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    acknowledged: dict[str, str] = json.loads((state / "acknowledged.json").read_text())

    async def live() -> None:
        await Life(state, number, socket.socket(fileno=descriptor), sys.argv[4]).live(acknowledged)

    asyncio.run(live())


if __name__ == "__main__":
    main()
