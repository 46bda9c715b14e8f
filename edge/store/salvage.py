"""What proves itself in a closed pack that is not whole any more moves to a pack of its own, and ships; the rest is lost.

For packs of which the archive has no copy. The order is that of reception: the new file is durable in `open/` before the catalogue counts
on it. Killed before that, the next start finds nothing but duplicates in the file and removes it; killed after, it moves the file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge import tarblock
from edge.clock import Clock
from edge.durable import disk_errors, flush_directory, read_errors
from edge.model import UID, Digest, Identity, PackId
from edge.store.bare import BareFile
from edge.store.catalogue import Catalogue
from edge.store.pack import Member, OpenPack
from edge.store.packs import end_tar, move_out
from edge.store.packstate import PackState
from edge.store.scrub import UNREADABLE, examine
from edge.store.scrubs import Scrubs

log = logging.getLogger(__name__)

ROTTEN = "Instances of it rotted before the archive had a copy; what was whole is shipped apart. Have its study sent again."
_STEP = 1 << 20


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What became of the instances of a pack that is not whole."""

    pack: PackId | None
    """Where those that prove themselves lie now; None when there are none."""
    kept: int
    lost: int
    """Those that are on no disk any more, what was lost before included."""


@dataclass(frozen=True, slots=True)
class _Row:
    """An instance that should be here."""

    instance: int
    identity: Identity
    syntax: UID
    source_ae: str
    received_at: float
    member: Member


def salvage(cache: Path, catalogue: Catalogue, pack: PackId, clock: Clock) -> Salvaged | None:
    """Prove each member of a closed pack without a holding, past the page cache; None, and nothing happens, when the pack is whole.

    The pack of those that are lost keeps its file and waits for a person; where none is lost, it goes. Needs as much room again as the
    pack takes. Raises StoreFull, StoreFailed or Exhausted; and Corrupt where there is no such file.
    """
    state, known = catalogue.pack(pack), Scrubs(catalogue).pack(pack)
    assert state is not None and known is not None
    path = cache / pack[:2] / f"{pack}.tar"
    with read_errors(), BareFile(path) as file:
        if known.whole is not None and examine(path, known.members, known.whole, lambda _: None).sound:
            return None
        fresh = OpenPack(cache / "open", state.study, state.urgency)
        try:
            copies = [(row, copy) for row in _rows(catalogue, pack) if (copy := _copy(file, row, fresh)) is not None]
            lost = len(catalogue.rows("offsets_in_pack", pack)) - len(copies)
            _record(catalogue, state, fresh, copies, lost, float(int(clock.now())))
        except BaseException:
            fresh.path.unlink(missing_ok=True)
            raise
        finally:
            fresh.close()
    with disk_errors():
        if not copies:
            fresh.path.unlink()
        else:
            move_out(cache, fresh.path)
        if not lost:
            path.unlink(missing_ok=True)
            flush_directory(path.parent)
    return Salvaged(fresh.id if copies else None, len(copies), lost)


def _rows(catalogue: Catalogue, pack: PackId) -> Iterator[_Row]:
    for row in catalogue.rows("members_to_move", pack):
        instance, study, series, uid, sop_class, syntax, source_ae, received_at, header, offset, length, digest = row
        identity = Identity(UID(sop_class), UID(uid), UID(series), UID(study))
        yield _Row(instance, identity, UID(syntax), source_ae, received_at, Member(header, offset, length, Digest(digest)))


def _copy(file: BareFile, row: _Row, fresh: OpenPack) -> Member | None:
    """The member in the fresh pack, durable there; None, and nothing of it stays, when it does not prove itself or cannot be read."""
    writer = fresh.append(row.identity, row.syntax, row.source_ae, int(row.received_at))
    begin, end = row.member.dataset_offset, row.member.dataset_offset + row.member.dataset_length
    try:
        for offset in range(begin, end, _STEP):
            writer.write(file.read(min(_STEP, end - offset), offset))
    except OSError as fault:
        if fault.errno not in UNREADABLE:
            raise
        log.error("bytes %d to %d cannot be read: %s", begin, end, fault.strerror)
        writer.cut()
        return None
    if writer.digest != row.member.digest:
        writer.cut()
        return None
    return writer.commit(_name(file, row))


def _name(file: BareFile, row: _Row) -> str:
    """The name that the member had; where its header block is gone, that of a variant, which no other member has."""
    uid, variant = f"{row.identity.sop_instance}.dcm", f"{row.identity.sop_instance}~{row.member.digest[:16]}.dcm"
    try:
        entry = tarblock.parse(file.read(tarblock.BLOCK, row.member.header_offset))
    except OSError as fault:
        if fault.errno not in UNREADABLE:
            raise
        entry = None
    return uid if entry is not None and entry.name == uid else variant


def _record(
    catalogue: Catalogue, state: PackState, fresh: OpenPack, copies: list[tuple[_Row, Member]], lost: int, closed_at: float
) -> None:
    """In one flushed change: the fresh pack is closed with what moved to it, and the other one waits for a person, or is no more."""
    ended = end_tar(fresh.descriptor, fresh.end, closed_at) if copies else None
    run = catalogue.rows
    with catalogue.change():
        if ended is not None:
            run("insert_pack", fresh.id, state.urgency, state.opened_at, state.opened_at, state.study)
            for row, copy in copies:
                run("forget_rotten", state.pack, row.member.dataset_offset)
                run("move_instance", fresh.id, copy.header_offset, copy.dataset_offset, row.instance)
            size, sha256 = ended
            run("close_pack", closed_at=closed_at, bytes=size, sha256=sha256, pack=fresh.id)
        run("forget_rotten", state.pack, 0)
        if not lost:
            run("forget_empty_pack", state.pack)
            return
        run("lose_pack", state.pack)
        run("count_pack", state.pack)
        catalogue.mark_stopped(state.pack, ROTTEN)
