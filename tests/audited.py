"""Events of the audit trail, one of each kind, and the schema of the messages that they become."""

from __future__ import annotations

from pathlib import Path

from lxml import etree

from edge import audit
from edge.audit import Event
from edge.auditmessage import Source

SOURCE = Source("VALLEY", "Valley <clinic> & more", "box1")
_REFUSED = {"address": "10.0.0.8", "reason": "unknown & unwanted", "calling": ["CT1", "CT2"], "called": "VALLEY"}
EVENTS: dict[str, Event] = {
    "started": audit.Application(change="started"),
    "stopped": audit.Application(change="stopped"),
    "association-refused": audit.AssociationRefused(**_REFUSED, subject="CN=CT1"),  # type: ignore[arg-type]
    "association-aborted": audit.AssociationAborted(address="10.0.0.8", reason="too slow", calling=[]),
    "context-refused": audit.ContextRefused(**_REFUSED, classes=["1.2.840.10008.1.1"]),  # type: ignore[arg-type]
    "store-refused": audit.StoreRefused(**_REFUSED, status=0xA900, instances=["1.2.3.4"]),  # type: ignore[arg-type]
    "operation-refused": audit.OperationRefused(**_REFUSED, operation="N-CREATE-RQ", status=0x0211),  # type: ignore[arg-type]
    "query": audit.Queried(
        calling="VIEWER",
        called="VALLEY",
        address="10.0.0.9",
        level="STUDY",
        keys=["00100010", "00080020"],
        matches=3,
        status=0,
        sop_class="1.2.840.10008.5.1.4.1.2.2.1",
    ),
    "query of an older line": audit.Queried(
        calling="VIEWER", called="VALLEY", address="10.0.0.9", level="STUDY", keys=[], matches=0, status=0xA700, reason="Out of resources"
    ),
    "retrieve-begun": audit.Retrieved(
        state="begun",
        service="C-MOVE",
        calling="VIEWER",
        called="VALLEY",
        address="10.0.0.9",
        destination="THEATRE",
        level="STUDY",
        uids=["1.2.3", "1.2.4"],
        instances=40,
    ),
    "retrieve-ended": audit.Retrieved(
        state="ended",
        service="C-GET",
        calling="VIEWER",
        called="VALLEY",
        address="10.0.0.9",
        destination="VIEWER",
        level="IMAGE",
        uids=["1.2.3", "1.2.3.1", "1.2.3.1.1"],
        instances=1,
        completed=0,
        failed=1,
        status=0xA702,
        reason="it could not be read",
    ),
    "accessed": audit.Accessed(service="WADO-RS", address="10.0.0.9", study="1.2.3"),
    "searched": audit.Accessed(service="QIDO-RS", address="10.0.0.9", study="", keys=["00100010"]),
    "received": audit.Received(study="1.2.3", pack="a" * 26, calling=["CT1"], instances=40),
    "sent": audit.Sent(by="route night", destination="HUB", study="1.2.3", completed=40, failed=0),
    "peer-changed": audit.PeerChanged(user=1000, peer="CT1", change="added", fields=["host"]),
    "route-changed": audit.RouteChanged(user=1000, route="night", change="changed"),
    "decided": audit.Decided(user=1000, study="1.2.3", change="corrected", fields=["00100010"]),
    "decided of what could not be identified": audit.Decided(user=1000, study="", change="discarded", fields=[]),
    "catalogue-rebuilt": audit.CatalogueRebuilt(why="missing", packs=4, instances=80, unproven=1),
    "rotted": audit.Rotted(pack="a" * 26, study="1.2.3", instances=2, held=False),
    "repaired": audit.Repaired(pack="a" * 26, study="1.2.3", instances=2),
    "not-recorded": audit.NotRecorded(),
}


def schema() -> etree.RelaxNG:
    """Of PS3.15 section A.5.1."""
    return etree.RelaxNG(etree.parse(Path(__file__).parent / "vectors/audit-message.rng"))
