"""What a site does while its power may go: everything of R1, with each answer noted on the tape at its moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

from edge.control.cache import Evict
from edge.control.studies import Study
from edge.demo.instances import Sample
from edge.demo.phantom import CT_IMAGE_STORAGE, phantom
from edge.demo.workstation import Workstation
from edge.dimse import commitment
from edge.dimse.negotiation import propose
from edge.dimse.ports import CommitmentReport, Reference
from edge.dimse.requestor import Requestor
from edge.model import UID, AETitle
from tests.rig.power_cut.notes import Notes
from tests.rig.power_cut.plant import Plant


class Workload:
    """The modality, the viewer and the person of one site."""

    def __init__(self, plant: Plant, notes: Notes, workstation: Workstation, seed: int) -> None:
        self._plant = plant
        self._notes = notes
        self._workstation = workstation
        self._runs = seed * 1000
        self._digests: dict[UID, dict[UID, set[str]]] = {}
        """Of what was acknowledged, by study and instance."""
        self._lock = threading.Lock()

    def round(self) -> None:
        """Every phase, with new studies; single instances of one more arrive nearly all the while."""
        with self._trickle():
            new = self.receive()
            self.phase("index")
            new += self.send_at_once([self.study(30, 16) for _ in range(4)])
            self.code_and_evict(new)
            self.ship(new)
            self.phase("evict")
            some = new[: len(new) // 2 + 1]
            self.evict(some)
            self.phase("recall")
            self.recall(some)
        self.phase("stop")
        self._plant.stop()
        self._plant.start()
        self.greet()

    def greet(self) -> None:
        """Make the workstation a peer, where it listens now."""
        self._plant.introduce(self._workstation)

    def code_and_evict(self, studies: Sequence[UID]) -> None:
        """Wait until they are coded, and have evicted what may go by then."""
        self.phase("close")
        self._until(studies, lambda row: row.closed == row.packs, "closed")
        self.phase("code")
        self._until(studies, lambda row: row.coded == row.packs, "coded")
        self.phase("evict")
        self.evict(studies)

    def ship(self, studies: Sequence[UID]) -> None:
        self.phase("ship")
        self._until(studies, lambda row: row.held == row.packs, "held")

    def last(self) -> None:
        """Evict everything and bring everything back: what the archive has is proven with it."""
        studies = [*self._digests]
        self.ship(studies)
        self.phase("evict")
        self.evict(studies)
        self.phase("restore")
        self._workstation.received.clear()
        self.recall(studies)
        self.phase("stop")

    def phase(self, name: str) -> None:
        self._notes.say(phase=name)

    def receive(self) -> list[UID]:
        """Studies of several sizes at once; one instance again, one again with another last pixel; then commitment is asked for."""
        self.phase("receive")
        large = self.study(4, 512)
        changed = replace(large[0], dataset=large[0].dataset[:-2] + b"\x07\x07")
        studies = self.send_at_once([[*large, large[1], changed], self.study(12, 128), self.study(8, 64)])
        with ThreadPoolExecutor(len(studies)) as pool:
            list(pool.map(self.commit, studies))
        return studies

    def send_at_once(self, studies: Sequence[Sequence[Sample]]) -> list[UID]:
        with ThreadPoolExecutor(len(studies)) as pool:
            list(pool.map(self.send, studies))
        return [study[0].study for study in studies]

    def send(self, samples: Sequence[Sample]) -> None:
        self._workstation.send(self._plant.peer, samples, self._stored)

    def commit(self, study: UID) -> None:
        """Ask for storage commitment of what was acknowledged of a study, and wait for the report."""
        instances = sorted(self._digests[study])
        transaction, heard = UID(f"{study}.{len(instances)}.9"), _Heard()
        references = tuple(Reference(UID(CT_IMAGE_STORAGE), uid) for uid in instances)
        with Requestor().association(self._plant.peer, AETitle("WORKSTATION"), propose(commitment.CONTEXTS)) as association:
            status = commitment.ask(association, transaction, references)
            assert status == 0, f"N-ACTION was answered with {status:04X}"
            self._notes.say(asked=transaction)
            commitment.take_report(association, association.answer(), AETitle("OUTPOST"), heard)
            assert heard.report is not None
            self._notes.say(committed=[study, [one.sop_instance for one in heard.report.committed]])

    def evict(self, studies: Sequence[UID]) -> None:
        """Whatever may go; of what is not held yet nothing may."""
        for study in studies:
            list(self._plant.ask(Evict(study=study)))

    def recall(self, studies: Sequence[UID]) -> None:
        """C-MOVE to the workstation; everything must come back as it was sent."""
        for study in studies:
            *_, last = self._workstation.move(self._plant.peer, study)
            assert (last.status, last.failed) == (0, 0), f"C-MOVE ended with {last.status:04X}, {last.failed} failed"
            for instance, digests in self._digests[study].items():
                assert self._workstation.received[instance] & digests, f"{instance} came back changed"

    def study(self, slices: int, size: int) -> list[Sample]:
        """A new one."""
        self._runs += 1
        return list(phantom(slices, size, self._runs))

    def _stored(self, sample: Sample) -> None:
        self._notes.say(stored=[sample.study, sample.sop_instance, sample.digest])
        with self._lock:
            self._digests.setdefault(sample.study, {}).setdefault(sample.sop_instance, set()).add(sample.digest)

    def _until(self, studies: Sequence[UID], holds: Callable[[Study], bool], what: str) -> None:
        wanted = set(studies)

        def all_hold() -> bool:
            rows = [row for row in self._plant.studies() if row.study in wanted]
            return len(rows) == len(wanted) and all(holds(row) for row in rows)

        self._plant.wait(all_hold, f"every pack is {what}")

    @contextmanager
    def _trickle(self) -> Iterator[None]:
        """One small instance after the other, each on an association of its own."""
        ended = threading.Event()
        samples = self.study(400, 32)

        def run() -> None:
            for sample in samples:
                if ended.wait(0.08):
                    return
                self.send([sample])

        with ThreadPoolExecutor(1) as pool:
            trickling = pool.submit(run)
            try:
                yield
            finally:
                ended.set()
                trickling.result()


class _Heard:
    """Takes the report of one commitment."""

    def __init__(self) -> None:
        self.report: CommitmentReport | None = None

    def heard(self, calling_ae: AETitle, report: CommitmentReport) -> bool:
        self.report = report
        return True
