"""What a person has Outpost do at other application entities: echo, send, query, retrieve. Each errand in a thread of its own."""

from __future__ import annotations

import asyncio
import re
import threading
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator
from contextlib import closing, suppress
from typing import Protocol

from pydicom.datadict import tag_for_keyword

from edge import audit
from edge.audit import Audit
from edge.config import Config
from edge.control import errands
from edge.dimse import commitment, identifier, scu
from edge.dimse.acceptor import Caller
from edge.dimse.associate import Roles
from edge.dimse.association import Association
from edge.dimse.classes import LITTLE_ENDIAN, PATIENT_ROOT, STUDY_ROOT, VERIFICATION, every_storage_class
from edge.dimse.delivery import Delivery
from edge.dimse.faults import AssociationEnded, NoContext
from edge.dimse.hierarchy import LEVEL
from edge.dimse.negotiation import MAX_CONTEXTS, propose
from edge.dimse.ports import Commitments, Index, Intake, Peers, Reference, Retrieve
from edge.dimse.requestor import Requestor
from edge.dimse.status import SUCCESS, meaning
from edge.errors import OutpostError, Refused, Unknown
from edge.model import UID, AETitle, Json, Level, Peer, Query, parse_ae_title, parse_uid
from edge.responder import PEOPLE, Asker, Responder, streamed

_TOLD_SECONDS = 1.0
_KEPT_SECONDS = 5.0
_STEP_SECONDS = 0.25
_CLASSES_IN_STUDY, _CLASS, _SERIES = "00080062", "00080016", "0020000E"
_TAG = re.compile(r"\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?")
_RETURNED = {
    Level.PATIENT: ("00100010", "00100020", "00100030", "00100040"),
    Level.STUDY: ("0020000D", "00080020", "00080030", "00080050", "00081030", "00080061", "00100010", "00100020", "00201208"),
    Level.SERIES: ("0020000E", "00080060", "0008103E", "00200011", "00201209"),
    Level.IMAGE: ("00080018", "00080016", "00200013"),
}
"""What a query returns at each level beside its own keys."""


class Seekers(Commitments, Protocol):
    """Who keeps what we asked of archives, and hears what they answer. Used by many threads at once."""

    def seek(self, transaction: UID, peer: AETitle, instances: int) -> None:
        """The request is about to leave; durable when this returns."""
        ...

    def answered(self, transaction: UID, seconds: float) -> list[tuple[UID, UID, int]] | None:
        """SOP class, SOP instance and Failure Reason of what failed; None when no answer came within the time."""
        ...


class Outreach:
    """Does errands. Used by many threads at once."""

    def __init__(
        self,
        config: Config,
        peers: Peers,
        index: Index,
        retrieve: Retrieve,
        intake: Intake,
        seekers: Seekers,
        requestor: Requestor,
        trail: Audit,
    ) -> None:
        self._audit = trail
        self._ae_title = AETitle(config.site.ae_title)
        self._peers = peers
        self._index = index
        self._retrieve = retrieve
        self._seekers = seekers
        self._intake = intake
        self._requestor = requestor

    def responders(self) -> Iterable[Responder]:
        return [
            streamed(errands.EchoPeer, PEOPLE, self._answers),
            streamed(errands.SendStudy, PEOPLE, self._answers),
            streamed(errands.QueryPeer, PEOPLE, self._answers),
            streamed(errands.RetrieveStudy, PEOPLE, self._answers),
            streamed(errands.CommitStudy, PEOPLE, self._answers),
        ]

    async def _answers(self, errand: errands.Request, asker: Asker) -> AsyncGenerator[errands.Answer, None]:
        """As `run`, for the loop. Whoever no longer listens ends the errand at its next answer."""
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[errands.Answer | OutpostError | None] = asyncio.Queue()
        gone = threading.Event()

        def tell(answer: errands.Answer | OutpostError | None) -> None:
            with suppress(RuntimeError):  # the loop is closed: Outpost has ended
                loop.call_soon_threadsafe(arrived.put_nowait, answer)

        def work() -> None:
            outcome: OutpostError | None = OutpostError()
            try:
                with closing(self.run(errand, asker.user)) as running:
                    for answer in running:
                        tell(answer)
                        if gone.is_set():
                            break
                outcome = None
            except OutpostError as fault:
                outcome = fault
            finally:
                tell(outcome)

        # Not of a pool, whose threads are waited for at the end: a peer may take minutes to answer.
        threading.Thread(target=work, name=f"errand-{errand.ae_title}", daemon=True).start()
        try:
            while (answer := await arrived.get()) is not None:
                if isinstance(answer, OutpostError):
                    raise answer
                yield answer
        finally:
            gone.set()

    def run(self, errand: errands.Request, user: int) -> Generator[errands.Answer, None, None]:
        """Do it for a Unix user, and say how it goes. Raises Refused for what a person has to change, Transient for what may work later.

        An errand that is closed early is broken off.
        """
        peer = self._peer(errand.ae_title)
        match errand:
            case errands.EchoPeer():
                yield self._echo(peer)
            case errands.SendStudy():
                yield from self._send(peer, errand, user)
            case errands.QueryPeer():
                yield from self._query(peer, errand)
            case errands.RetrieveStudy():
                yield from self._fetch(peer, errand)
            case errands.CommitStudy():
                yield self._commit(peer, errand)

    def _peer(self, ae_title: str) -> Peer:
        title = parse_ae_title(ae_title)
        peer = self._peers.destination(title) if title is not None else None
        if peer is None:
            raise Unknown(f"There is no peer {ae_title!r} with a host. `outpost peers ls` lists them, `outpost peers add` enters it.")
        return peer

    def _echo(self, peer: Peer) -> errands.Echoed:
        began = self._requestor.clock.monotonic()
        with self._requestor.association(peer, self._ae_title, propose([(VERIFICATION, LITTLE_ENDIAN)])) as association:
            code = scu.echo(association)
        if code != SUCCESS:
            raise scu.RequestFailed(code, "")
        return errands.Echoed(milliseconds=(self._requestor.clock.monotonic() - began) * 1000)

    def _send(self, peer: Peer, errand: errands.SendStudy, user: int) -> Iterator[errands.Sent]:
        matching = {"0020000D": _uid(errand.study)}
        if errand.series is not None:
            matching["0020000E"] = _uid(errand.series)
        level = Level.STUDY if errand.series is None else Level.SERIES
        with closing(self._retrieve.begin(Query(level, dict(matching)))) as retrieval:
            if not retrieval.total:
                raise Unknown("There is no such study or series here.")
            delivery = Delivery(retrieval, peer, self._requestor, self._ae_title, None, None)
            try:
                while not delivery.is_done(_TOLD_SECONDS):
                    yield _sent(delivery)
                yield _sent(delivery)
            finally:
                delivery.interrupt()
                delivery.close()
                told = _sent(delivery)
                taken = told.completed + told.warning
                self._audit.record(
                    audit.Sent(by=f"user {user}", destination=peer.ae_title, study=errand.study, completed=taken, failed=told.failed)
                )

    def _query(self, peer: Peer, errand: errands.QueryPeer) -> Iterator[errands.Match]:
        level = Level(errand.level.upper())
        root = PATIENT_ROOT if level is Level.PATIENT else STUDY_ROOT
        wanted: Json = {tag: {"vr": identifier.vr_of(tag)} for tag in _RETURNED[level]}
        wanted |= dict(_key(key, text) for key, text in errand.keys.items())
        wanted[LEVEL] = {"vr": "CS", "Value": [level.value]}
        with self._requestor.association(peer, self._ae_title, propose([(root.find, LITTLE_ENDIAN)])) as association:
            for match in scu.find(association, root, wanted):
                yield errands.Match(attributes=match)

    def _fetch(self, peer: Peer, errand: errands.RetrieveStudy) -> Iterator[errands.Retrieved]:
        study = _uid(errand.study)
        if errand.way != "move":
            try:
                yield from self._get(peer, study)
                return
            except NoContext:
                if errand.way == "get":
                    raise
        yield from self._move(peer, study)

    def _get(self, peer: Peer, study: UID) -> Iterator[errands.Retrieved]:
        classes = self._classes(peer, study)
        contexts = propose([(STUDY_ROOT.get, LITTLE_ENDIAN), *_storage_contexts(classes)])
        roles = {sop_class: Roles(scu=False, scp=True) for sop_class in classes}
        caller = Caller(peer, peer.ae_title, self._ae_title, peer.host)
        with self._requestor.association(peer, self._ae_title, contexts, roles) as association:
            yield from _told("get", scu.get(association, STUDY_ROOT, _level(Level.STUDY, study), self._intake, caller))

    def _move(self, peer: Peer, study: UID) -> Iterator[errands.Retrieved]:
        with self._requestor.association(peer, self._ae_title, propose([(STUDY_ROOT.move, LITTLE_ENDIAN)])) as association:
            yield from _told("move", scu.move(association, STUDY_ROOT, self._ae_title, _level(Level.STUDY, study)))

    def _commit(self, peer: Peer, errand: errands.CommitStudy) -> errands.Committed:
        references = _references(self._index, _uid(errand.study))
        if not references:
            raise Unknown("There is no such study here.")
        transaction = UID(f"2.25.{uuid.uuid4().int}")
        self._seekers.seek(transaction, peer.ae_title, len(references))
        association = self._requestor.associate(peer, self._ae_title, propose(commitment.CONTEXTS))
        with closing(association):
            code = commitment.ask(association, transaction, references)
            if code != SUCCESS:
                raise scu.RequestFailed(code, "")
            with suppress(AssociationEnded):
                self._listen(association, peer, transaction, min(errand.wait_seconds, _KEPT_SECONDS))
        failed = self._seekers.answered(transaction, errand.wait_seconds)
        if failed is None:
            return errands.Committed(total=len(references), reasons=None)
        return errands.Committed(total=len(references), reasons=dict(Counter(f"{reason:04X}" for _, _, reason in failed)))

    def _listen(self, association: Association, peer: Peer, transaction: UID, seconds: float) -> None:
        """Some archives report on the association that asked, if it is kept for a while; most on one of their own."""
        clock = self._requestor.clock
        until = clock.monotonic() + seconds
        while self._seekers.answered(transaction, 0) is None and (left := until - clock.monotonic()) > 0:
            if association.hears(min(left, _STEP_SECONDS)):
                message = association.next_message()
                if message is None:
                    return
                code = commitment.take_report(association, message, peer.ae_title, self._seekers)
                if code != SUCCESS:
                    self._audit.record(
                        audit.OperationRefused(
                            address=peer.host,
                            reason=meaning(code),
                            calling=[peer.ae_title],
                            called=association.calling_ae,
                            operation="N-EVENT-REPORT",
                            status=code,
                        )
                    )
        association.release()

    def _classes(self, peer: Peer, study: UID) -> list[UID]:
        """The storage classes to propose for what the study holds: those that the peer names, or the usual ones."""
        with self._requestor.association(peer, self._ae_title, propose([(STUDY_ROOT.find, LITTLE_ENDIAN)])) as association:
            named = _values(association, Level.STUDY, _CLASSES_IN_STUDY, study=study)
            if not named:
                for series in _values(association, Level.SERIES, _SERIES, study=study):
                    named += _values(association, Level.IMAGE, _CLASS, study=study, series=series)
        return list(dict.fromkeys(named or every_storage_class()))[: MAX_CONTEXTS - 1]


def _references(index: Index, study: UID) -> tuple[Reference, ...]:
    """The instances of a study here."""
    found = index.find(Query(Level.IMAGE, {"0020000D": study}))
    pairs = ((parse_uid(str(match[_CLASS]["Value"][0])), parse_uid(str(match["00080018"]["Value"][0]))) for match in found)
    return tuple(Reference(sop_class, sop_instance) for sop_class, sop_instance in pairs if sop_class and sop_instance)


def _values(association: Association, level: Level, tag: str, *, study: UID, series: UID | None = None) -> list[UID]:
    """What the peer answers for an attribute of UIDs."""
    asked = _level(level, study) | {tag: {"vr": "UI"}}
    if series is not None:
        asked[_SERIES] = {"vr": "UI", "Value": [series]}
    texts = [text for match in scu.find(association, STUDY_ROOT, asked) for text in match.get(tag, {}).get("Value") or []]
    return [uid for text in texts if (uid := parse_uid(str(text or ""))) is not None]


def _storage_contexts(classes: list[UID]) -> list[tuple[UID, tuple[UID, ...]]]:
    """For C-GET: a context of its own for each transfer syntax, so that each instance can come as it is stored; or, where that is more
    than fits in an association, one for each class.
    """
    if len(classes) * (1 + len(_COMPRESSED)) < MAX_CONTEXTS:
        choices = (LITTLE_ENDIAN, *((syntax,) for syntax in _COMPRESSED))
        return [(sop_class, syntaxes) for sop_class in classes for syntaxes in choices]
    return [(sop_class, (*LITTLE_ENDIAN, *_COMPRESSED)) for sop_class in classes]


_COMPRESSED = tuple(
    UID(f"1.2.840.10008.1.2.{suffix}")
    for suffix in ("4.70", "4.57", "4.80", "4.90", "4.92", "4.201", "4.202", "5", "4.50", "4.51", "4.81", "4.91", "4.203", "4.100", "4.102")
)
"""Compressed transfer syntaxes in which we take what is got, lossless ones first: it is kept as it comes."""


def _told(way: str, responses: Iterator[scu.Progress]) -> Iterator[errands.Retrieved]:
    for one in responses:
        yield errands.Retrieved(way=way, completed=one.completed, warning=one.warning, failed=one.failed, remaining=one.remaining)
    if one.status != SUCCESS:
        raise scu.RequestFailed(one.status, f"{one.completed} instances came, {one.failed} failed")


def _sent(delivery: Delivery) -> errands.Sent:
    tally = delivery.tally()
    return errands.Sent(total=tally.total, completed=tally.completed, warning=tally.warning, failed=tally.failed, fault=delivery.fault)


def _key(key: str, text: str) -> tuple[str, Json]:
    """A matching key as a person writes it. Raises Refused."""
    tag = tag_for_keyword(key)
    found = _TAG.fullmatch(key)
    name = f"{tag:08X}" if tag is not None else "".join(found.groups()).upper() if found else ""
    if not name:
        raise Refused(f"{key!r} is no key: use a keyword such as PatientID, or a tag such as 0010,0020.")
    vr = identifier.vr_of(name)
    if vr in {"SQ", "UN", "OB", "OW"}:
        raise Refused(f"{key} cannot be a matching key.")
    if not text:
        return name, {"vr": vr}
    if vr not in {"US", "SS", "UL", "SL"}:
        return name, {"vr": vr, "Value": [text]}
    if not text.isdecimal():
        raise Refused(f"{key} is a number.")
    return name, {"vr": vr, "Value": [int(text)]}


def _level(level: Level, study: UID) -> Json:
    return {LEVEL: {"vr": "CS", "Value": [level.value]}, "0020000D": {"vr": "UI", "Value": [study]}}


def _uid(text: str) -> UID:
    uid = parse_uid(text)
    if uid is None:
        raise Refused(f"{text!r} is no UID.")
    return uid
