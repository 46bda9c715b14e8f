"""Where the instances of a request come from: those in the cache at once, the others as edge recalls them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from edge.config import Layout
from edge.control.lines import Answer
from edge.control.studies import Recalled, RecallStudy
from edge.errors import Refused, Transient
from edge.store.reader import CatalogueReader, Stored, Target
from edge.web.asking import ask
from edge.web.faults import NotFound, Unavailable
from edge.web.packs import OpenedPacks
from edge.web.uses import Uses


class Supply:
    """Begins deliveries."""

    def __init__(self, reader: CatalogueReader, layout: Layout, uses: Uses) -> None:
        self._reader = reader
        self._layout = layout
        self._uses = uses

    async def known(self, target: Target) -> list[Stored]:
        """The instances of a target, here or not, their heads recalled if need be. Raises NotFound, or Unavailable with a sentence."""
        async with aclosing(self.begin(target, instances_too=False)) as delivery:
            return await delivery.known()

    def begin(self, target: Target, instances_too: bool = True) -> Delivery:
        """The instances of a target. Close the delivery: what is still under way is taken back."""
        return Delivery(self._reader, self._layout, self._uses, target, instances_too)

    def packs(self) -> OpenedPacks:
        """The pack files of one request; they are closed at the end of the `with` block."""
        return OpenedPacks(self._layout, self._reader, self._uses.suspect)


class Delivery:
    """The instances of one request, in order as far as they are here; the others follow as they come."""

    def __init__(self, reader: CatalogueReader, layout: Layout, uses: Uses, target: Target, instances_too: bool) -> None:
        self._reader = reader
        self._layout = layout
        self._uses = uses
        self._target = target
        self._instances_too = instances_too
        self._asking: AsyncGenerator[Answer, None] | None = None
        self._stored: list[Stored] | None = None

    async def known(self) -> list[Stored]:
        """Every instance of the target. What is missing is asked for, and edge has said that it comes, when this returns.

        Raises NotFound, or Unavailable with edge's sentence when it cannot come.
        """
        if self._stored is not None:
            return self._stored
        stored = await self._reader.instances(self._target)
        headless = await self._reader.headless(self._target.study)
        if not stored and not headless:
            raise NotFound
        missing = self._instances_too and not all(one.located.present for one in stored)
        if headless or missing:
            self._asking = self._recall()
            while await self._comes() and await self._reader.headless(self._target.study):
                pass
            stored = await self._reader.instances(self._target)
            if not stored:
                raise NotFound
        self._stored = stored
        if self._instances_too:
            self._uses.note({one.located.pack for one in stored})
        return stored

    async def opened(self, packs: OpenedPacks) -> AsyncGenerator[tuple[int, Stored], None]:
        """Each instance of the target with the descriptor that it is to be read from before the next is taken."""
        pending, over = list(await self.known()), False
        while pending:
            away = []
            for one in pending:
                descriptor = await packs.open(one) if one.located.present else None
                if descriptor is None:
                    away.append(one)
                else:
                    yield descriptor, one
            if not away:
                return
            if over and len(away) == len(pending):
                raise Unavailable("Not all of it came back from the archive.")
            if self._asking is None and any(one.located.present for one in away):
                self._asking = self._recall()  # evicted since it was looked up
            over = not await self._comes()
            wanted = {(one.located.series, one.located.sop_instance) for one in away}
            found = await self._reader.instances(self._target)
            pending = [one for one in found if (one.located.series, one.located.sop_instance) in wanted]

    async def aclose(self) -> None:
        """Take back what is still asked for. Idempotent."""
        asking, self._asking = self._asking, None
        if asking is not None:
            await asking.aclose()

    def _recall(self) -> AsyncGenerator[Answer, None]:
        target = self._target
        return ask(self._layout.control, RecallStudy(study=target.study, series=target.series, instance=target.instance))

    async def _comes(self) -> bool:
        """Wait until more is here; False when all is that was asked for."""
        if self._asking is None:
            return False
        try:
            async for answer in self._asking:
                if isinstance(answer, Recalled):
                    return True
        except (Refused, Transient) as fault:
            raise Unavailable(str(fault)) from fault
        self._asking = None
        return False
