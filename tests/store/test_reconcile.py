"""edge.store.reconcile: wherever Outpost was killed, the next start makes right what is there, and may itself be killed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.dataset.attributes import identify
from edge.dataset.walk import EXPLICIT_LE
from edge.model import UID, Level, Urgency
from edge.store.packs import end_tar
from tests.store.boxes import Box, instance, sha256
from tests.store.rows import ask, values


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path / "state")
    yield made
    made.stop()


def after_a_kill(box: Box, place: Path) -> Box:
    """The state directory as a killed process leaves it, without its memory."""
    shutil.copytree(box.state, place)
    (place / "catalogue.db-shm").unlink(missing_ok=True)
    return Box(place, box.settings)


def whole(box: Box, count: int) -> None:
    """Everything is closed, proven, catalogued once, and a second start finds nothing to do."""
    assert box.still_open() == []
    assert len(box.closed()) >= 1
    proven = box.proven()
    assert list(proven.values()) == [True] * count
    for path in box.closed():
        state = box.catalogue.pack(path.stem)
        assert state is not None
        assert (state.sha256, state.bytes, state.here) == (sha256(path), path.stat().st_size, "whole")
        assert state.instances == len(box.catalogue.rows("members_of_pack", path.stem)) > 0
    assert box.catalogue.rows("open_packs") == []
    before = {path.name: path.read_bytes() for path in box.closed()}
    box.stop()
    again = box.start()
    assert (again.packs, again.adopted, again.cut_bytes, again.lost) == (0, 0, 0, 0)
    assert {path.name: path.read_bytes() for path in box.closed()} == before


def test_there_is_nothing_to_do_on_an_empty_box(box: Box) -> None:
    found = box.start()
    assert (found.packs, found.adopted, found.cut_bytes, found.lost) == (0, 0, 0, 0)


def _nothing(box: Box) -> None:
    return


def _ended(box: Box) -> None:
    for pack in box.packs.take_due(everything=True):
        end_tar(pack.descriptor, pack.end, 1.0)


def _half_ended(box: Box) -> None:
    for pack in box.packs.take_due(everything=True):
        os.pwrite(pack.descriptor, bytes(300), pack.end)


def _committed(box: Box) -> None:
    for pack in box.packs.take_due(everything=True):
        size, digest = end_tar(pack.descriptor, pack.end, 1.0)
        box.catalogue.close_pack(pack.id, 1.0, size, digest)


def _directory_made(box: Box) -> None:
    _committed(box)
    for path in box.still_open():
        (box.cache / path.name[:2]).mkdir()


def _moved(box: Box) -> None:
    box.close_due(everything=True)


def _uncatalogued(box: Box) -> None:
    box.write(box.packs.lend("1.2.3", Urgency.ROUTINE), instance(9))  # type: ignore[arg-type]


def _torn(box: Box) -> None:
    pack = box.packs.lend("1.2.3", Urgency.ROUTINE)  # type: ignore[arg-type]
    member = box.write(pack, instance(9, pixels=bytes(3000)))
    os.ftruncate(pack.descriptor, member.dataset_offset + 1000)


def _reserved(box: Box) -> None:
    pack = box.packs.lend("1.2.3", Urgency.ROUTINE)  # type: ignore[arg-type]
    os.pwrite(pack.descriptor, os.urandom(5000), pack.end + 900)


def _duplicate_not_cut(box: Box) -> None:
    pack = box.packs.lend("1.2.3", Urgency.ROUTINE)  # type: ignore[arg-type]
    box.write(pack, instance(1))


def _duplicate_in_a_pack_of_its_own(box: Box) -> None:
    box.packs.lend("1.2.3", Urgency.ROUTINE)  # type: ignore[arg-type]
    box.write(box.packs.lend("1.2.3", Urgency.ROUTINE), instance(1))  # type: ignore[arg-type]


def _empty_pack(box: Box) -> None:
    box.packs.lend("1.9", Urgency.ROUTINE)  # type: ignore[arg-type]


def _quarantining(box: Box) -> None:
    (box.quarantine / ".0123456789abcdef.new").write_bytes(b"half")


KILLS = [
    (_nothing, 2),
    (_half_ended, 2),
    (_ended, 2),
    (_committed, 2),
    (_directory_made, 2),
    (_moved, 2),
    (_uncatalogued, 3),
    (_torn, 2),
    (_reserved, 2),
    (_duplicate_not_cut, 2),
    (_duplicate_in_a_pack_of_its_own, 2),
    (_empty_pack, 2),
    (_quarantining, 2),
]


@pytest.mark.parametrize(("killed", "count"), KILLS, ids=lambda value: getattr(value, "__name__", "").strip("_"))
def test_a_kill_at_any_step_is_made_right(box: Box, tmp_path: Path, killed: Callable[[Box], None], count: int) -> None:
    box.receive(instance(1))
    box.receive(instance(2))
    killed(box)
    next_life = after_a_kill(box, tmp_path / "next")
    found = next_life.start()
    assert found.lost == 0
    assert found.adopted == count - 2
    whole(next_life, count)
    assert list(next_life.quarantine.iterdir()) == []
    next_life.stop()


@pytest.mark.parametrize(("killed", "count"), KILLS, ids=lambda value: getattr(value, "__name__", "").strip("_"))
def test_a_start_that_is_killed_itself_is_made_right_by_the_next(
    box: Box, tmp_path: Path, killed: Callable[[Box], None], count: int
) -> None:
    box.receive(instance(1))
    box.receive(instance(2))
    box.receive(instance(1, study="1.8"))
    killed(box)
    next_life = after_a_kill(box, tmp_path / "next")
    # The first thing that a start cannot do stands for a kill there.
    for directory in {path.name[:2] for path in next_life.still_open()}:
        shutil.rmtree(next_life.cache / directory, ignore_errors=True)
        (next_life.cache / directory).write_bytes(b"in the way")
    if next_life.still_open():
        with pytest.raises(Exception, match=r"disk|directory|exists"):
            next_life.start()
    last_life = after_a_kill(next_life, tmp_path / "last")
    for path in last_life.cache.iterdir():
        if path.is_file():
            path.unlink()
    assert last_life.start().lost == 0
    whole(last_life, count + 1)
    for life in (next_life, last_life):
        life.stop()


def test_a_lost_catalogue_finds_everything_again_that_was_in_open_packs(box: Box) -> None:
    box.receive(instance(1))
    box.receive(instance(2))
    box.receive(instance(1, study="1.8"))
    before = sorted(ask(box.catalogue, Level.IMAGE), key=str)
    box.stop()
    for path in box.state.glob("catalogue.db*"):
        path.unlink()
    found = box.start()
    assert (found.packs, found.adopted, found.lost) == (2, 3, 0)
    assert sorted(ask(box.catalogue, Level.IMAGE), key=str) == before
    assert sorted(map(str, values(ask(box.catalogue, Level.STUDY), "00201208"))) == ["1", "2"]
    whole(box, 3)


def test_rows_of_a_power_cut_that_were_not_flushed_are_made_again(box: Box) -> None:
    box.receive(instance(1))
    box.stop()
    kept = (box.state / "catalogue.db").read_bytes()
    box.connect()
    box.receive(instance(2))
    box.stop()
    (box.state / "catalogue.db").write_bytes(kept)
    found = box.start()
    assert (found.adopted, found.lost) == (1, 0)
    whole(box, 2)


def test_an_instance_whose_bytes_are_gone_is_said_to_be_lost(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    box.receive(instance(1))
    pack = box.receive(instance(2))
    box.stop()
    os.pwrite(pack.descriptor, b"rot", pack.end - 600)
    found = box.start()
    assert found.lost == 1
    assert f"pack {pack.id} does not hold what the catalogue says" in caplog.text
    assert sorted(map(str, values(ask(box.catalogue, Level.IMAGE), "00080056"))) == ["ONLINE", "UNAVAILABLE"]


def test_what_lies_behind_a_rotten_instance_is_kept_and_the_rotten_one_can_be_sent_again(box: Box) -> None:
    first = box.receive(instance(1))
    rotten = first.end
    box.receive(instance(2))
    pack = box.receive(instance(3))
    box.stop()
    os.pwrite(pack.descriptor, b"rot", rotten - 600)
    found = box.start()
    assert (found.lost, found.cut_bytes) == (1, 0)
    assert sorted(map(str, values(ask(box.catalogue, Level.IMAGE), "00080056"))) == ["ONLINE", "ONLINE", "UNAVAILABLE"]
    box.receive(instance(1))
    assert list(map(str, values(ask(box.catalogue, Level.IMAGE), "00080056"))) == ["ONLINE"] * 3
    assert list(box.proven().values()) == [True] * 3


def test_a_pack_without_its_file_is_reported_at_each_start(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    pack = box.receive(instance(1))
    box.stop()
    pack.path.unlink()
    for _ in range(2):
        assert box.start().lost == 1
        box.stop()
    assert caplog.text.count(f"pack {pack.id} has no file in cache/open") == 2
    box.connect()


def test_what_was_lost_with_its_file_is_stored_when_it_is_sent_again(box: Box) -> None:
    lost = box.receive(instance(1))
    box.stop()
    lost.path.unlink()
    box.start()
    identity = identify(instance(1), EXPLICIT_LE)
    assert identity is not None
    assert box.catalogue.digests(identity) == []
    again = box.receive(instance(1))
    assert again.id != lost.id
    assert list(map(str, values(ask(box.catalogue, Level.IMAGE), "00080056"))) == ["ONLINE"]


def test_a_kill_while_an_empty_pack_is_closed_leaves_no_alarm(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    elsewhere = box.receive(instance(1))
    pack = box.packs.lend(UID("1.2.3"), Urgency.STAT)
    member = box.write(pack, instance(1))
    box.record(pack, instance(1), member)  # a duplicate: the pack is catalogued, the instance is not
    pack.take_back(member)
    box.stop()
    pack.path.unlink()
    assert box.start().lost == 0
    assert "has no file" not in caplog.text
    assert box.catalogue.pack(pack.id) is None
    assert box.catalogue.pack(elsewhere.id) is not None


def test_a_foreign_file_among_the_open_packs_is_left_alone(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    (box.open / "notes.tar").write_bytes(b"not ours")
    box.stop()
    box.start()
    assert (box.open / "notes.tar").read_bytes() == b"not ours"
    assert "notes.tar is no pack of ours" in caplog.text


def test_a_link_among_the_open_packs_is_not_followed_and_the_start_goes_on(
    box: Box, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    linked, other = box.receive(instance(1)), box.receive(instance(1, study="1.8"))
    box.stop()
    linked.path.rename(tmp_path / "elsewhere")
    linked.path.symlink_to(tmp_path / "elsewhere")
    before = (tmp_path / "elsewhere").read_bytes()
    found = box.start()
    assert (found.packs, found.lost) == (2, 1)
    assert f"cache/open/{linked.id}.tar is a link" in caplog.text
    assert (tmp_path / "elsewhere").read_bytes() == before
    assert [path.stem for path in box.closed()] == [other.id]
