"""The state table of the upper layer protocol (PS3.8 section 9.2, table 9-10) as data, shared by acceptor and requestor."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import NamedTuple


class State(enum.IntEnum):
    """PS3.8 tables 9-1 to 9-5; each with what is known in it."""

    IDLE = 1  # no transport connection
    AWAIT_REQUEST = 2  # acceptor: connected, nothing said; the request deadline runs
    AWAIT_LOCAL_ANSWER = 3  # acceptor: an A-ASSOCIATE-RQ is here and well-formed; we decide
    AWAIT_CONNECTION = 4  # requestor: the transport connection is being made
    AWAIT_ANSWER = 5  # requestor: A-ASSOCIATE-RQ sent
    ESTABLISHED = 6  # contexts agreed; messages flow
    AWAIT_RELEASE = 7  # we sent A-RELEASE-RQ; the peer may still be sending
    AWAIT_LOCAL_RELEASE = 8  # the peer sent A-RELEASE-RQ; we owe the answer
    COLLISION_REQUESTOR = 9  # both sent A-RELEASE-RQ; the requestor answers first
    COLLISION_ACCEPTOR = 10  # both sent A-RELEASE-RQ; the acceptor waits for the requestor's answer
    COLLISION_REQUESTOR_ANSWERED = 11  # requestor: answered, awaits the answer to its own
    COLLISION_ACCEPTOR_ANSWERED = 12  # acceptor: has the answer, owes its own
    AWAIT_CLOSE = 13  # over; the transport connection is still to be closed by the peer, or by us when the timer ends


class Event(enum.IntEnum):
    """PS3.8 table 9-10, by number: what the local user asks for, what arrives, what the transport and the timer say."""

    ASSOCIATE_REQUEST = 1
    TRANSPORT_CONFIRMED = 2
    ASSOCIATE_AC = 3
    ASSOCIATE_RJ = 4
    TRANSPORT_INDICATED = 5
    ASSOCIATE_RQ = 6
    ACCEPT = 7
    REJECT = 8
    SEND_DATA = 9
    P_DATA = 10
    RELEASE_REQUEST = 11
    RELEASE_RQ = 12
    RELEASE_RP = 13
    RELEASE_ANSWER = 14
    ABORT_REQUEST = 15
    ABORT = 16
    TRANSPORT_CLOSED = 17
    TIMER = 18
    INVALID = 19


class Action(enum.Enum):
    """PS3.8 tables 9-6 to 9-9."""

    AE_1 = "open the transport connection"
    AE_2 = "send A-ASSOCIATE-RQ"
    AE_3 = "tell the user: accepted"
    AE_4 = "tell the user: rejected; close"
    AE_5 = "accept the transport connection; start the timer"
    AE_6 = "stop the timer; tell the user of the request, or reject it as provider"
    AE_7 = "send A-ASSOCIATE-AC"
    AE_8 = "send A-ASSOCIATE-RJ; start the timer"
    DT_1 = "send P-DATA"
    DT_2 = "give the data to the user"
    AR_1 = "send A-RELEASE-RQ"
    AR_2 = "tell the user: release wanted"
    AR_3 = "tell the user: released; close"
    AR_4 = "send A-RELEASE-RP; start the timer"
    AR_5 = "stop the timer: the peer has closed"
    AR_6 = "give the data to the user, who is releasing"
    AR_7 = "send P-DATA while the peer is releasing"
    AR_8 = "tell the user: release collision"
    AR_9 = "send A-RELEASE-RP after a collision"
    AR_10 = "tell the user: released, after a collision"
    AA_1 = "send A-ABORT as user; start the timer"
    AA_2 = "stop the timer; close"
    AA_3 = "tell the user: aborted by the peer; close"
    AA_4 = "tell the user: the connection is gone"
    AA_5 = "stop the timer: the peer has gone before it asked"
    AA_6 = "ignore the PDU"
    AA_7 = "send A-ABORT again"
    AA_8 = "send A-ABORT as provider; tell the user; start the timer"


class Transition(NamedTuple):
    """`otherwise` is taken after AE-6 when the request is not acceptable to the provider, after AR-8 by the acceptor."""

    action: Action
    then: State
    otherwise: State | None = None


_S, _E, _A = State, Event, Action
_BUSY = tuple(state for state in State if state not in {_S.IDLE, _S.AWAIT_REQUEST, _S.AWAIT_CONNECTION, _S.AWAIT_CLOSE})


def _arrival(event: Event, at_close: Action = Action.AA_6, /, **expected: Transition) -> Iterable[tuple[tuple[Event, State], Transition]]:
    """A row for something that arrives: expected in the named states, out of place in all others."""
    yield (event, _S.AWAIT_REQUEST), Transition(_A.AA_1, _S.AWAIT_CLOSE)
    for state in _BUSY:
        yield (event, state), Transition(_A.AA_8, _S.AWAIT_CLOSE)
    yield (event, _S.AWAIT_CLOSE), Transition(at_close, _S.AWAIT_CLOSE)
    for name, transition in expected.items():
        yield (event, _S[name]), transition


TRANSITIONS: dict[tuple[Event, State], Transition] = {
    (_E.ASSOCIATE_REQUEST, _S.IDLE): Transition(_A.AE_1, _S.AWAIT_CONNECTION),
    (_E.TRANSPORT_CONFIRMED, _S.AWAIT_CONNECTION): Transition(_A.AE_2, _S.AWAIT_ANSWER),
    **dict(_arrival(_E.ASSOCIATE_AC, AWAIT_ANSWER=Transition(_A.AE_3, _S.ESTABLISHED))),
    **dict(_arrival(_E.ASSOCIATE_RJ, AWAIT_ANSWER=Transition(_A.AE_4, _S.IDLE))),
    (_E.TRANSPORT_INDICATED, _S.IDLE): Transition(_A.AE_5, _S.AWAIT_REQUEST),
    **dict(_arrival(_E.ASSOCIATE_RQ, _A.AA_7, AWAIT_REQUEST=Transition(_A.AE_6, _S.AWAIT_LOCAL_ANSWER, _S.AWAIT_CLOSE))),
    (_E.ACCEPT, _S.AWAIT_LOCAL_ANSWER): Transition(_A.AE_7, _S.ESTABLISHED),
    (_E.REJECT, _S.AWAIT_LOCAL_ANSWER): Transition(_A.AE_8, _S.AWAIT_CLOSE),
    (_E.SEND_DATA, _S.ESTABLISHED): Transition(_A.DT_1, _S.ESTABLISHED),
    (_E.SEND_DATA, _S.AWAIT_LOCAL_RELEASE): Transition(_A.AR_7, _S.AWAIT_LOCAL_RELEASE),
    **dict(
        _arrival(
            _E.P_DATA,
            ESTABLISHED=Transition(_A.DT_2, _S.ESTABLISHED),
            AWAIT_RELEASE=Transition(_A.AR_6, _S.AWAIT_RELEASE),
        )
    ),
    (_E.RELEASE_REQUEST, _S.ESTABLISHED): Transition(_A.AR_1, _S.AWAIT_RELEASE),
    **dict(
        _arrival(
            _E.RELEASE_RQ,
            ESTABLISHED=Transition(_A.AR_2, _S.AWAIT_LOCAL_RELEASE),
            AWAIT_RELEASE=Transition(_A.AR_8, _S.COLLISION_REQUESTOR, _S.COLLISION_ACCEPTOR),
        )
    ),
    **dict(
        _arrival(
            _E.RELEASE_RP,
            AWAIT_RELEASE=Transition(_A.AR_3, _S.IDLE),
            COLLISION_ACCEPTOR=Transition(_A.AR_10, _S.COLLISION_ACCEPTOR_ANSWERED),
            COLLISION_REQUESTOR_ANSWERED=Transition(_A.AR_3, _S.IDLE),
        )
    ),
    (_E.RELEASE_ANSWER, _S.AWAIT_LOCAL_RELEASE): Transition(_A.AR_4, _S.AWAIT_CLOSE),
    (_E.RELEASE_ANSWER, _S.COLLISION_REQUESTOR): Transition(_A.AR_9, _S.COLLISION_REQUESTOR_ANSWERED),
    (_E.RELEASE_ANSWER, _S.COLLISION_ACCEPTOR_ANSWERED): Transition(_A.AR_4, _S.AWAIT_CLOSE),
    **{(_E.ABORT_REQUEST, state): Transition(_A.AA_1, _S.AWAIT_CLOSE) for state in _BUSY},
    (_E.ABORT_REQUEST, _S.AWAIT_CONNECTION): Transition(_A.AA_2, _S.IDLE),
    **{(_E.ABORT, state): Transition(_A.AA_3, _S.IDLE) for state in _BUSY},
    (_E.ABORT, _S.AWAIT_REQUEST): Transition(_A.AA_2, _S.IDLE),
    (_E.ABORT, _S.AWAIT_CLOSE): Transition(_A.AA_2, _S.IDLE),
    **{(_E.TRANSPORT_CLOSED, state): Transition(_A.AA_4, _S.IDLE) for state in (*_BUSY, _S.AWAIT_CONNECTION)},
    (_E.TRANSPORT_CLOSED, _S.AWAIT_REQUEST): Transition(_A.AA_5, _S.IDLE),
    (_E.TRANSPORT_CLOSED, _S.AWAIT_CLOSE): Transition(_A.AR_5, _S.IDLE),
    (_E.TIMER, _S.AWAIT_REQUEST): Transition(_A.AA_2, _S.IDLE),
    (_E.TIMER, _S.AWAIT_CLOSE): Transition(_A.AA_2, _S.IDLE),
    **dict(_arrival(_E.INVALID, _A.AA_7)),
}


class Machine:
    """Where one association stands. A pair that the table does not know is a mistake of ours and raises KeyError."""

    def __init__(self) -> None:
        self.state = State.IDLE
        self._acceptor = False

    def on(self, event: Event, *, acceptable: bool = True) -> Action:
        """Move on, and say what is to be done. `acceptable` is the provider's judgement in AE-6."""
        transition = TRANSITIONS[event, self.state]
        if transition.action is Action.AE_5:
            self._acceptor = True
        otherwise = self._acceptor if transition.action is Action.AR_8 else not acceptable
        self.state = transition.otherwise if otherwise and transition.otherwise is not None else transition.then
        return transition.action

    def __repr__(self) -> str:
        return f"<Machine Sta{self.state.value} {self.state.name}>"
