"""What a noun answers to a request, as the controller would ask it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

from edge.control.message import Message
from edge.responder import Asker, Responding, Role


def answers(noun: Responding, request: Message, user: int = 0, descriptor: int | None = None) -> list[Any]:
    """Its answers to a person with this Unix user."""
    (responder,) = (one for one in noun.responders() if one.request is type(request))

    async def collect() -> list[Any]:
        async with aclosing(responder.answer(request, Asker(user, Role.ROOT, descriptor))) as found:
            return [one async for one in found]

    return asyncio.run(collect())
