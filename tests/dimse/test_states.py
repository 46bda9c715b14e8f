"""The state table against PS3.8 table 9-10, cell by cell."""

from __future__ import annotations

import pytest

from edge.dimse.states import TRANSITIONS, Action, Event, Machine, State

# One row for each event, one column for Sta1 to Sta13, as the standard prints it; "." is an empty cell.
TABLE = """
1   AE-1:4 .         .       .      .       .      .       .       .       .       .       .       .
2   .      .         .       AE-2:5 .       .      .       .       .       .       .       .       .
3   .      AA-1:13   AA-8:13 .      AE-3:6  AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-6:13
4   .      AA-1:13   AA-8:13 .      AE-4:1  AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-6:13
5   AE-5:2 .         .       .      .       .      .       .       .       .       .       .       .
6   .      AE-6:3/13 AA-8:13 .      AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-7:13
7   .      .         AE-7:6  .      .       .      .       .       .       .       .       .       .
8   .      .         AE-8:13 .      .       .      .       .       .       .       .       .       .
9   .      .         .       .      .       DT-1:6 .       AR-7:8  .       .       .       .       .
10  .      AA-1:13   AA-8:13 .      AA-8:13 DT-2:6 AR-6:7  AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-6:13
11  .      .         .       .      .       AR-1:7 .       .       .       .       .       .       .
12  .      AA-1:13   AA-8:13 .      AA-8:13 AR-2:8 AR-8:9/10 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-6:13
13  .      AA-1:13   AA-8:13 .      AA-8:13 AA-8:13 AR-3:1 AA-8:13 AA-8:13 AR-10:12 AR-3:1 AA-8:13 AA-6:13
14  .      .         .       .      .       .      .       AR-4:13 AR-9:11 .       .       AR-4:13 .
15  .      .         AA-1:13 AA-2:1 AA-1:13 AA-1:13 AA-1:13 AA-1:13 AA-1:13 AA-1:13 AA-1:13 AA-1:13 .
16  .      AA-2:1    AA-3:1  .      AA-3:1  AA-3:1 AA-3:1  AA-3:1  AA-3:1  AA-3:1  AA-3:1  AA-3:1  AA-2:1
17  .      AA-5:1    AA-4:1  AA-4:1 AA-4:1  AA-4:1 AA-4:1  AA-4:1  AA-4:1  AA-4:1  AA-4:1  AA-4:1  AR-5:1
18  .      AA-2:1    .       .      .       .      .       .       .       .       .       .       AA-2:1
19  .      AA-1:13   AA-8:13 .      AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-8:13 AA-7:13
"""


def cells() -> list[tuple[Event, State, str]]:
    found = []
    for line in TABLE.strip().splitlines():
        number, *row = line.split()
        assert len(row) == len(State)
        found += [(Event(int(number)), state, cell) for state, cell in zip(State, row, strict=True)]
    return found


@pytest.mark.parametrize(("event", "state", "cell"), cells(), ids=lambda value: value.name if isinstance(value, Event | State) else value)
def test_every_cell_is_as_the_standard_prints_it(event: Event, state: State, cell: str) -> None:
    machine = Machine()
    machine.state = state
    if cell == ".":
        with pytest.raises(KeyError):
            machine.on(event)
        assert machine.state is state
        return
    name, _, after = cell.partition(":")
    then, _, otherwise = after.partition("/")
    assert machine.on(event) is Action[name.replace("-", "_")]
    assert machine.state == int(then)
    transition = TRANSITIONS[event, state]
    assert transition.otherwise == (State(int(otherwise)) if otherwise else None)


def test_an_unacceptable_request_is_rejected_by_the_provider_at_once() -> None:
    machine = Machine()
    machine.on(Event.TRANSPORT_INDICATED)
    assert machine.on(Event.ASSOCIATE_RQ, acceptable=False) is Action.AE_6
    assert machine.state is State.AWAIT_CLOSE


@pytest.mark.parametrize(
    ("opening", "collision"),
    [
        ((Event.ASSOCIATE_REQUEST, Event.TRANSPORT_CONFIRMED, Event.ASSOCIATE_AC), State.COLLISION_REQUESTOR),
        ((Event.TRANSPORT_INDICATED, Event.ASSOCIATE_RQ, Event.ACCEPT), State.COLLISION_ACCEPTOR),
    ],
    ids=["requestor", "acceptor"],
)
def test_a_release_collision_depends_on_who_asked_for_the_association(opening: tuple[Event, ...], collision: State) -> None:
    machine = Machine()
    for event in (*opening, Event.RELEASE_REQUEST, Event.RELEASE_RQ):
        machine.on(event)
    assert machine.state is collision


def test_the_table_has_no_cell_that_the_standard_leaves_empty() -> None:
    assert set(TRANSITIONS) == {(event, state) for event, state, cell in cells() if cell != "."}
