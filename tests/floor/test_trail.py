"""edge.trail: lines are chained, counted and flushed; what was changed is found; a full disk refuses to show instead of forgetting."""

from __future__ import annotations

import json
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge import trail
from edge.audit import AssociationRefused, AuditFull, ContextRefused, NotRecorded, PeerChanged, Queried, StoreRefused
from edge.errors import Corrupt, StoreFailed
from edge.trail import Limits, Trail, read, verify
from tests.store.rows import Clock

HERE, THERE = "10.0.0.8", "10.0.0.9"


def asked(matches: int = 0) -> Queried:
    return Queried(calling="VIEWER", called="OUTPOST", address=HERE, level="STUDY", keys=["00100020"], matches=matches, status=0)


def refused(calling: str = "CT1", address: str = HERE, reason: str = "unknown") -> AssociationRefused:
    return AssociationRefused(calling=[calling], called="OUTPOST", address=address, reason=reason)


def unexpected(fault: StoreFailed) -> None:
    raise AssertionError(fault)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Trail]]:
    made = []

    def begin(clock: Clock | None = None, fail_stop: Callable[[StoreFailed], None] = unexpected, **limits: float) -> Trail:
        made.append(Trail(tmp_path, clock or Clock(), fail_stop, Limits(**limits)))  # type: ignore[arg-type]
        return made[-1]

    yield begin
    for one in made:
        one.close()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true() and time.monotonic() < deadline:
        threading.Event().wait(0.005)
    assert true()


def events(directory: Path) -> list[tuple[int, object]]:
    return [(line.times, line.event) for line, _ in read(directory)]


def test_events_are_on_the_disk_soon_and_in_order(make: Callable[..., Trail], tmp_path: Path) -> None:
    one = make()
    for number in range(100):
        one.record(asked(number))
    until(lambda: len(events(tmp_path)) == 100)
    assert [event.matches for _, event in events(tmp_path)] == list(range(100))  # type: ignore[attr-defined]
    assert [line.number for line, _ in read(tmp_path)] == list(range(1, 101))
    (path,) = tmp_path.iterdir()
    assert (path.name, path.stat().st_mode & 0o777) == ("000000000001.jsonl", 0o600)


def test_the_trail_goes_on_where_it_ended(make: Callable[..., Trail], tmp_path: Path) -> None:
    for number in range(3):
        one = make()
        one.record(asked(number))
        one.close()
    proof = verify(tmp_path)
    assert proof is not None
    assert (proof.first, proof.last) == (1, 3)


def test_a_file_that_is_full_is_followed_by_the_next(make: Callable[..., Trail], tmp_path: Path) -> None:
    for number in range(6):
        one = make(file_bytes=600)
        one.record(asked(number))
        one.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 3
    assert [event.matches for _, event in events(tmp_path)] == list(range(6))  # type: ignore[attr-defined]


def test_a_torn_last_line_is_cut_off_at_start(make: Callable[..., Trail], tmp_path: Path) -> None:
    for number in range(2):
        one = make()
        one.record(asked(number))
        one.close()
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for torn in (b"{", b'{"number":3,"at":"2026'):
        path.write_bytes(whole + torn)
        assert verify(tmp_path) is not None
        make().close()
        assert path.read_bytes() == whole
    path.write_bytes(whole[: whole.index(b"\n") // 2])
    one = make()
    one.record(asked(7))
    one.close()
    assert [event.matches for _, event in events(tmp_path)] == [7]  # type: ignore[attr-defined]


def test_a_file_that_was_made_and_never_written_is_gone_on_with(make: Callable[..., Trail], tmp_path: Path) -> None:
    one = make()
    one.record(asked())
    one.close()
    (tmp_path / "000000000002.jsonl").touch()
    one = make()
    one.record(asked())
    one.close()
    assert [line.number for line, _ in read(tmp_path)] == [1, 2]


def _change(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b"VIEWER", b"NOBODY"), *lines[2:]]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_change, "line 3 does not continue"),
        (lambda lines: [lines[0], *lines[2:]], "line 2 has number 3, where 2 was expected"),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], "line 3 has number 2, where 3 was expected"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "line 2 has number 3"),
        (lambda lines: [*lines[:2], b"garbage", *lines[2:]], "line 3 is no line"),
        (lambda lines: [lines[0].replace(b'"previous":"0', b'"previous":"1'), *lines[1:]], "line 1 does not continue"),
        (lambda lines: lines[1:], "line 1 has number 2"),
    ],
    ids=["changed", "taken out", "put in", "swapped", "garbage", "first line changed", "first line taken out"],
)
def test_what_was_changed_taken_out_or_put_in_is_found(
    make: Callable[..., Trail], tmp_path: Path, damage: Callable[[list[bytes]], list[bytes]], says: str
) -> None:
    one = make()
    for number in range(4):
        one.record(asked(number))
    one.close()
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"\n".join(damage(path.read_bytes().splitlines())) + b"\n")
    with pytest.raises(Corrupt, match=says):
        verify(tmp_path)


def test_what_was_cut_off_is_found_with_a_digest_that_was_noted(make: Callable[..., Trail], tmp_path: Path) -> None:
    one = make()
    for number in range(4):
        one.record(asked(number))
    one.close()
    noted = verify(tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    cut = verify(tmp_path)
    assert noted is not None
    assert cut is not None
    assert (noted.last, cut.last) == (4, 3)
    assert noted.digest not in {digest for _, digest in read(tmp_path)}


def test_a_damaged_trail_keeps_nobody_from_working_and_goes_on(make: Callable[..., Trail], tmp_path: Path) -> None:
    (tmp_path / "000000000001.jsonl").write_bytes(b"no line at all\n")
    one = make()
    one.record(asked())
    one.close()
    second = json.loads((tmp_path / "000000000001.jsonl").read_bytes().splitlines()[1])
    assert second["number"] == 2
    with pytest.raises(Corrupt, match="line 1 is no line"):
        verify(tmp_path)


def test_refusals_that_happen_again_are_counted_and_named_together(make: Callable[..., Trail], tmp_path: Path) -> None:
    clock = Clock()
    one = make(clock)
    for title in ("CT1", "CT1", "CT2", "CT3"):
        one.record(refused(title))
    one.record(refused("CT1", THERE))
    one.record(refused("CT1", reason="elsewhere"))
    until(lambda: len(events(tmp_path)) == 3)
    assert [times for times, _ in events(tmp_path)] == [1, 1, 1]
    clock.time += Limits().gather_seconds
    one.record(asked())
    until(lambda: len(events(tmp_path)) == 5)
    gathered = [(times, event.calling) for times, event in events(tmp_path) if times > 1]  # type: ignore[attr-defined]
    assert gathered == [(3, ["CT1", "CT2", "CT3"])]


def test_what_was_counted_is_written_at_the_end(make: Callable[..., Trail], tmp_path: Path) -> None:
    one = make()
    for number in range(20):
        one.record(StoreRefused(address=HERE, reason="full", calling=["CT1"], status=0xA700, instances=[f"1.2.{number}"]))
    one.close()
    (first_times, first), (rest_times, rest) = events(tmp_path)
    assert (first_times, first.instances) == (1, ["1.2.0"])  # type: ignore[attr-defined]
    assert (rest_times, rest.instances) == (19, [f"1.2.{number}" for number in range(1, 9)])  # type: ignore[attr-defined]


def test_classes_of_refused_contexts_are_named_together(make: Callable[..., Trail], tmp_path: Path) -> None:
    one = make()
    for sop_class in ("1.2.1", "1.2.2", "1.2.3"):
        one.record(ContextRefused(address=HERE, reason="no right: store", calling=["CT1"], classes=[sop_class]))
    one.close()
    assert [event.classes for _, event in events(tmp_path)] == [["1.2.1"], ["1.2.2", "1.2.3"]]  # type: ignore[attr-defined]


def test_a_storm_from_many_addresses_needs_no_memory(make: Callable[..., Trail], tmp_path: Path) -> None:
    one = make()
    for number in range(2 * trail.GATHERED):
        one.record(refused(address=f"10.0.{number // 256}.{number % 256}"))
    until(lambda: len(events(tmp_path)) == 2 * trail.GATHERED)
    assert len(one._gathered) <= trail.GATHERED


@pytest.fixture
def full_at(tmp_path: Path) -> Iterator[Callable[[int], None]]:
    """The disk takes no file longer than so many bytes. Like a full disk it fails in the middle of a line."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_refuses_those_who_want_to_see_and_loses_nothing(
    make: Callable[..., Trail], tmp_path: Path, full_at: Callable[[int], None]
) -> None:
    one = make(retry_seconds=0.02)
    one.demand()
    full_at(1000)
    for number in range(10):
        one.record(asked(number))
    until(lambda: _refuses(one))
    for number in range(10, 20):
        one.record(asked(number))
    full_at(resource.RLIM_INFINITY)
    until(lambda: len(events(tmp_path)) == 20)
    assert [event.matches for _, event in events(tmp_path)] == list(range(20))  # type: ignore[attr-defined]
    one.demand()


def test_what_could_not_even_be_held_is_counted(make: Callable[..., Trail], tmp_path: Path, full_at: Callable[[int], None]) -> None:
    one = make(retry_seconds=0.02, queued=8)
    full_at(10)
    one.record(asked())
    until(lambda: _refuses(one))
    for _ in range(20):
        one.record(asked())
    full_at(resource.RLIM_INFINITY)
    until(lambda: len(events(tmp_path)) == 10)
    assert [(times, type(event)) for times, event in events(tmp_path)][-1] == (12, NotRecorded)
    assert verify(tmp_path) is not None


def test_another_fault_of_the_disk_stops_outpost(make: Callable[..., Trail], tmp_path: Path) -> None:
    faults: list[StoreFailed] = []
    one = make(fail_stop=faults.append, file_bytes=1)
    one.record(PeerChanged(user=0, peer="CT1", change="added", fields=[]))
    until(lambda: len(events(tmp_path)) == 1)
    (tmp_path / "000000000002.jsonl").mkdir()
    one.record(PeerChanged(user=0, peer="CT1", change="removed", fields=[]))
    until(lambda: bool(faults))
    assert "The disk under the state directory reported" in str(faults[0])
    with pytest.raises(AuditFull):
        one.demand()


def _refuses(one: Trail) -> bool:
    try:
        one.demand()
    except AuditFull:
        return True
    return False


def test_recording_never_waits_for_the_disk(make: Callable[..., Trail], tmp_path: Path) -> None:
    one = make()
    began = time.monotonic()
    for number in range(Limits().queued):
        one.record(asked(number))
    assert time.monotonic() - began < 5
    until(lambda: sum(1 for _ in read(tmp_path)) + sum(times for times, event in events(tmp_path) if isinstance(event, NotRecorded)) > 0)
    one.close()
    assert os.listdir(tmp_path)
