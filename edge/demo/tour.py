"""`outpost demo`: the whole way of a study, shown on the terminal; each step proves what it says or names itself as failed."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pydicom
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from edge.control.cache import Evict
from edge.control.peers import PutPeer
from edge.control.studies import Study
from edge.demo.instances import Sample, samples
from edge.demo.phantom import phantom
from edge.demo.site import Kit, Site, StepFailed, folder
from edge.demo.workstation import Workstation
from edge.errors import OutpostError, Transient
from edge.model import UID, Digest, Level
from edge.status import size

REAL = Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests"
"""Three patients, seven studies of CR, CT and MR, as pydicom ships them: variety of identity, not of pixels."""
TRIES = 12
"""How often a transfer that was broken off is begun again, as a modality would."""


@dataclass
class Tour:
    """The steps, in order, on two throw-away sites and one archive below `place`."""

    place: Path
    console: Console
    data: Path | None = None
    slices: int = 120
    workstation: Workstation = field(default_factory=Workstation)
    lines: list[tuple[str, str, float]] = field(default_factory=list)
    """What was done, with what came of it and the seconds it took."""

    def __post_init__(self) -> None:
        self.archive = self.place / "archive"
        self.clinic = Site("Demo clinic", self.place / "clinic", folder(self.archive))
        self.rebuilt = Site("Rebuilt clinic", self.place / "rebuilt", folder(self.archive))
        self.samples: list[Sample] = []
        self.kit: Kit | None = None

    def run(self) -> None:
        """Every step; raises StepFailed, or an OutpostError, out of the step that failed. The archive directory is there, and empty."""
        for name, step in self.steps:
            with self._step(name) as tell:
                tell(step())

    @property
    def steps(self) -> tuple[tuple[str, Callable[[], str]], ...]:
        """Name and act of each step, in order."""
        return (
            ("instances made ready", self.make_ready),
            ("site set up", self.set_up),
            ("processes started", self.start),
            ("received", self.send),
            ("visible to C-FIND", self.see),
            ("coded", self.code),
            ("sealed and held", self.hold),
            ("evicted", self.evict),
            ("NEARLINE", self.look_nearline),
            ("recalled by C-MOVE", self.recall),
            ("rebuilt from archive and kit", self.rebuild),
            ("recalled there", self.recall_there),
        )

    def stop(self) -> None:
        self.rebuilt.stop()
        self.clinic.stop()

    # The steps

    def make_ready(self) -> str:
        self.samples = [*samples(REAL), *(samples(self.data) if self.data else ())]
        real = len(self.samples)
        self.samples += phantom(self.slices) if self.slices else ()
        generated = f" and {self.slices} of a generated CT phantom" if self.slices else ""
        return f"{real} instances from files{generated}, {size(sum(len(sample.dataset) for sample in self.samples))}"

    def set_up(self) -> str:
        self.kit = self.clinic.set_up(self.place / "kit")
        return "keys, recovery kit and archive folder made"

    def start(self) -> str:
        self.clinic.start()
        self._introduce(self.clinic)
        return f"edge, edge-web and cloudsync; DICOM on port {self.clinic.peer.port}, DICOMweb on port {self.clinic.web_port}"

    def send(self) -> str:
        pending = {sample.sop_instance + sample.digest: sample for sample in self.samples}
        begin = time.monotonic()
        with self._bar("C-STORE", len(pending)) as advance:

            def sent(sample: Sample) -> None:
                pending.pop(sample.sop_instance + sample.digest, None)
                advance(1)

            self._persist(lambda: self.workstation.send(self.clinic.peer, list(pending.values()), sent))
        total = sum(len(sample.dataset) for sample in self.samples)
        return f"{len(self.samples)} instances acknowledged, {size(total)} at {size(int(total / (time.monotonic() - begin)))}/s"

    def see(self) -> str:
        found = self.found(self.clinic)
        missing = self.expected.keys() - found.keys()
        if missing:
            raise StepFailed(f"C-FIND does not know {len(missing)} of {len(self.expected)} studies.")
        short = [study for study, instances in self.expected.items() if found[study][0] < len(instances)]
        if short:
            raise StepFailed(f"C-FIND counts too few instances in {len(short)} studies.")
        return f"{len(self.expected)} studies, all {found[next(iter(self.expected))][1]}"

    def code(self) -> str:
        with self._bar("packs coded", sum(row.packs for row in self._rows())) as advance:
            shown = 0

            def coded_all() -> bool:
                nonlocal shown
                rows = self._rows()
                done = sum(row.coded for row in rows)
                advance(done - shown)
                shown = done
                return all(row.coded == row.packs for row in rows)

            self.clinic.wait(coded_all, "every pack is coded")
        rows = self._rows()
        raw, coded = sum(row.raw_bytes for row in rows), sum(row.coded_bytes for row in rows)
        return f"{size(raw)} -> {size(coded)} ({100 * coded / raw:.0f} %)"

    def hold(self) -> str:
        with self._bar("objects in the archive", sum(row.objects for row in self._rows())) as advance:
            shown = 0

            def held() -> bool:
                nonlocal shown
                rows = self._rows()
                confirmed = sum(row.confirmed for row in rows)
                advance(confirmed - shown)
                shown = confirmed
                return all(row.held == row.packs for row in rows)

            self.clinic.wait(held, "every pack is held", seconds=180)
        rows = self._rows()
        files = [path for path in self.archive.rglob("*") if path.is_file()]
        return f"{sum(row.held for row in rows)} packs as {len(files)} sealed objects, {size(sum(path.stat().st_size for path in files))}"

    def evict(self) -> str:
        for study in self.expected:
            self._persist(partial(self._evict_study, study))
        rows = self._rows()
        if any(row.here for row in rows):
            raise StepFailed("A held pack did not leave the cache.")
        return f"{sum(row.packs for row in rows)} packs left the cache, none of them the only copy"

    def look_nearline(self) -> str:
        found = self.found(self.clinic)
        wrong = {availability for study, (_, availability) in found.items() if study in self.expected} - {"NEARLINE"}
        if wrong:
            raise StepFailed(f"After eviction C-FIND says {', '.join(sorted(wrong))} instead of NEARLINE.")
        return f"C-FIND still answers for {len(self.expected)} studies, all NEARLINE"

    def recall(self) -> str:
        return self.recall_and_compare(self.clinic, list(self.expected))

    def rebuild(self) -> str:
        assert self.kit is not None
        self.clinic.stop()
        self.rebuilt.rebuild(self.kit)
        self.rebuilt.start()
        self.rebuilt.wait(lambda: self.expected.keys() <= self.found(self.rebuilt).keys(), "the rebuilt site answers for every study")
        return f"an empty box knows its peers and answers for {len(self.expected)} studies"

    def recall_there(self) -> str:
        self.workstation.received.clear()
        largest = max(self.expected, key=lambda study: len(self.expected[study]))
        return self.recall_and_compare(self.rebuilt, [largest])

    # What they are made of

    @property
    def expected(self) -> dict[UID, dict[UID, set[Digest]]]:
        """Study, instance, digests of its variants."""
        studies: dict[UID, dict[UID, set[Digest]]] = {}
        for sample in self.samples:
            studies.setdefault(sample.study, {}).setdefault(sample.sop_instance, set()).add(sample.digest)
        return studies

    def _rows(self) -> list[Study]:
        rows: list[Study] = []
        self._persist(lambda: rows.extend(self.clinic.studies()))
        return [row for row in rows if row.study in self.expected]

    def _introduce(self, site: Site) -> None:
        request = PutPeer(ae_title=self.workstation.ae_title, host="127.0.0.1", port=self.workstation.port)
        self._persist(lambda: list(site.ask(request)))

    def found(self, site: Site) -> dict[UID, tuple[int, str]]:
        """What C-FIND answers: study, number of instances and availability."""
        answers = []
        identifier = {"0020000D": {"vr": "UI"}, "00201208": {"vr": "IS"}}
        self._persist(lambda: answers.extend(self.workstation.find(site.peer, Level.STUDY, identifier)))
        return {UID(_value(one, "0020000D")): (int(_value(one, "00201208") or 0), _value(one, "00080056")) for one in answers}

    def recall_and_compare(self, site: Site, studies: Sequence[UID]) -> str:
        wanted = sum(len(self.expected[study]) for study in studies)
        begin = time.monotonic()
        with self._bar("C-MOVE", wanted) as advance:
            for study in studies:
                self._persist(partial(self._move, site, study, advance))
        for study in studies:
            for instance, digests in self.expected[study].items():
                if not self.workstation.received.get(instance, set()) & digests:
                    raise StepFailed(f"Instance {instance} did not come back bit for bit.")
        return f"{wanted} instances in {time.monotonic() - begin:.1f} s, every digest equal"

    def _evict_study(self, study: UID) -> None:
        list(self.clinic.ask(Evict(study=study)))

    def _move(self, site: Site, study: UID, advance: Callable[[int], None]) -> None:
        done = 0
        for progress in self.workstation.move(site.peer, study):
            advance(progress.completed - done)
            done = progress.completed
            if progress.remaining is None and (progress.status or progress.failed):
                raise Transient(f"C-MOVE ended with {progress.status:04X}, {progress.failed} failed.")

    def _persist(self, act: Callable[[], object]) -> None:
        """Do it, and do it again when the site was starting again, or broke off: as devices do. Refusals are final."""
        for attempt in range(TRIES):
            try:
                act()
            except (Transient, FileNotFoundError, ConnectionError) as fault:
                if attempt + 1 == TRIES:
                    raise StepFailed(f"Tried {TRIES} times: {fault}") from fault
                time.sleep(min(0.2 * 2**attempt, 3.0))
            else:
                return

    @contextmanager
    def _step(self, name: str) -> Iterator[Callable[[str], None]]:
        begin = time.monotonic()
        said: list[str] = []
        try:
            yield said.append
        except OutpostError as fault:
            self.console.print(f"[red]✗[/] {name}", highlight=False)
            raise StepFailed(f"Step failed: {name}. {fault}") from fault
        taken = time.monotonic() - begin
        self.lines.append((name, said[0], taken))
        self.console.print(f"[green]✓[/] {name}: {said[0]}  [dim]{taken:.1f} s[/]", highlight=False)

    @contextmanager
    def _bar(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        columns = (TextColumn(f"  {name}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            task = progress.add_task(name, total=total)
            yield lambda count: progress.advance(task, count)


def tour(once: bool, data: Path | None, keep: Path | None) -> int:
    """Run the demo; the exit code. Without `once` it stays up until Ctrl-C. However it is ended, its processes end and its files go."""
    console = Console()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    if data is not None and not data.is_dir():
        console.print(f"--data: there is no directory {data}.", style="red")
        return 78
    with tempfile.TemporaryDirectory(prefix="outpost-demo-") as scratch:
        place = keep or Path(scratch)
        try:
            place.mkdir(parents=True, exist_ok=True)
            show = Tour(place, console, data)
            show.archive.mkdir()
        except OSError as fault:
            console.print(
                f"--keep: {fault.filename}: {fault.strerror}. Name a directory that is new or empty, and that you can write.", style="red"
            )
            return 78
        console.print("[bold]Outpost demo[/]: two throw-away sites, one archive folder, no network but loopback.\n")
        return _show(show, once, console)


def _show(show: Tour, once: bool, console: Console) -> int:
    try:
        with show.workstation:
            show.run()
            _summary(show, console)
            if not once:
                _stay(show, console)
    except OutpostError as fault:
        console.print(f"\n[red]{fault}[/]", highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("\nEnded.")
        return 130 if once or len(show.lines) < len(show.steps) else 0
    finally:
        show.stop()
    return 0


def _summary(show: Tour, console: Console) -> None:
    table = Table("step", "what came of it", "seconds", title="The whole way", title_justify="left")
    for name, result, taken in show.lines:
        table.add_row(name, result, f"{taken:.1f}")
    console.print(table)


def _stay(show: Tour, console: Console) -> None:
    show.clinic.start()
    site, state = show.clinic, show.clinic.layout.state
    lines = (
        ("DICOM", f"{site.peer.ae_title} on 127.0.0.1 port {site.peer.port}; it knows {show.workstation.ae_title}"),
        ("DICOMweb", f"http://127.0.0.1:{site.web_port}/studies"),
        ("its token", str(site.layout.web_token)),
        ("rebuilt site", f"OUTPOST on 127.0.0.1 port {show.rebuilt.peer.port}"),
        ("archive", str(show.archive)),
        ("try", f"./outpost status --state {state}"),
        ("or", f"./outpost peers add MYSELF --state {state}"),
    )
    console.print("\nStill up; Ctrl-C ends it.", highlight=False)
    for name, text in lines:
        console.print(f"  {name:13}{text}", highlight=False, soft_wrap=True)
    while True:
        signal.pause()


def _value(answer: dict[str, dict[str, list[object]]], tag: str) -> str:
    values = answer.get(tag, {}).get("Value") or [""]
    return str(values[0])
