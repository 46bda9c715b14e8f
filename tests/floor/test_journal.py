"""edge.journal: what one side told is read by the other, once, in order, or loudly not at all."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from edge import journal
from edge.errors import Corrupt, Permanent, StoreFailed
from edge.journal import Ack, Recall, Stopped
from edge.journalfiles import SEGMENT_BYTES, JournalReader, JournalWriter
from edge.wall import Gate, Trespass
from tests.servers import ROOT, need

EXAMPLES = [
    journal.Ack(upto=3),
    journal.Coded(
        pack="p",
        urgency="stat",
        instances=1,
        raw_bytes=2,
        sha256="0",
        study={"0020000D": {"vr": "UI", "Value": ["1.2"]}},
        series=[],
        parts=[journal.PartFile(0, 5, "d")],
    ),
    journal.SiteState(bytes=1, digest="d"),
    journal.Recall(pack="p", parts=[0, 1]),
    journal.Taken(pack="p"),
    journal.Restate(),
    journal.Progress(pack="p", confirmed=1, total=2),
    journal.Held(pack="p", held_at=1.5, instances=1, raw_bytes=2, sealed_bytes=3, sha256="0", study={}, series=[{}]),
    journal.Here(pack="p", number=1, bytes=2, digest="d"),
    journal.RecallFailed(pack="p", parts=[1], reason="no", final=True),
    journal.Stopped(pack="p", reason="é\n\u2028"),
    journal.Link(state="up", since=1.0, goodput_bytes_per_second=2.0, sentence="Good."),
    journal.SiteStateHere(bytes=1, digest="d"),
    journal.AsksUnread(sentence="Ask 1 was set aside."),
    journal.Verify(percent=2.5),
    journal.Pause(until=5.0),
    journal.Resume(),
    journal.Allowance(
        asked=1,
        hold="paused",
        paused_until=None,
        cap_bytes_per_second=2.0,
        budget_bytes=3,
        used_bytes=4,
        month_began_at=5.0,
        month_ends_at=6.0,
        round_trip_seconds=0.7,
    ),
    journal.Damaged(pack="p", reason="It is missing."),
    journal.Retired(pack="p"),
    journal.Follows(site="s", sequence=2, fault="It ends."),
    journal.CatalogRead(left=2, total=3),
    journal.Verification(
        asked=1, percent=2.5, began_at=1.0, ended_at=None, done=0.5, objects=3, read_objects=2, read_bytes=1, damaged=1, faults=["One."]
    ),
]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "asks"


def reader(directory: Path, position: int = 0) -> JournalReader:
    return JournalReader(Gate(directory), position)


def filled(directory: Path, count: int, reason: str = "") -> JournalWriter:
    writer = JournalWriter(directory)
    for number in range(1, count + 1):
        assert writer.append(Stopped(pack=f"pack {number}", reason=reason)) == number
    return writer


def test_every_kind_comes_out_as_it_went_in(directory: Path) -> None:
    assert {type(one) for one in EXAMPLES} == set(journal.Line.__subclasses__())
    writer = JournalWriter(directory)
    assert writer.append(*EXAMPLES) == writer.last == len(EXAMPLES)
    writer.close()
    found = reader(directory).read()
    assert [entry.seq for entry in found] == list(range(1, len(EXAMPLES) + 1))
    assert [msgspec.structs.replace(entry, seq=0) for entry in found] == EXAMPLES


def test_the_numbers_go_on_after_the_writer_was_opened_again(directory: Path) -> None:
    filled(directory, 3).close()
    writer = JournalWriter(directory)
    assert writer.last == 3
    assert writer.append(Ack(upto=1)) == 4
    writer.close()
    assert [entry.seq for entry in reader(directory).read()] == [1, 2, 3, 4]


def test_the_reader_goes_on_from_its_position_in_batches(directory: Path) -> None:
    writer = filled(directory, 5)
    reading = reader(directory, 1)
    assert [entry.seq for entry in reading.read(at_most=2)] == [2, 3]
    assert [entry.seq for entry in reading.read()] == [4, 5]
    assert reading.read() == []
    writer.append(Ack(upto=1))
    assert [entry.seq for entry in reading.read()] == [6]
    writer.close()


def test_there_is_nothing_to_read_before_the_writer_was_there(directory: Path) -> None:
    assert reader(directory).read() == []
    directory.mkdir()
    assert reader(directory).read() == []
    JournalWriter(directory).close()
    assert reader(directory).read() == []


def test_a_torn_last_line_is_not_read_and_is_cut_when_the_writer_opens(directory: Path) -> None:
    filled(directory, 2).close()
    segment = directory / "000000000001.jsonl"
    whole = segment.read_bytes()
    for cut in range(1, len(whole) // 2):
        segment.write_bytes(whole[:-cut])
        assert [entry.seq for entry in reader(directory).read()] == [1]
        writer = JournalWriter(directory)
        assert writer.last == 1
        assert writer.append(Ack(upto=0)) == 2
        writer.close()
        assert [type(entry) for entry in reader(directory).read()] == [Stopped, Ack]


def test_segments_roll_and_stay_under_their_size(directory: Path) -> None:
    writer = filled(directory, 7, "x" * 400_000)
    names = sorted(path.name for path in directory.iterdir())
    assert names == ["000000000001.jsonl", "000000000003.jsonl", "000000000005.jsonl", "000000000007.jsonl"]
    assert all(path.stat().st_size <= SEGMENT_BYTES for path in directory.iterdir())
    assert [entry.seq for entry in reader(directory).read()] == list(range(1, 8))
    assert [entry.seq for entry in reader(directory, 4).read()] == [5, 6, 7]
    writer.close()


def test_many_entries_at_once_are_spread_over_segments_that_can_be_read(directory: Path) -> None:
    writer = JournalWriter(directory)
    assert writer.append(*(Stopped(pack=str(number), reason="x" * 300_000) for number in range(20))) == 20
    writer.close()
    assert all(path.stat().st_size <= SEGMENT_BYTES for path in directory.iterdir())
    assert [entry.pack for entry in reader(directory).read() if isinstance(entry, Stopped)] == [str(number) for number in range(20)]
    assert JournalWriter(directory).last == 20


def test_forget_removes_the_segments_that_are_acknowledged_as_a_whole(directory: Path) -> None:
    writer = filled(directory, 5, "x" * 400_000)
    writer.forget(1)
    assert len(list(directory.iterdir())) == 3
    writer.forget(4)
    writer.forget(4)
    assert [path.name for path in directory.iterdir()] == ["000000000005.jsonl"]
    writer.forget(99)
    assert [path.name for path in directory.iterdir()] == ["000000000005.jsonl"]
    assert writer.append(Ack(upto=0)) == 6
    writer.close()


def test_a_reader_that_lost_its_position_starts_with_what_is_still_there(directory: Path) -> None:
    writer = filled(directory, 5, "x" * 400_000)
    writer.forget(2)
    assert [entry.seq for entry in reader(directory, 0).read()] == [3, 4, 5]
    writer.close()


def test_a_missing_segment_is_corrupt(directory: Path) -> None:
    filled(directory, 5, "x" * 400_000).close()
    (directory / "000000000003.jsonl").unlink()
    with pytest.raises(Corrupt, match="line 3 is missing"):
        reader(directory).read()
    (directory / "000000000001.jsonl").unlink()
    with pytest.raises(Corrupt, match="line 3 is missing"):
        reader(directory, 2).read()


def test_a_missing_line_is_corrupt_and_the_position_stays(directory: Path) -> None:
    filled(directory, 3).close()
    segment = directory / "000000000001.jsonl"
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(lines[0] + lines[2])
    reading = reader(directory)
    for _ in range(2):
        with pytest.raises(Corrupt, match="line 2 is missing, found 3"):
            reading.read()
    segment.write_bytes(b"".join(lines))
    assert [entry.seq for entry in reading.read()] == [1, 2, 3]


def test_a_journal_that_was_begun_again_behind_the_reader_is_corrupt_not_silence(directory: Path) -> None:
    filled(directory, 2).close()
    with pytest.raises(Corrupt, match="ends at line 2, but 9 were read"):
        reader(directory, 9).read()
    assert reader(directory, 2).read() == []


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff\xfe",
        b"not json",
        b'{"kind":"unheard-of","seq":2}',
        b'{"kind":"ack","seq":2,"upto":"1"}',
        b'{"kind":"ack","seq":2,"upto":1,"more":1}',
        b'{"kind":"ack","seq":2}',
        b'{"kind":"ack","seq":2,"upto":' + b"9" * 5000 + b"}",
        b'{"kind":"stopped","seq":2,"pack":"\xff","reason":""}',
        b'{"kind":"held","study":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        bytes(100),
    ],
    ids=lambda line: repr(line[:24]),
)
def test_foreign_bytes_are_corrupt(directory: Path, line: bytes) -> None:
    filled(directory, 1).close()
    with (directory / "000000000001.jsonl").open("ab") as segment:
        segment.write(line + b"\n")
    with pytest.raises(Corrupt, match="line 2"):
        reader(directory).read()


def test_a_file_with_another_name_is_no_segment(directory: Path) -> None:
    filled(directory, 1).close()
    for name in ("README", "1.jsonl", "00000000000a.jsonl", ".000000000002.jsonl", "000000000002.jsonl.old"):
        (directory / name).write_text("anything\n")
    assert [entry.seq for entry in reader(directory).read()] == [1]


def test_a_segment_that_is_a_link_or_too_large_is_a_trespass(directory: Path) -> None:
    filled(directory, 1).close()
    segment = directory / "000000000001.jsonl"
    segment.rename(directory.parent / "elsewhere")
    segment.symlink_to(directory.parent / "elsewhere")
    with pytest.raises(Trespass):
        reader(directory).read()
    segment.unlink()
    segment.write_bytes(bytes(3 << 20))
    with pytest.raises(Trespass):
        reader(directory).read()


def test_a_line_over_1_mib_is_refused_and_nothing_is_written(directory: Path) -> None:
    writer = filled(directory, 1)
    with pytest.raises(Permanent, match="journal line"):
        writer.append(Ack(upto=1), Stopped(pack="p", reason="x" * (1 << 20)))
    assert writer.last == 1
    assert writer.append(Recall(pack="p", parts=[])) == 2
    writer.close()
    assert [type(entry) for entry in reader(directory).read()] == [Stopped, Recall]


def test_a_write_that_the_disk_refuses_leaves_no_trace(directory: Path) -> None:
    class Full(JournalWriter):
        """A disk that takes half of it, once."""

        full = True

        def _write(self, lines: list[bytes]) -> None:
            if self.full:
                self.full = False
                self._descriptor, kept = -1, self._descriptor
                try:
                    super()._write(lines)
                finally:
                    self._descriptor = kept
            super()._write(lines)

    writer = Full(directory)
    with pytest.raises(StoreFailed, match="Bad file descriptor"):
        writer.append(Ack(upto=1))
    assert writer.append(Ack(upto=2)) == 1
    writer.close()
    assert [entry.upto for entry in reader(directory).read() if isinstance(entry, Ack)] == [2]


def test_several_threads_append_without_a_gap_or_a_repetition(directory: Path) -> None:
    writer = JournalWriter(directory)
    numbers: list[int] = []

    def append() -> None:
        name = threading.current_thread().name
        numbers.extend(writer.append(Recall(pack=name, parts=[]), Ack(upto=0)) for _ in range(20))

    threads = [threading.Thread(target=append) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    assert sorted(numbers) == list(range(2, 161, 2))
    entries = reader(directory).read()
    assert [entry.seq for entry in entries] == list(range(1, 161))
    assert [type(entry) for entry in entries] == [Recall, Ack] * 80


def test_nothing_is_read_that_a_power_cut_could_still_take_back(directory: Path) -> None:
    JournalWriter(directory).append(Ack(upto=1))
    program = "from pathlib import Path; from edge.journalfiles import JournalReader; from edge.wall import Gate; import sys\n"
    program += "print(len(JournalReader(Gate(Path(sys.argv[1])), 0).read()))"
    trace = directory.parent / "trace"
    command = [need("strace", "strace"), "-y", "-e", "trace=fsync", "-o", str(trace), sys.executable, "-c", program, str(directory)]
    read = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert read == "1\n"
    assert re.findall(r"fsync\(\d+<(.*)>\) += 0", trace.read_text()) == [str(directory / "000000000001.jsonl")]
