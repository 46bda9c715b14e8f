"""Who may come in: the peer table against what the transport knows of a caller, and what a refusal leaves behind."""

from __future__ import annotations

import dataclasses

import pytest

from edge.audit import AssociationRefused, ContextRefused
from edge.dimse.admission import Denial, Knock, Seats, judge
from edge.dimse.associate import AssociateRequest, ProposedContext, UserInformation, write_request
from edge.dimse.classes import EXPLICIT_LE, IMPLICIT_LE, STUDY_ROOT, VERIFICATION
from edge.dimse.negotiation import accept
from edge.model import UID, AETitle, Peer
from tests.dimse.fakes import HERE, Box, box
from tests.dimse.test_hostile import REQUEST, established, pdu

CT = UID("1.2.840.10008.5.1.4.1.1.2")
JPEG = UID("1.2.840.10008.1.2.4.50")
SUBJECT = "CN=ct1,O=Clinic"


def peer(**fields: object) -> Peer:
    return Peer(AETitle("TEST"), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("known", "knock", "denial"),
    [
        (None, Knock("10.0.0.8"), Denial.UNKNOWN),
        (peer(), Knock("192.0.2.1"), None),
        (peer(), Knock("2001:db8::1"), None),
        (peer(), Knock("192.0.2.1", ""), None),
        (peer(address="10.0.0.8"), Knock("10.0.0.8"), None),
        (peer(address="10.0.0.8"), Knock("::ffff:10.0.0.8"), None),
        (peer(address="10.0.0.8"), Knock("10.0.0.9"), Denial.ELSEWHERE),
        (peer(address="10.0.0.8"), Knock("::1"), Denial.ELSEWHERE),
        (peer(address="10.1.0.0/16"), Knock("10.1.255.3"), None),
        (peer(address="10.1.0.0/16"), Knock("10.2.0.1"), Denial.ELSEWHERE),
        (peer(address="fe80::/10"), Knock("fe80::1%eth0"), None),
        (peer(tls_subject=SUBJECT), Knock("10.0.0.8", SUBJECT), None),
        (peer(tls_subject=SUBJECT), Knock("10.0.0.8"), Denial.PLAIN),
        (peer(tls_subject=SUBJECT), Knock("10.0.0.8", ""), Denial.OTHER_SUBJECT),
        (peer(tls_subject=SUBJECT), Knock("10.0.0.8", "CN=ct1"), Denial.OTHER_SUBJECT),
        (peer(tls_subject=SUBJECT, address="10.0.0.9"), Knock("10.0.0.8", SUBJECT), Denial.ELSEWHERE),
    ],
)
def test_a_caller_is_a_peer_or_denied_with_the_reason(known: Peer | None, knock: Knock, denial: Denial | None) -> None:
    assert judge(known, knock) is denial


def test_a_peer_takes_as_many_seats_as_it_has_and_gets_them_back() -> None:
    seats = Seats(10)
    two, other = peer(max_associations=2), Peer(AETitle("OTHER"))
    assert [seats.take(two) for _ in range(3)] == [None, None, Denial.TOO_MANY]
    assert [seats.take(other) for _ in range(5)] == [None] * 5
    seats.leave(two)
    assert seats.take(two) is None


def test_all_peers_together_take_as_many_seats_as_there_are() -> None:
    seats = Seats(2)
    assert [seats.take(peer()) for _ in range(3)] == [None, None, Denial.FULL]
    assert seats.full
    seats.leave(peer())
    assert not seats.full
    assert Denial.FULL.is_transient
    assert not Denial.UNKNOWN.is_transient


def test_a_change_of_the_limit_counts_for_the_next_association() -> None:
    seats = Seats(10)
    assert seats.take(peer(max_associations=1)) is None
    assert seats.take(peer(max_associations=1)) is Denial.TOO_MANY
    assert seats.take(peer(max_associations=2)) is None


@pytest.mark.parametrize(
    ("offered", "accepted", "chosen"),
    [
        ((EXPLICIT_LE, IMPLICIT_LE, JPEG), frozenset(), EXPLICIT_LE),
        ((EXPLICIT_LE, IMPLICIT_LE, JPEG), frozenset({IMPLICIT_LE}), IMPLICIT_LE),
        ((EXPLICIT_LE, JPEG), frozenset({JPEG}), JPEG),
        ((JPEG,), frozenset({EXPLICIT_LE}), None),
    ],
)
def test_a_peer_stores_only_in_the_syntaxes_that_are_accepted_of_it(
    offered: tuple[UID, ...], accepted: frozenset[UID], chosen: UID | None
) -> None:
    request = AssociateRequest("OUTPOST", "TEST", (ProposedContext(1, CT, offered),), UserInformation())
    contexts = accept(request, peer(accept_syntaxes=accepted)).contexts
    assert ([context.transfer_syntax for context in contexts.values()] or [None]) == [chosen]


def test_the_accepted_syntaxes_do_not_restrict_a_query() -> None:
    contexts = (ProposedContext(1, STUDY_ROOT.find, (IMPLICIT_LE,)), ProposedContext(3, VERIFICATION, (IMPLICIT_LE,)))
    request = AssociateRequest("OUTPOST", "TEST", contexts, UserInformation())
    assert set(accept(request, peer(accept_syntaxes=frozenset({JPEG}))).contexts) == {1, 3}


def ask(served: Box, request: AssociateRequest = REQUEST) -> tuple[int, ...]:
    """The kind of the answer, and result, source and reason of a rejection."""
    with served.connect() as caller:
        caller.sendall(write_request(request))
        kind, body = pdu(caller)
        return (kind, *body[1:4]) if kind == 3 else (kind,)


def refusals(served: Box) -> list[AssociationRefused]:
    return [event for event in served.audit.events if isinstance(event, AssociationRefused)]


def test_an_unknown_caller_is_rejected_audited_and_listed() -> None:
    with box() as served:
        assert ask(served, dataclasses.replace(REQUEST, calling_ae="NOBODY")) == (3, 1, 1, 3)
        (event,) = refusals(served)
        assert (event.calling, event.called, event.address, event.reason) == (["NOBODY"], "OUTPOST", HERE, Denial.UNKNOWN.value)
        assert served.peers.away == [("NOBODY", "OUTPOST", HERE, Denial.UNKNOWN.value)]


@pytest.mark.parametrize(
    ("fields", "denial"),
    [({"address": "10.0.0.8"}, Denial.ELSEWHERE), ({"tls_subject": SUBJECT}, Denial.PLAIN)],
    ids=["another address", "without TLS"],
)
def test_who_only_has_the_name_of_a_peer_is_rejected_audited_and_listed(fields: dict[str, str], denial: Denial) -> None:
    with box() as served:
        served.peers.peers["TEST"] = peer(**fields)
        assert ask(served) == (3, 1, 1, 3)
        assert [event.reason for event in refusals(served)] == [denial.value]
        assert [reason for *_, reason in served.peers.away] == [denial.value]


@pytest.mark.parametrize(
    ("change", "answer", "reason"),
    [
        ({"called_ae": "ELSEWHERE"}, (3, 1, 1, 7), "it called an AE title that is not ours"),
        ({"calling_ae": ""}, (3, 1, 1, 3), "the calling AE title is none"),
    ],
)
def test_what_is_not_for_us_is_audited_and_not_offered_for_approval(
    change: dict[str, object], answer: tuple[int, ...], reason: str
) -> None:
    with box() as served:
        assert ask(served, dataclasses.replace(REQUEST, **change)) == answer  # type: ignore[arg-type]
        assert [event.reason for event in refusals(served)] == [reason]
        assert served.peers.away == []


def test_a_peer_over_its_own_limit_is_told_to_try_again_and_gets_its_seat_back_when_it_has_left() -> None:
    with box() as served:
        served.peers.peers["TEST"] = peer(max_associations=1)
        first = established(served)
        assert ask(served) == (3, 2, 3, 2)
        assert [event.reason for event in refusals(served)] == [Denial.TOO_MANY.value]
        assert served.peers.away == []
        served.peers.peers["TEST"] = peer(max_associations=2)
        second = established(served)
        for each in (first, second):
            each.close()
        served.server.stop(5)


def test_a_context_that_the_peer_has_no_right_to_is_audited_by_the_right_that_it_lacks() -> None:
    with box() as served:
        served.peers.peers["TEST"] = peer(rights=frozenset({"find"}))
        contexts = (ProposedContext(1, CT, (EXPLICIT_LE,)), ProposedContext(3, STUDY_ROOT.move, (EXPLICIT_LE,)))
        assert ask(served, dataclasses.replace(REQUEST, contexts=contexts)) == (2,)
        served.server.stop(5)
        (event,) = [event for event in served.audit.events if isinstance(event, ContextRefused)]
        assert event.reason == "no right: move, store"


def test_the_caps_of_the_listener_are_audited_too() -> None:
    with box(total=1, each=1) as served:
        held = established(served)
        with served.connect() as second:
            assert pdu(second)[0] == 3
        held.close()
        assert [event.reason for event in refusals(served)] == ["as many associations are open as may be"]
