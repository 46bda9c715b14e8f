"""Packs go to Azurite through a link on which anything may fail at any time, and what came of them is counted.

What happens to an object follows from the seed, its place and how often it was tried before: a run can be replayed, whatever takes place
at the same time. Besides, the whole link is cut again and again, and cloudsync is stopped and started in the middle of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from random import Random

from cloudsync.seal import keys, sums
from edge.config import Layout
from edge.journal import Held, Verification, Verify
from edge.model import PackId, new_pack_id
from tests import azurite
from tests.cloudsync.conftest import serving
from tests.cloudsync.edge_side import CodedPack, EdgeSide
from tests.rig import fault_proxy
from tests.rig.fault_proxy import Deed, Exchange, FaultProxy, Request, answering, pass_on, proxying

PARTS_OF_A_PACK = 20
SECONDS = 1200.0
"""Nothing is asserted of times; this ends a run that hangs."""
_FAULTY = 0.3
_CUT_AFTER = (40, 160)
"""Requests."""
_DARK_SECONDS = 0.1
SETTINGS = """
[archive]
kind = "azure_blob"
container = "weak"
credential_file = "{credential}"
segment_seconds = 0.5
verify_days = 0
[link]
parallel_parts = 8
backoff_max_seconds = 0.02
poll_seconds = 0.5
silence_seconds = 2.5
"""
FAULTS: dict[str, tuple[Deed, int]] = {
    "reset before the body": (fault_proxy.reset_after(0.0), 4),
    "reset in the middle of the body": (fault_proxy.reset_after(0.5), 8),
    "reset after the body": (fault_proxy.reset_after(1.0), 4),
    "lost answer": (fault_proxy.lose_answer, 8),
    "cut answer": (fault_proxy.cut_answer, 8),
    "500": (answering("500 Oops", "InternalError"), 4),
    "500, and it arrived": (answering("500 Oops", "OperationTimedOut", arrives=True), 4),
    "503": (answering("503 Busy", "ServerBusy", "Retry-After: 0\r\n"), 4),
    "429": (answering("429 Too Many Requests"), 4),
    "408": (answering("408 Request Timeout"), 4),
    "401": (answering("401 Unauthorized"), 4),
    "403": (answering("403 Forbidden", "AuthenticationFailed"), 4),
    "403, and it arrived": (answering("403 Forbidden", "AuthorizationPermissionMismatch", arrives=True), 4),
    "409, and it arrived": (answering("409 Conflict", "BlobAlreadyExists", arrives=True), 4),
    "412, and it arrived": (answering("412 Precondition Failed", "ConditionNotMet", arrives=True), 4),
    "captive portal": (fault_proxy.portal, 4),
    "redirection": (fault_proxy.redirect, 4),
    "delay": (fault_proxy.delayed(0.05), 4),
    "low rate": (fault_proxy.slowly(500_000), 4),
    "stalled body": (fault_proxy.stall_after(0.5), 2),
    "half-open": (fault_proxy.half_open, 2),
}
"""With how often they come, relative to each other. A connection that hangs takes seconds, so it comes seldom."""


@dataclass(slots=True)
class Met:
    """A request, and what it met."""

    name: str
    exchange: Exchange
    cut: bool = False
    """Nobody will hear of its end."""

    def __str__(self) -> str:
        crossed = f"{self.exchange.taken} of {self.exchange.request.length} bytes crossed"
        answers = f"the archive said {self.exchange.archive_said}, {self.exchange.answered} came back"
        return f"{self.name or 'nothing'}{' and a cut' if self.cut else ''}: {crossed}, {answers}"


@dataclass(slots=True)
class Weather:
    """Chooses what a request meets, and notes what became of it."""

    seed: int
    packs: Mapping[str, int]
    """The number of each pack, by id: ids are random, what happens to a pack is not."""
    proxy: FaultProxy
    calm: bool = False
    met: Counter[str] = field(default_factory=Counter)
    cuts: list[int] = field(default_factory=list)
    """Bytes of the objects that were in flight at each cut of the whole link."""
    writes: list[Met] = field(default_factory=list)
    """Each request that would write, in the order in which they began."""
    _tried: Counter[tuple[str, str]] = field(default_factory=Counter)
    _requests: int = 0
    _next_cut: int = 0
    _dark: bool = False
    _flying: dict[int, Met] = field(default_factory=dict)
    _cutting: set[asyncio.Task[None]] = field(default_factory=set)

    def choose(self, request: Request) -> Deed:
        name = self._choose(request)
        if name:
            self.met[name] += 1
        deed = FAULTS[name][0] if name in FAULTS else fault_proxy.reset_after(0.0) if name else pass_on

        async def noted(exchange: Exchange) -> None:
            met = self._flying[id(exchange)] = Met(name, exchange)
            if request.method not in {"GET", "HEAD"}:
                self.writes.append(met)
            await deed(exchange)

        return noted

    def ended(self, exchange: Exchange) -> None:
        del self._flying[id(exchange)]

    async def cut(self) -> None:
        """The whole link is gone for a moment, and with it all that is in flight."""
        self._dark = True
        self.cuts.append(self.interrupt())
        await self.proxy.hang_up()
        await asyncio.sleep(_DARK_SECONDS)
        self._dark = False

    def interrupt(self) -> int:
        """Whatever is in flight will not be heard of; the bytes of it."""
        for met in self._flying.values():
            met.cut = True
        return sum(met.exchange.request.length for met in self._flying.values() if met.exchange.request.method == "PUT")

    def _choose(self, request: Request) -> str:
        if self.calm:
            return ""
        self._requests += 1
        if self._requests >= self._next_cut and not self._dark:
            if self._next_cut:
                task = asyncio.create_task(self.cut())
                self._cutting.add(task)
                task.add_done_callback(self._cutting.discard)
            self._next_cut = self._requests + Random(f"{self.seed}/cut/{self._requests}").randint(*_CUT_AFTER)
        if self._dark:
            return "dark"
        place = self._place(request.name)
        self._tried[request.method, place] += 1
        dice = Random(f"{self.seed}/{request.method}/{place}/{self._tried[request.method, place]}")
        if dice.random() >= _FAULTY:
            return ""
        return dice.choices(list(FAULTS), [often for _, often in FAULTS.values()])[0]

    def _place(self, name: str) -> str:
        """Of an object, the same in each run."""
        steps = name.split("/")[1:]
        return "/".join(str(self.packs.get(step, step)) for step in steps)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run: each of the first five has to be nothing."""

    missing: list[str]
    duplicates: list[str]
    overwritten: list[str]
    altered: list[str]
    """What was sent again was not what was sent before, or does not open to what was coded."""
    eager: list[str]
    """What was sent again though nothing had happened to it, or though it had arrived; with all that happened to it."""
    again: int
    """Bytes that crossed the link beyond one time each."""
    in_flight: int
    """Bytes of the objects that were in flight when something happened to them, added up."""
    objects: int
    met: Counter[str]
    cuts: list[int]


def coded(seed: int, parts: int) -> list[CodedPack]:
    """So many parts in packs, mostly small, one in fifty large, with the urgencies mixed."""
    dice = Random(seed)
    packs = []
    for begin in range(0, parts, PARTS_OF_A_PACK):
        count = min(PARTS_OF_A_PACK, parts - begin)
        sizes = [dice.randint(100_000, 300_000) if dice.random() < 0.02 else dice.randint(1, 12_000) for _ in range(count + 1)]
        packs.append(CodedPack(new_pack_id(), tuple(map(dice.randbytes, sizes)), dice.choice(("stat", "routine", "background"))))
    return packs


async def ship(seed: int, parts: int, layout: Layout, emulator: azurite.Azurite, credential: Path) -> Outcome:
    """Ship packs through the faults of this seed, then look at all of it."""
    packs = coded(seed, parts)
    edge = EdgeSide(layout)
    async with proxying(emulator.port) as proxy:
        credential.write_text(credential.read_text().replace(f":{emulator.port}", f":{proxy.port}"))
        weather = Weather(seed, {pack.pack: number for number, pack in enumerate(packs)}, proxy)
        proxy.choose, proxy.ended = weather.choose, weather.ended
        for pack in packs:
            edge.code(pack)
        for share in (1 / 3, 2 / 3, 1):
            async with serving(layout):
                await edge.hears(Held, int(len(packs) * share), SECONDS)
                weather.calm = share == 1
                if weather.calm:
                    edge.ask(Verify(0.0))
                    (verified,) = await edge.hears(Verification, seconds=SECONDS, asked=edge.asked, done=1.0)
                    assert (verified.damaged, verified.faults) == (0, [])
                weather.interrupt()
    edge.close()
    assert sorted(fact.pack for fact in edge.heard(Held)) == sorted(pack.pack for pack in packs)
    return look(packs, keys.load(layout.keys), await asyncio.to_thread(emulator.contents, "weak"), weather)


def look(packs: list[CodedPack], own: keys.Keys, contents: dict[str, bytes], weather: Weather) -> Outcome:
    expected = {
        f"{own.site_id}/p/{pack.pack}/{name}" for pack in packs for name in (*(f"{n:06d}" for n in range(len(pack.objects))), "sums")
    }
    there = {name for name in contents if name.split("/")[1] == "p"}
    altered = [name for pack in packs for name in _not_as_coded(pack, own, contents)]
    created, begun, broken, again, in_flight = Counter[str](), Counter[str](), Counter[str](), 0, 0
    arrived, needless = set[str](), list[str]()
    for met in weather.writes:
        exchange, request = met.exchange, met.exchange.request
        assert (request.method, b"\r\nIf-None-Match: *\r\n" in request.head) == ("PUT", True), request.head
        created[request.name] += exchange.archive_said == 201
        begun[request.name] += 1
        again += exchange.taken
        needless += [request.name] if request.name in arrived else []
        # What a cut overtakes may be asked for before it arrives; sums and segments are so small that after a start nobody asks first.
        if exchange.archive_said == 201 and not met.cut and request.name.rsplit("/", 1)[1].isdigit() and "/p/" in request.name:
            arrived.add(request.name)
        if met.cut or exchange.answered != 201:
            broken[request.name] += 1
            in_flight += request.length
        if sha256(contents[request.name][: exchange.taken]).digest() != exchange.digest.digest():
            altered.append(request.name)
    return Outcome(
        missing=sorted(expected - there),
        duplicates=sorted(there - expected),
        overwritten=sorted(name for name, count in created.items() if count > 1),
        altered=altered,
        eager=[
            f"{name}: {[str(met) for met in weather.writes if met.exchange.request.name == name]}"
            for name in sorted({*needless, *(name for name, count in begun.items() if count > broken[name] + 1)})
        ],
        again=again - sum(len(contents[name]) for name in begun),
        in_flight=in_flight,
        objects=len(contents),
        met=weather.met,
        cuts=weather.cuts,
    )


def _not_as_coded(pack: CodedPack, own: keys.Keys, contents: dict[str, bytes]) -> list[str]:
    whole = sums.parse(contents[f"{own.site_id}/p/{pack.pack}/sums"], own.site_id, PackId(pack.pack))
    opened = (whole.open(number, contents[whole.place_of(number)], own.open) for number in range(len(whole.objects)))
    return [whole.place_of(number) for number, (plain, sent) in enumerate(zip(opened, pack.objects, strict=True)) if plain != sent]
