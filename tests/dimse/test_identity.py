"""User identity, with pynetdicom as requestor: asked for where a peer's row names a user, and nowhere else."""

from __future__ import annotations

import dataclasses

import pytest
from pynetdicom import AE
from pynetdicom.pdu_primitives import UserIdentityNegotiation

from edge.dimse.admission import Denial
from edge.dimse.associate import UserIdentity
from edge.dimse.identity import hashed, is_shown
from edge.dimse.negotiation import NO_REASON
from edge.model import AETitle, Peer
from tests.dimse.fakes import HERE, Box, box
from tests.dimse.test_storage import IMPLICIT

VERIFICATION = "1.2.840.10008.1.1"


def identity(kind: int, primary: str, secondary: str = "", *, response: bool = False) -> UserIdentityNegotiation:
    item = UserIdentityNegotiation()
    item.user_identity_type, item.primary_field = kind, primary.encode()
    if kind == 2:
        item.secondary_field = secondary.encode()
    item.positive_response_requested = response
    return item


def associate(served: Box, *items: UserIdentityNegotiation) -> tuple[bool, bool]:
    """Whether it was accepted, else it was rejected; and whether the identity was confirmed."""
    entity = AE("TEST")
    entity.acse_timeout = 10
    entity.add_requested_context(VERIFICATION, [IMPLICIT])
    association = entity.associate(HERE, served.port, ae_title="OUTPOST", ext_neg=list(items))
    accepted = association.is_established
    assert accepted or association.is_rejected
    confirmed = accepted and association.acceptor.user_identity is not None
    if accepted:
        association.release()
    return accepted, confirmed


def set_row(served: Box, **fields: str) -> None:
    served.peers.peers["TEST"] = dataclasses.replace(served.peers.peers["TEST"], **fields)


def test_an_identity_that_nobody_asked_for_changes_nothing() -> None:
    with box() as served:
        assert associate(served, identity(2, "reader", "secret", response=True)) == (True, False)


def test_a_peer_whose_row_names_a_user_has_to_be_that_user() -> None:
    with box() as served:
        set_row(served, user_name="reader")
        assert associate(served, identity(1, "reader", response=True)) == (True, True)
        assert associate(served, identity(1, "reader")) == (True, False)
        assert associate(served, identity(2, "reader", "anything")) == (True, False)
        for wrong in ([], [identity(1, "somebody")], [identity(4, "<reader/>")]):
            assert associate(served, *wrong) == (False, False)
        assert [getattr(event, "reason", None) for event in served.audit.events] == [Denial.OTHER_USER.value] * 3
        assert Denial.OTHER_USER.rejection == NO_REASON


def test_a_passcode_is_asked_for_where_one_is_kept() -> None:
    with box() as served:
        set_row(served, user_name="reader", passcode=hashed("grüße"))
        assert associate(served, identity(2, "reader", "grüße", response=True)) == (True, True)
        for wrong in (identity(1, "reader"), identity(2, "reader", "gruesse")):
            assert associate(served, wrong) == (False, False)


@pytest.mark.parametrize("passcode", ["", "x"])
def test_a_passcode_is_kept_as_a_salted_hash_or_not_at_all(passcode: str) -> None:
    assert (hashed(passcode) != hashed(passcode)) is bool(passcode)
    peer = Peer(AETitle("A"), user_name="u", passcode=hashed(passcode))
    assert is_shown(peer, UserIdentity(2, False, b"u", passcode.encode()))
