"""What goes over the wire for a pack of real instances: sealed head, sealed parts and sums, beside the same bytes by zstd alone.

`python -m tests.bench.wire` prints the table by modality and transfer syntax, of all whole instances of the corpus with 128 KiB of pixels.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pydicom
import zstandard

from cloudsync.seal import keys as seal_keys
from cloudsync.seal import sums
from cloudsync.seal.keys import Keys
from cloudsync.seal.sums import Sum, Sums
from edge.code.coder import code
from edge.dataset.part10 import file_meta
from edge.dataset.walk import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE
from edge.model import UID, AETitle, Digest, PackId
from tests.bench.table import Row
from tests.code.corpus import corpus
from tests.code.packs import Instance, close_pack

LEAST_PIXELS = 128 << 10
"""Bytes, once they are decompressed."""
PROMISED = {"CT": 26.0, "MR": 36.0, "CR, DX": 60.0}
"""At most so many percent of what came in, where it came uncompressed."""
_NATIVE = {IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE}
_ZSTD_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Sent:
    """One pack: the instances of one study, modality and transfer syntax."""

    modality: str
    syntax: str
    instances: int
    raw: int
    """Bytes of the pack in the cache."""
    wire: int
    """Bytes of all its objects."""
    zstd: int
    """Bytes of the pack in the cache as one zstd frame, not sealed."""
    codings: Counter[str]


def rows() -> Iterator[Row]:
    """Once: the bytes do not differ from run to run but for a few of the seals."""
    packs = measured()
    for name, promised in PROMISED.items():
        chosen = [pack for pack in packs if pack.modality in name.split(", ") and pack.syntax in _NATIVE]
        raw, wire, zstd = _sums(chosen)
        peer = f"zstd -{_ZSTD_LEVEL} alone, not sealed; {raw / 1e6:.1f} MB came in"
        yield Row(f"wire {name}, {len(chosen)} packs of uncompressed", wire, zstd, peer, "%", zstd / wire, 0)
        worst = max(100 * pack.wire / pack.raw for pack in chosen)
        yield Row(f"wire {name}, the worst of these packs", worst, promised, "what is promised at most", "%", promised / worst, 1.0)


def measured() -> list[Sent]:
    """Every pack of the corpus, coded and sealed as it would be sent."""
    studies: defaultdict[tuple[str, str, str], list[Instance]] = defaultdict(list)
    for instance in corpus():
        modality, pixels = _described(instance)
        whole = instance.transfer_syntax not in _NATIVE or len(instance.dataset) >= pixels
        if pixels >= LEAST_PIXELS and whole:
            studies[modality, instance.transfer_syntax, instance.identity.study].append(instance)
    with tempfile.TemporaryDirectory() as scratch:
        keys, _ = seal_keys.make(Path(scratch) / "keys", now=time.time())
        found = []
        for number, ((modality, syntax, _), instances) in enumerate(sorted(studies.items(), key=lambda each: each[0])):
            place = Path(scratch) / str(number)
            place.mkdir()
            found.append(_sent(place, modality, syntax, instances, keys))
        return found


def _sent(place: Path, modality: str, syntax: str, instances: list[Instance], keys: Keys) -> Sent:
    job = close_pack(place, instances)
    coded = code(job)
    pack, objects = PackId(job.pack), []
    for number, path in enumerate(sorted(Path(job.target_dir).iterdir())):
        sealed = keys.seal(f"{keys.site_id}/p/{pack}/{path.name}", path.read_bytes())
        objects.append(Sum(number, len(sealed), Digest(sha256(sealed).hexdigest())))
    text = sums.write(Sums(keys.site_id, pack, tuple(objects)))
    cached = Path(job.pack_path).read_bytes()
    return Sent(
        modality,
        syntax,
        len(instances),
        len(cached),
        len(text) + sum(each.bytes for each in objects),
        len(zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(cached)),
        Counter(member.coding for member in coded.members),
    )


def _described(instance: Instance) -> tuple[str, int]:
    """Modality, and bytes of pixels once decompressed."""
    meta = file_meta(instance.identity, UID(instance.transfer_syntax), AETitle("BENCH"), None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(BytesIO(meta + instance.dataset), force=True, stop_before_pixels=True)

        def number(keyword: str, default: int) -> int:
            text = str(ds.get(keyword, default))  # in some instances it is there to be wrong
            return int(text) if text.isdigit() else default

        cells = number("Rows", 0) * number("Columns", 0) * number("SamplesPerPixel", 1) * number("NumberOfFrames", 1)
        return str(ds.get("Modality") or "none"), cells * number("BitsAllocated", 0) // 8


def _sums(packs: Iterable[Sent]) -> tuple[int, float, float]:
    """Bytes in; on the wire and by zstd, in percent of them."""
    chosen = list(packs)
    raw = sum(pack.raw for pack in chosen)
    return raw, 100 * sum(pack.wire for pack in chosen) / raw, 100 * sum(pack.zstd for pack in chosen) / raw


def main() -> None:
    """The table, in Markdown."""
    packs = measured()
    print("| modality | transfer syntax | instances | packs | coded as | bytes in | on the wire | of it | zstd alone |")
    print("|---|---|---|---|---|---|---|---|---|")
    for modality, syntax in sorted({(pack.modality, pack.syntax) for pack in packs}):
        chosen = [pack for pack in packs if (pack.modality, pack.syntax) == (modality, syntax)]
        raw, wire, zstd = _sums(chosen)
        codings = sum((pack.codings for pack in chosen), Counter[str]())
        coded = ", ".join(f"{coding} {count}" for coding, count in sorted(codings.items()))
        count, sent = sum(pack.instances for pack in chosen), sum(pack.wire for pack in chosen)
        name = pydicom.uid.UID(syntax).name.partition(":")[0].partition(",")[0]
        print(f"| {modality} | {name} | {count} | {len(chosen)} | {coded} | {raw:,} | {sent:,} | {wire:.1f} % | {zstd:.1f} % |")


if __name__ == "__main__":
    main()
