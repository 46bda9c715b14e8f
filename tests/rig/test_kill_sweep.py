"""SIGKILL at the N-th write, flush, rename or unlink of edge's store: what was acknowledged is there after the next start."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.rig.injection import calls, killed_at, strace
from tests.servers import ROOT

PHASES = ("start", "receive", "close", "code", "hold", "evict", "recall")
SYSCALLS = ("pwrite64", "write", "fdatasync", "fsync", "rename", "unlink", "ftruncate", "mkdir")
"""Whatever makes something durable, visible or gone."""
SAMPLE = 5
"""Points of each phase in the short run."""
ROUNDS = 5
"""Over all points, in the long run: each meets what the kills before it left behind."""
LANES = 2
LATEST = 30
"""How many acknowledged instances a life looks at; the last one looks at all."""
LIFE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Point:
    phase: str
    syscall: str
    when: int


@dataclass(slots=True)
class Lane:
    """A state directory and its lives, one after the other."""

    state: Path
    number: int = 0
    acknowledged: dict[str, str] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)
    """By the phase in which it was killed."""
    calls: Counter[str] = field(default_factory=Counter)
    """By the call at which it was killed."""

    def live(self, *wrapper: str, point: Point | None = None, everything: bool = False) -> bool:
        """One life; whether it lived to its end."""
        self.number += 1
        known = list(self.acknowledged.items())
        (self.state / "acknowledged.json").write_text(json.dumps(dict(known if everything else known[-LATEST:])))
        ours, theirs = socket.socketpair()
        place = [str(self.state), str(self.number), str(theirs.fileno()), point.phase if point else "-"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        said: list[list[str]] = []
        tracer = None
        with ours, (self.state / "life.log").open("ab") as log:
            process = subprocess.Popen(
                [*wrapper, sys.executable, "-m", "tests.rig.life", *place],
                stdout=log,
                stderr=log,
                env=environment,
                cwd=ROOT,
                pass_fds=[theirs.fileno()],
            )
            theirs.close()
            with ours.makefile("r") as lines:
                for line in lines:
                    said.append(line.split())
                    if point and said[-1] == ["phase", point.phase]:
                        tracer = killed_at(process.pid, point.syscall, point.when)
                        ours.send(b"!")
            code = process.wait(LIFE_SECONDS)
        if tracer is not None:
            tracer.communicate()
        lost = [words[1] for words in said if words[0] == "lost"]
        assert not lost, f"life {self.number}, after a kill: {lost} were acknowledged and are lost"
        self.acknowledged |= {words[1]: words[2] for words in said if words[0] == "ack"}
        if ["done"] in said and code == 0:
            return True
        assert code == -9, (point, code, (self.state / "life.log").read_text()[-3000:])
        self.kills[[words[1] for words in said if words[0] == "phase"][-1]] += 1
        return False

    def sweep(self, points: list[Point]) -> None:
        for point in points:
            if not self.live(point=point):
                self.calls[point.syscall] += 1


def points_of(state: Path) -> list[Point]:
    """Every call of a whole life by phase, kind and number, as strace counts them: thread by thread."""
    trace = state.parent / "trace"
    lane = Lane(state)
    assert lane.live()
    assert lane.live(strace(), "-f", "-qq", "-o", str(trace), "-e", f"trace={','.join(SYSCALLS)},sendto")
    _, *parts = re.split(r"sendto\(\d+, \"phase (\w+)", trace.read_text(errors="replace"))
    points = []
    for phase, text in zip(parts[::2], parts[1::2], strict=True):
        threads: dict[str, list[str]] = {}
        for line in text.splitlines()[1:]:
            threads.setdefault(line.split()[0], []).append(line)
        for syscall in SYSCALLS:
            most = max((calls("\n".join(lines)).get(syscall, 0) for lines in threads.values()), default=0)
            points += [Point(phase, syscall, when) for when in range(1, most + 1)]
    return points


def sample(points: list[Point]) -> list[Point]:
    chance = random.Random(len(points))
    phases = [[point for point in points if point.phase == phase] for phase in PHASES]
    return [point for phase in phases for point in chance.sample(phase, min(SAMPLE, len(phase)))]


def test_edge_is_killed_at_every_call_of_the_whole_way(tmp_path: Path, full: bool, capsys: pytest.CaptureFixture[str]) -> None:
    begin = time.monotonic()
    for number in range(LANES + 1):
        (tmp_path / str(number) / "state").mkdir(parents=True)
    points = points_of(tmp_path / str(LANES) / "state")
    chosen = points * ROUNDS if full else sample(points)
    lanes = [Lane(tmp_path / str(number) / "state") for number in range(LANES)]
    faults: list[BaseException] = []

    def run(lane: Lane, share: list[Point]) -> None:
        try:
            lane.live()
            lane.sweep(share)
            assert lane.live(everything=True)
        except (AssertionError, subprocess.TimeoutExpired) as fault:
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(lane, chosen[number::LANES])) for number, lane in enumerate(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, faults[0]
    phases = sum((lane.kills for lane in lanes), Counter[str]())
    at = sum((lane.calls for lane in lanes), Counter[str]())
    acknowledged = sum(len(lane.acknowledged) for lane in lanes)
    with capsys.disabled():
        print(f"\n{phases.total()} kills at {len(points)} points: {dict(phases)}; {dict(at)}")
        print(f"{acknowledged} instances acknowledged, 0 lost; {time.monotonic() - begin:.0f} s")
    assert set(phases) == set(PHASES)
