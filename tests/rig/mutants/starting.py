"""Faults of the start, for whoever looks at a disk after a power cut (tests.rig.power_cut.replay)."""

from __future__ import annotations

from edge.dataset.part10 import META_CAP, read_file_meta
from edge.dataset.walk import Malformed
from edge.store import pack, proving
from edge.store.catalogue import Catalogue
from edge.store.instances import Admission
from edge.store.pack import BLOCK, Found, Member


def no_digest_check() -> None:
    """A member is believed when its header block and its file meta are there."""

    def prove(read, position, entry, end):
        try:
            meta = read_file_meta(read(min(entry.size, META_CAP), position + BLOCK))
        except Malformed:
            return None
        begin = position + BLOCK + meta.dataset_offset
        return Found(
            Member(position, begin, entry.size - meta.dataset_offset, meta.digest), entry.name, entry.prefix, meta, entry.mtime, end
        )

    pack._prove = prove
    proving._proves = lambda file, offset, length, digest: True


class Trusted(Catalogue):
    """What it does not know of a pack is not there."""

    def open_pack(self, pack: str, urgency: str, first_of: Admission) -> bool:
        return False


def catalogue_trusted_over_packs() -> None:
    from edge import startup  # noqa: PLC0415 - whoever imports it earlier keeps it from the mutants of the catalogue

    startup.Catalogue = Trusted
