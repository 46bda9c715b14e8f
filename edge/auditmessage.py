"""A line of the audit trail as a DICOM Audit Message (PS3.15 section A.5), in a frame for syslog (RFC 5424, as section A.6 wants it).

What the standard asks for and the trail does not have, names and numbers of patients, is left out: no element is made up.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from edge import audit
from edge.audit import Event
from edge.trail import Line

_PRIORITY = 10 * 8 + 5
"""Facility security, severity notice: PS3.15 section A.6."""
_MESSAGE_ID = "DICOM+RFC3881"
_LOCAL = "127.0.0.1"
_SUCCESS, _MINOR, _SERIOUS = "0", "4", "8"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML document may hold, not even escaped (XML 1.0 section 2.2): whoever calls can put it into an AE title."""
_MEANINGS = {
    "110100": "Application Activity",
    "110102": "Begin Transferring DICOM Instances",
    "110103": "DICOM Instances Accessed",
    "110104": "DICOM Instances Transferred",
    "110112": "Query",
    "110113": "Security Alert",
    "110120": "Application Start",
    "110121": "Application Stop",
    "110126": "Node Authentication",
    "110128": "Network Configuration",
    "110132": "Use of Restricted Function",
    "110133": "Audit Recording Stopped",
    "110135": "Object Security Attributes Changed",
    "110150": "Application",
    "110152": "Destination Role ID",
    "110153": "Source Role ID",
    "110180": "Study Instance UID",
    "110181": "SOP Class UID",
    "110182": "Node ID",
}
"""Of the codes of PS3.16 (coding scheme DCM) that are used here."""


@dataclass(frozen=True, slots=True)
class Source:
    """Who tells: the box."""

    ae_title: str
    site: str
    host: str


@dataclass(frozen=True, slots=True)
class _Who:
    user: str
    role: str
    requestor: bool = False
    address: str = ""


@dataclass(frozen=True, slots=True)
class _What:
    """A participant object: a study unless another kind is named."""

    id: str
    kind: str = "110180"
    details: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Told:
    """What a message says; the codes are of DCM."""

    event: str
    action: str
    who: tuple[_Who, ...]
    what: tuple[_What, ...] = ()
    types: tuple[str, ...] = ()
    outcome: str = _SUCCESS
    reason: str = ""


def message(line: Line, source: Source) -> bytes:
    """The AuditMessage, in UTF-8 without a declaration. Characters that XML has no way to hold come as U+FFFD."""
    told = _told(line.event, source)
    root = ET.Element("AuditMessage")
    event = ET.SubElement(
        root, "EventIdentification", EventActionCode=told.action, EventDateTime=line.at, EventOutcomeIndicator=told.outcome
    )
    _coded(event, "EventID", told.event)
    for code in told.types:
        _coded(event, "EventTypeCode", code)
    reason = "; ".join(filter(None, (told.reason, f"{line.times} times" if line.times > 1 else "")))
    if reason:
        ET.SubElement(event, "EventOutcomeDescription").text = reason
    for who in told.who:
        taking_part = ET.SubElement(root, "ActiveParticipant", UserID=who.user, UserIsRequestor=str(who.requestor).lower())
        if who.address:
            taking_part.set("NetworkAccessPointID", who.address)
            taking_part.set("NetworkAccessPointTypeCode", "2")
        _coded(taking_part, "RoleIDCode", who.role)
    ET.SubElement(root, "AuditSourceIdentification", AuditEnterpriseSiteID=source.site, AuditSourceID=source.ae_title)
    for what in told.what:
        role = "13" if what.kind == "110182" else "3"  # a security resource, or a report: a study
        place = ET.SubElement(
            root,
            "ParticipantObjectIdentification",
            ParticipantObjectID=what.id,
            ParticipantObjectTypeCode="2",
            ParticipantObjectTypeCodeRole=role,
        )
        _coded(place, "ParticipantObjectIDTypeCode", what.kind)
        for name, value in (*what.details, ("line of the trail", str(line.number))):
            ET.SubElement(place, "ParticipantObjectDetail", type=name, value=base64.b64encode(value.encode()).decode())
    return _NOT_XML.sub("\ufffd", ET.tostring(root, encoding="unicode")).encode()


def framed(text: bytes, at: str, source: Source, process: int) -> bytes:
    """The message in one frame of RFC 5425 (TLS), its length before it."""
    host = "".join(letter for letter in source.host if "!" <= letter <= "~")[:255] or "-"
    header = f"<{_PRIORITY}>1 {at} {host} outpost {process} {_MESSAGE_ID} - "
    whole = header.encode() + b"\xef\xbb\xbf" + text
    return b"%d %b" % (len(whole), whole)


def _coded(parent: ET.Element, name: str, code: str) -> None:
    attributes = {"csd-code": code, "codeSystemName": "DCM", "originalText": _MEANINGS[code]}
    ET.SubElement(parent, name, attributes)


def _told(event: Event, source: Source) -> _Told:
    told: tuple[tuple[str, str], ...]
    here = _Who(source.ae_title, "110150")
    match event:
        case audit.Application(change=change):
            kind = "110120" if change == "started" else "110121"
            return _Told("110100", "E", (here,), types=(kind,))
        case audit.AssociationRefused() | audit.AssociationAborted() | audit.ContextRefused():
            return _refused(event, here, "110126")
        case audit.OperationRefused(operation=operation):
            return _refused(event, here, "110132", f"{operation}: {event.reason}")
        case audit.StoreRefused(instances=instances):
            what = tuple(_What(uid, "110181", (("kind", "SOP Instance UID"),)) for uid in instances)
            return _Told("110104", "C", (*_callers(event, "110153"), _as(here, "110152")), what, (), _MINOR, event.reason)
        case audit.Queried():
            keys = (("level", event.level), ("keys", " ".join(event.keys)), ("matches", str(event.matches)))
            asking = _Who(event.calling, "110153", True, event.address)
            what = (_What(event.sop_class, "110181", keys),) if event.sop_class else ()
            return _Told(
                "110112", "E", (asking, _as(here, "110152")), what, (), _SUCCESS if event.status in _GOOD else _MINOR, event.reason
            )
        case audit.Retrieved():
            return _retrieved(event, here)
        case audit.Accessed(service=service):
            asking = _Who(event.address, "110152", True, event.address)
            details = (("service", service), ("keys", " ".join(event.keys))) if event.keys else (("service", service),)
            what = (_What(event.study, details=details),) if event.study else (_What(source.ae_title, "110182", details),)
            code, action = ("110112", "E") if service == "QIDO-RS" else ("110103", "R")
            return _Told(code, action, (_as(here, "110153"), asking), what)
        case audit.Received():
            who = (*(_Who(name, "110153", True) for name in event.calling), _as(here, "110152"))
            told = (("pack", event.pack), ("instances", str(event.instances)))
            return _Told("110104", "C", who, (_What(event.study, details=told),))
        case audit.Sent():
            who = (_Who(source.ae_title, "110153", True), _Who(event.destination, "110152"))
            told = (("by", event.by), ("completed", str(event.completed)), ("failed", str(event.failed)))
            return _Told("110104", "R", who, (_What(event.study, details=told),), (), _MINOR if event.failed else _SUCCESS)
        case audit.PeerChanged(peer=peer):
            return _configured(event.user, here, peer, (("change", event.change), ("fields", " ".join(event.fields))))
        case audit.RouteChanged(route=route):
            return _configured(event.user, here, route, (("change", event.change),))
        case audit.Decided():
            told = (("change", event.change), ("fields", " ".join(event.fields)))
            studies = (_What(event.study, details=told),) if event.study else ()
            return _Told("110103", "U", (_person(event.user), here), studies)
        case audit.CatalogueRebuilt():
            told = (("packs", str(event.packs)), ("instances", str(event.instances)), ("unproven", str(event.unproven)))
            outcome = _SERIOUS if event.unproven else _SUCCESS
            return _Told("110113", "E", (here,), (_What(source.ae_title, "110182", told),), ("110135",), outcome, event.why)
        case audit.Rotted():
            reason = "instances in the cache are not what was received" + " and the archive has them not" * (not event.held)
            return _hurt(event, here, _SERIOUS, reason)
        case audit.Repaired():
            return _hurt(event, here, _SUCCESS, "instances that had rotted came back from the archive")
        case audit.NotRecorded():
            return _Told("110113", "E", (here,), (), ("110133",), _SERIOUS, "events could not be kept while the trail could not be written")


_GOOD = frozenset({0x0000, 0xFE00})
"""Success, and cancelled by who asked (PS3.4 section C.4.1)."""


def _person(user: int) -> _Who:
    return _Who(f"uid {user}", "110150", True)


def _as(who: _Who, role: str) -> _Who:
    return _Who(who.user, role, who.requestor, who.address)


def _callers(event: audit.Refusal, role: str) -> tuple[_Who, ...]:
    """Who called, as far as that could be read."""
    names = event.calling or [event.address]
    return tuple(_Who(name, role, True, event.address) for name in names)


def _refused(event: audit.Refusal, here: _Who, kind: str, reason: str = "") -> _Told:
    what = _What(event.called or here.user, "110182")
    return _Told("110113", "E", (here, *_callers(event, "110150")), (what,), (kind,), _MINOR, reason or event.reason)


def _retrieved(event: audit.Retrieved, here: _Who) -> _Told:
    asking = _Who(event.calling, "110152", True, event.address)
    others = () if event.destination in {"", event.calling} else (_Who(event.destination, "110152"),)
    tally = (("completed", str(event.completed)), ("failed", str(event.failed)))
    told = (("level", event.level), ("instances", str(event.instances)), *(() if event.state == "begun" else tally))
    studies = event.uids if event.level == "STUDY" else event.uids[:1]
    rest = event.uids[len(studies) :]
    details = (*told, ("of it", " ".join(rest))) if rest else told
    code, action = ("110102", "E") if event.state == "begun" else ("110104", "R")
    outcome = _SUCCESS if event.state == "begun" or event.status == 0 else _MINOR
    who = (_as(here, "110153"), asking, *others)
    return _Told(code, action, who, tuple(_What(study, details=details) for study in studies), (), outcome, event.reason)


def _configured(user: int, here: _Who, name: str, told: Iterable[tuple[str, str]]) -> _Told:
    return _Told("110113", "E", (here, _person(user)), (_What(name, "110182", tuple(told)),), ("110128",))


def _hurt(event: audit.Rotted | audit.Repaired, here: _Who, outcome: str, reason: str) -> _Told:
    told = (("pack", event.pack), ("instances", str(event.instances)))
    return _Told("110113", "E", (here,), (_What(event.study, details=told),), ("110135",), outcome, reason)
