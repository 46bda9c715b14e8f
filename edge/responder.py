"""How one kind of request on the control socket is answered, and who may make it: a row that stands beside what it is about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeVar

from edge.control.message import Message
from edge.errors import Refused

_Request = TypeVar("_Request", bound=Message)


class Role(Enum):
    """Who asks, by the Unix user whom SO_PEERCRED names."""

    ROOT = "root"
    EDGE = "the edge user: who installed Outpost without users of its own, and edge-web"
    OTHER = "somebody else whom the mode of the socket lets in, such as cloudsync"


PEOPLE = frozenset({Role.ROOT, Role.EDGE})


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: the Unix user by number (SO_PEERCRED), and what that makes of them here."""

    user: int
    role: Role
    descriptor: int | None = None
    """What came beside the request; open until it is answered."""

    def beside(self) -> int:
        """The descriptor. Raises Refused when none came."""
        if self.descriptor is None:
            raise Refused("No descriptor came with the request.")
        return self.descriptor


@dataclass(frozen=True, slots=True)
class Responder:
    """A row of the controller's table. `answer` raises an OutpostError with the reason and the cure; who has gone closes it early."""

    request: type[Message]
    who: frozenset[Role]
    answer: Callable[[Any, Asker], AsyncGenerator[Message, None]]


class Responding(Protocol):
    """A noun that answers requests."""

    def responders(self) -> Iterable[Responder]:
        """One for each kind of request."""
        ...


def streamed(
    request: type[_Request], who: frozenset[Role], answer: Callable[[_Request, Asker], AsyncGenerator[Message, None]]
) -> Responder:
    """Answered bit by bit, in the event loop."""
    return Responder(request, who, answer)


def at_once(request: type[_Request], who: frozenset[Role], answer: Callable[[_Request, Asker], Iterable[Message]]) -> Responder:
    """Answered by what a function returns that may block: it runs in a thread, to its end."""

    async def answers(asked: _Request, asker: Asker) -> AsyncGenerator[Message, None]:
        for one in await asyncio.to_thread(lambda: list(answer(asked, asker))):
            yield one

    return Responder(request, who, answers)
