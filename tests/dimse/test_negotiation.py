"""Decisions of negotiation that need no peer."""

from __future__ import annotations

from edge.dimse.associate import AnsweredContext, AssociateAnswer, AssociateRequest, Roles, UserInformation
from edge.dimse.classes import EXPLICIT_LE, IMPLICIT_LE, STUDY_ROOT, Purpose, purpose
from edge.dimse.negotiation import Context, accept, agreed, context_for, propose, storage_proposals
from edge.model import UID, AETitle, Peer

CT, MR = UID("1.2.840.10008.5.1.4.1.1.2"), UID("1.2.840.10008.5.1.4.1.1.4")
JPEG = UID("1.2.840.10008.1.2.4.70")
MPEG2 = UID("1.2.840.10008.1.2.4.100")


def request(*pairs: tuple[UID, tuple[UID, ...]], **more: dict[UID, Roles]) -> AssociateRequest:
    return AssociateRequest("OUTPOST", "TEST", propose(pairs), UserInformation(max_data_bytes=16384, **more))  # type: ignore[arg-type]


def peer(*rights: str, max_pdu_bytes: int = 131_072) -> Peer:
    return Peer(AETitle("TEST"), rights=frozenset(rights), max_pdu_bytes=max_pdu_bytes)


def results(asked: AssociateRequest, by: Peer) -> list[int]:
    return [context.result for context in accept(asked, by).answer.contexts]


def test_each_right_opens_its_own_contexts() -> None:
    asked = request((CT, (JPEG,)), (STUDY_ROOT.find, (IMPLICIT_LE,)), (STUDY_ROOT.move, (IMPLICIT_LE,)), (STUDY_ROOT.get, (IMPLICIT_LE,)))
    assert results(asked, peer("store")) == [0, 1, 1, 1]
    assert results(asked, peer("find", "move", "get")) == [1, 0, 0, 0]


def test_queries_are_taken_in_little_endian_only() -> None:
    assert results(request((STUDY_ROOT.find, (JPEG,))), peer("find")) == [4]


def test_roles_are_granted_by_right() -> None:
    both = {CT: Roles(scu=True, scp=True)}
    assert accept(request((CT, (JPEG,)), roles=both), peer("store", "get")).answer.user.roles == both
    assert accept(request((CT, (JPEG,)), roles=both), peer("store")).answer.user.roles == {CT: Roles(scu=True, scp=False)}
    assert accept(request((CT, (JPEG,)), roles=both), peer("get")).contexts[1].roles == Roles(scu=False, scp=True)


def test_the_largest_pdu_is_what_the_peer_table_says_within_reason() -> None:
    sizes = [accept(request((CT, (JPEG,))), peer(max_pdu_bytes=size)).answer.user.max_data_bytes for size in (0, 16_384, 1 << 30)]
    assert sizes == [4096, 16_384, 1 << 20]


def test_what_was_not_proposed_is_no_context() -> None:
    asked = request((CT, (JPEG,)), (MR, (JPEG,)))
    answers = (AnsweredContext(1, 0, EXPLICIT_LE), AnsweredContext(3, 0, JPEG), AnsweredContext(5, 0, JPEG))
    assert list(agreed(asked, AssociateAnswer("OUTPOST", "TEST", answers, UserInformation()))) == [3]


def test_a_delivery_proposes_each_stored_pair_and_an_uncompressed_way_for_each_class() -> None:
    found = storage_proposals(frozenset({(CT, JPEG), (CT, EXPLICIT_LE), (MR, JPEG)}), (MR, JPEG))
    assert [(context.abstract_syntax, context.transfer_syntaxes) for context in found] == [
        (MR, (JPEG,)),
        (CT, (EXPLICIT_LE,)),
        (CT, (JPEG,)),
        (MR, (EXPLICIT_LE, IMPLICIT_LE)),
        (CT, (EXPLICIT_LE, IMPLICIT_LE)),
    ]


def test_more_pairs_than_fit_leave_out_others_than_the_one_that_is_needed() -> None:
    many = frozenset((UID(f"1.2.{number}"), JPEG) for number in range(200))
    found = storage_proposals(many, (UID("1.2.199"), JPEG))
    assert len(found) == 128
    assert (found[0].abstract_syntax, found[-1].context_id) == ("1.2.199", 255)


def test_whatever_can_be_decoded_may_take_another_context() -> None:
    contexts = [Context(1, CT, IMPLICIT_LE), Context(3, CT, JPEG), Context(5, MR, EXPLICIT_LE)]
    assert context_for(contexts, CT, JPEG) == contexts[1]
    assert context_for(contexts, CT, EXPLICIT_LE) == contexts[0]
    assert context_for(contexts, MR, JPEG) == contexts[2]
    assert context_for(contexts, MR, MPEG2) is None
    assert context_for(contexts, UID("1.2"), EXPLICIT_LE) is None


def test_every_class_of_the_dictionary_has_a_purpose_or_none() -> None:
    assert purpose(CT) is purpose(UID("1.2.840.10008.5.1.4.1.1.5")) is purpose(UID("1.2.3.4")) is Purpose.STORAGE
    for other in ("1.2.840.10008.5.1.4.31", "1.2.840.10008.1.20.2", "1.2.840.10008.1.3.10", "1.2.840.10008.5.1.4.39.1", EXPLICIT_LE):
        assert purpose(UID(other)) is None
