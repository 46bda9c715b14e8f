"""Heads, as edge keeps them after eviction: the metadata of nearline studies, and what restoration starts from."""

from __future__ import annotations

import os
from collections.abc import Iterator

from edge.code.manifest import Head, read_head
from edge.config import Layout
from edge.dataset.attributes import Description
from edge.dataset.part10 import read_file_meta
from edge.durable import flush_directory, write_whole
from edge.errors import Corrupt
from edge.model import UID, Digest, Identity, PackId
from edge.store.fold import first
from edge.store.instances import Admission
from edge.store.pack import Member
from edge.store.studies import patient_part

_COUNT = "00201209"
"""Number of Series Related Instances: of this pack alone, told with its series, and no attribute of it."""


def keep(layout: Layout, pack: PackId, data: bytes, coded_at: float) -> None:
    """Keep the head of a pack, durable when it returns; its mtime is when the pack was coded. Idempotent."""
    path = layout.head(pack)
    if not path.parent.is_dir():
        path.parent.mkdir(mode=0o750, exist_ok=True)
        flush_directory(layout.heads)
    write_whole(path, data)
    os.utime(path, (coded_at, coded_at))


def load(layout: Layout, pack: PackId) -> Head:
    """The kept head of a pack. Raises FileNotFoundError, or Corrupt when it is not what the coder writes."""
    return read_head(layout.head(pack).read_bytes())


def prove(data: bytes, pack: PackId, sha256: str | None) -> Head:
    """A head that came from the archive, if it is the head of this pack, whose closed file had this SHA-256; else Corrupt."""
    head = read_head(data)
    if head.manifest.pack != pack or head.manifest.sha256 != sha256:
        raise Corrupt(f"the head that came for pack {pack} belongs to another pack")
    return head


def admissions(head: Head) -> Iterator[Admission]:
    """The instances of a pack as its head describes them, in the order of the cached pack; none of them is in the cache."""
    manifest = head.manifest
    series = {first(one, "0020000E"): {tag: value for tag, value in one.items() if tag != _COUNT} for one in manifest.series}
    for member in sorted(manifest.members, key=lambda member: member.header_offset):
        yield Admission(
            identity=Identity(
                sop_class=UID(member.sop_class),
                sop_instance=UID(member.sop_instance),
                series=UID(member.series),
                study=UID(manifest.study_uid),
            ),
            description=Description(
                # What names another patient than its study says so itself.
                patient=patient_part(member.attributes) or manifest.study,
                study=manifest.study,
                series=series.get(member.series, {}),
                instance=member.attributes,
                fault=member.fault,
                complete=True,
            ),
            transfer_syntax=UID(member.transfer_syntax),
            pack=PackId(manifest.pack),
            member=Member(member.header_offset, member.dataset_offset, member.dataset_length, Digest(member.digest)),
            received_at=float(member.received),
            source_ae=read_file_meta(head.of(member)).source_ae,
            here=False,
        )
