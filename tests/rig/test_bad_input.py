"""Everything of the corpus of bad input against a whole edge process: each gets the answer that its name says, and others are served."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge.config import Layout
from tests.dimse.raw import CLOSED, RawPeer, dataset_pdus, pdata, store_command, value, verify
from tests.rig.figures import children, figures, listener
from tests.servers import Endpoint, edge_alone, until
from tests.vectors.dataset import make as datasets
from tests.vectors.dimse import make as connections

MIB = 1 << 20
MOST_BYTES = 300 * MIB
ANSWERS = {"stored": 0x0000, "flagged": 0x0000, "aside": 0xC000, "contradicts": 0xA900}


class Bench:
    """A running edge, and its catalogue to look into."""

    def __init__(self, endpoint: Endpoint, layout: Layout) -> None:
        self.port = endpoint.port
        self.layout = layout
        self.pid = listener(layout.control)
        self.table: list[tuple[str, str, str]] = []

    def rows(self, statement: str, *values: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(f"file:{self.layout.catalogue}?mode=ro", uri=True)) as catalogue:
            return catalogue.execute(statement, values).fetchall()

    def set_aside(self) -> int:
        (((count,)),) = self.rows("SELECT count(*) FROM quarantine")
        assert isinstance(count, int)
        return count

    def fate(self, instance: str) -> str:
        found = self.rows("SELECT fault FROM instance WHERE uid = ?", instance)
        return "" if not found else "flagged" if found[0][0] else "stored"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    state = tmp_path_factory.mktemp("bad input") / "state"
    with edge_alone(state, ("TEST",), "quiet_seconds = 1.0\n") as endpoint:
        yield Bench(endpoint, Layout(state))


def test_every_dataset_of_the_corpus_is_stored_or_set_aside_as_its_name_says(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    for case in datasets.cases():
        before = bench.set_aside()
        instance = datasets.instance_of(case.why)
        status = send(bench, case.syntax, instance, case.data)
        set_aside = bench.set_aside() - before
        verify(bench.port)
        fate = bench.fate(instance) or ("aside" if status == 0xC000 else "contradicts")
        bench.table.append((case.name, f"{status:04X}", "quarantine" if set_aside else fate))
        assert (status, fate) == (ANSWERS[case.fate], case.fate), case.name
        assert set_aside == (case.fate in {"aside", "contradicts"}), case.name
    show(bench, capsys)


def send(bench: Bench, syntax: str, instance: str, data: bytes) -> int:
    """C-STORE; while half of it is there, somebody else is served."""
    with RawPeer(bench.port) as peer:
        peer.associate(syntax)
        pdus = dataset_pdus(3, data)
        peer.send(pdata(value(3, 3, store_command(instance))), pdus[: len(pdus) // 2])
        verify(bench.port)
        peer.send(pdus[len(pdus) // 2 :])
        status = peer.status()
        assert peer.echo() == 0
        peer.release()
        return status


def test_every_connection_of_the_corpus_gets_the_answer_that_its_name_says(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    for case in connections.cases():
        answer = play(bench, case.sent)
        verify(bench.port)
        bench.table.append((case.name, answer, "goes on" if len(answer) == 4 else "closed"))
        assert answer == case.answer, case.name
    show(bench, capsys)


def play(bench: Bench, sent: bytes) -> str:
    """Send what the vector says; the answer in the words of its name."""
    with RawPeer(bench.port) as peer:
        first = 6 + int.from_bytes(sent[2:6], "big") if sent[:1] == b"\1" and len(sent) >= 74 else len(sent)
        peer.send(sent[:first])
        kind, body = peer.pdu()
        if kind == 2:
            peer.send(sent[first:])
            kind, body = peer.pdu()
        if kind == 4:
            status = int.from_bytes(body[body.index(b"\0\0\0\x09\2\0\0\0") + 8 :][:2], "little")
            peer.release()
            return f"{status:04X}"
        assert peer.pdu() == CLOSED
        return {3: f"rejected-{body[1]}-{body[2]}-{body[3]}", 7: f"aborted-{body[2]}-{body[3]}"}[kind]


def test_what_was_stored_is_coded_and_no_process_grew_on_it(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    until(lambda: bench.rows("SELECT count(*) FROM pack WHERE coded_at IS NULL AND stopped IS NULL") == [(0,)], "every pack is coded", 60)
    edge, coders = figures(bench.pid), [figures(child) for child in children(bench.pid)]
    stopped = bench.rows("SELECT stopped FROM pack WHERE stopped IS NOT NULL")
    with capsys.disabled():
        print(f"\nedge: {edge.peak // MIB} MiB at most, {edge.resident // MIB} now; coders at most {[c.peak // MIB for c in coders]} MiB")
    assert stopped == []
    assert coders
    assert max(process.peak for process in (edge, *coders)) < MOST_BYTES
    assert not [path for path in bench.layout.quarantine.iterdir() if path.name.startswith(".")]
    assert not [path for path in Path(bench.layout.state).rglob("*") if path.name in {"x", "passwd"}]


def show(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print()
        for name, answer, fate in bench.table:
            print(f"{name.rpartition('.')[0]:75} {answer:16} {fate}")
    bench.table.clear()
