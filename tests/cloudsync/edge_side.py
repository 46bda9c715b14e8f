"""The other side of the wall, written for the tests: it puts coded packs into the outbox, asks, and reads facts."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from edge import journal
from edge.config import Layout
from edge.doorbell import Doorbell, ring
from edge.journal import PartFile
from edge.journalfiles import JournalReader, JournalWriter
from edge.model import PackId, new_pack_id
from edge.wall import Gate

F = TypeVar("F", bound=journal.Line)


@dataclass(frozen=True, slots=True)
class CodedPack:
    """What edge would have coded: the head and the parts, as plaintext."""

    pack: PackId
    objects: tuple[bytes, ...]
    urgency: str = "routine"
    received_at: float = 0.0

    @classmethod
    def generated(cls, seed: int, parts: int = 3, part_bytes: int = 20_000, urgency: str = "routine") -> CodedPack:
        source = random.Random(seed)
        return cls(new_pack_id(), tuple(source.randbytes(source.randint(1, part_bytes)) for _ in range(parts + 1)), urgency)

    @property
    def ask(self) -> journal.Coded:
        return journal.Coded(
            pack=self.pack,
            urgency=self.urgency,
            instances=3,
            raw_bytes=sum(map(len, self.objects)) * 2,
            sha256=sha256(b"".join(self.objects)).hexdigest(),
            study={"0020000D": {"vr": "UI", "Value": ["1.2.3"]}, "00100010": {"vr": "PN", "Value": [{"Alphabetic": "CANARY^NAME"}]}},
            series=[{"0020000E": {"vr": "UI", "Value": ["1.2.3.4"]}}],
            received_at=self.received_at,
            parts=[PartFile(number, len(data), sha256(data).hexdigest()) for number, data in enumerate(self.objects)],
        )


@dataclass(slots=True)
class EdgeSide:
    """One edge on a state directory; `facts` is all that it has heard."""

    layout: Layout
    facts: list[journal.Entry] = field(default_factory=list)
    _asks: JournalWriter = field(init=False)
    _reader: JournalReader = field(init=False)
    _bell: Doorbell = field(init=False)

    def __post_init__(self) -> None:
        self._asks = JournalWriter(self.layout.asks)
        self._reader = JournalReader(Gate(self.layout.facts), 0)
        self._bell = Doorbell(self.layout.edge_bell)
        self.layout.outbox.mkdir(exist_ok=True)

    def close(self) -> None:
        self._asks.close()
        self._bell.close()

    @property
    def asked(self) -> int:
        """The seq of the last ask."""
        return self._asks.last

    def put(self, pack: CodedPack) -> None:
        """Write the outbox files of a pack."""
        directory = self.layout.outbox / pack.pack
        directory.mkdir(exist_ok=True)
        for number, data in enumerate(pack.objects):
            (directory / f"{number:06d}").write_bytes(data)

    def code(self, pack: CodedPack) -> None:
        """Write the outbox files of a pack, and ask for it."""
        self.put(pack)
        self.ask(pack.ask)

    def site_state(self, data: bytes) -> None:
        digest = sha256(data).hexdigest()
        (self.layout.outbox / "site").mkdir(exist_ok=True)
        (self.layout.outbox / "site" / digest).write_bytes(data)
        self.ask(journal.SiteState(bytes=len(data), digest=digest))

    def ask(self, *asks: journal.Entry) -> None:
        self._asks.append(*asks)
        ring(self.layout.cloudsync_bell)

    def listen(self) -> None:
        """Read the facts that are there."""
        while heard := self._reader.read():
            self.facts += heard

    def heard(self, kind: type[F], **fields: object) -> list[F]:
        """The facts of a kind whose fields have these values."""
        return [
            fact for fact in self.facts if isinstance(fact, kind) and all(getattr(fact, name) == value for name, value in fields.items())
        ]

    async def hears(self, kind: type[F], count: int = 1, seconds: float = 20, **fields: object) -> list[F]:
        """Wait until so many such facts were heard."""
        await self.until(lambda: len(self.heard(kind, **fields)) >= count, f"{kind.__name__} {fields}", seconds)
        return self.heard(kind, **fields)

    async def until(self, happened: Callable[[], bool], what: str, seconds: float = 20) -> None:
        """Wait until something is so, listening meanwhile."""
        deadline = time.monotonic() + seconds
        self.listen()
        while not happened():
            assert time.monotonic() < deadline, f"not heard of {what} within {seconds} s; heard {self.facts[-5:]}"
            await asyncio.sleep(0.02)
            self.listen()

    def inbox(self, pack: PackId, number: int) -> bytes:
        return Gate(self.layout.inbox).read(f"{pack}/{number:06d}", 64 << 20)


def settings(archive: Path, **link: object) -> str:
    """Settings of a test site on a folder archive, which is compared with the ledger when the test asks for it."""
    values = {"backoff_max_seconds": 0.2, "poll_seconds": 0.5} | link
    lines = "".join(f"{name} = {value}\n" for name, value in values.items())
    return f'[archive]\nkind = "folder"\npath = "{archive}"\nsegment_seconds = 3600\nverify_days = 0\n[link]\n{lines}'
