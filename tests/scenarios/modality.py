"""A modality that sends anything, right or wrong, and takes note of each answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.dataset.attributes import identify
from edge.dataset.part10 import read_file_meta
from edge.dataset.walk import Malformed
from edge.demo.instances import even
from edge.demo.workstation import CONTEXTS, Memory
from edge.dimse import scu
from edge.dimse.faults import NoContext
from edge.dimse.negotiation import propose
from edge.dimse.requestor import Requestor
from edge.model import UID, AETitle, Peer, parse_uid
from tests.code.packs import read_instance

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


@dataclass(frozen=True, slots=True)
class Shipment:
    """One dataset with the command set that it is sent under, and the status that formats.md ("Identity") asks for."""

    name: str
    sop_class: UID
    sop_instance: UID
    transfer_syntax: UID
    dataset: bytes
    expected: int


def shipment(path: Path) -> Shipment | None:
    """A file as a modality would send it: command set from its file meta, or from the dataset of an instance without one. None for what
    is neither.
    """
    data = path.read_bytes()
    try:
        meta = read_file_meta(data)
    except Malformed:
        bare = read_instance(path)
        if bare is None:
            return None
        identity = bare.identity
        return Shipment(path.name, identity.sop_class, identity.sop_instance, UID(bare.transfer_syntax), even(bare.dataset), 0x0000)
    dataset = even(data[meta.dataset_offset :])
    sop_class = parse_uid(meta.sop_class) or UID(SECONDARY_CAPTURE)
    sop_instance = parse_uid(meta.sop_instance) or UID("1.2.3.4")
    return Shipment(
        path.name,
        sop_class,
        sop_instance,
        UID(meta.transfer_syntax),
        dataset,
        _expected(dataset, meta.transfer_syntax, sop_class, sop_instance),
    )


def _expected(dataset: bytes, transfer_syntax: str, sop_class: str, sop_instance: str) -> int:
    try:
        identity = identify(dataset, transfer_syntax)
    except Malformed:
        identity = None
    if identity is None:
        return 0xC000
    return 0x0000 if (identity.sop_class, identity.sop_instance) == (sop_class, sop_instance) else 0xA900


def send(peer: Peer, calling: AETitle, shipments: Sequence[Shipment]) -> Iterator[tuple[Shipment, int | None]]:
    """Each shipment with the status of its C-STORE; None where no presentation context was accepted for it."""
    pairs = sorted({(one.sop_class, one.transfer_syntax) for one in shipments})
    for begin in range(0, len(pairs), CONTEXTS):
        chosen = pairs[begin : begin + CONTEXTS]
        contexts = propose((sop_class, (syntax,)) for sop_class, syntax in chosen)
        with Requestor().association(peer, calling, contexts) as association:
            for one in shipments:
                if (one.sop_class, one.transfer_syntax) in chosen:
                    try:
                        yield one, scu.store(association, one.sop_class, one.sop_instance, one.transfer_syntax, Memory(one.dataset))
                    except NoContext:
                        yield one, None
