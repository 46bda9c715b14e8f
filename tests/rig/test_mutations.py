"""Whoever can write to the archive changes, exchanges, takes out or brings back what lies there. Nothing of it is taken for the site's own.

Each deed meets what the product opens and rebuilds by; each refusal is of a known kind and names the object. The seal is tried alone as
well, without the digests that come before it.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from cloudsync import merge
from cloudsync.archive.port import NotThere
from cloudsync.catalog import BadSignature, BrokenChain, NewerFormat, open_site_state
from cloudsync.rebuild import RolledBack, rebuild
from cloudsync.seal import sums
from cloudsync.seal.kit import Kit
from cloudsync.seal.part import NotOurs
from edge.errors import OutpostError
from edge.model import PackId
from tests.rig.shelf import MERGE, Hand, Shelf, Tampering, make

SEED = 20_261_124
SENTENCES = {
    NotOurs: r"{name}(: not in the one form in which this site (seals|signs)|: was sealed for another place, or its recipients were changed"
    r"|: its content was altered| is not what the (sums|catalog) says?| has \d+ bytes; the sums say \d+"
    r"|: not the first segment of a site| line [12]: .+)",
    BrokenChain: r"{name} does not follow the segment before it: .*|the archive has .*, but {name} is missing"
    r"|{name} was replaced by another one of this site",
    BadSignature: r"{name}(: its content is not signed by this site's key|: signed by the key .*"
    r"| brings another signing certificate than the one that the recovery kit names)",
    NewerFormat: r"{name} has format \d+, this Outpost reads 5\. Upgrade it\.",
    NotThere: r"the archive has no {name}",
    RolledBack: r"the archive's catalog ends at \d+, the lost box had written \d+",
}
"""What is said of each fault, in full."""


def test_whatever_is_done_to_the_archive_is_refused_by_name(tmp_path: Path, full: bool, capsys: pytest.CaptureFixture[str]) -> None:
    dice = Random(SEED)
    site, fork, other = make(tmp_path, dice)
    untouched(site, tmp_path)
    seen: Counter[tuple[str, str, str]] = Counter()
    for number, (kind, tampering) in enumerate(Hand(site, fork, other, dice).tamper(100_000 if full else 2_000)):
        for name in looked_at(tampering):
            try:
                read(site, tampering, kind, name, tmp_path / str(number))
            except OutpostError as fault:
                seen[kind, tampering.deed, called(fault, name)] += 1
            except Exception as fault:
                fault.add_note(f"seed {SEED}, deed {number}: {tampering.deed} of {name}")
                raise
            else:
                pytest.fail(f"seed {SEED}, deed {number}: {tampering.deed} of {name} was taken for ours")
    if full:
        with capsys.disabled():
            print(f"\n{seen.total():,} refusals")
            for (kind, deed, fault), count in sorted(seen.items()):
                print(f"  {kind:10} {deed:9} {fault:12} {count:6}")
    assert {(kind, deed) for kind, deed, _ in seen} >= {
        ("segment", "roll back"),
        *(
            (kind, deed)
            for kind in ("segment", "site state", "sums", "head", "part")
            for deed in ("flip", "cut", "mangle", "swap", "replay", "drop")
        ),
        *((kind, "forge") for kind in ("segment", "merge", "site state", "head", "part")),
        *(("merge", deed) for deed in ("flip", "cut", "mangle", "replay")),
    }


def untouched(site: Shelf, place: Path) -> None:
    """The same looks find nothing wrong with an archive that nobody touched."""
    nothing = Tampering("nothing", {})
    for name in site.objects:
        if not name.endswith("/000002"):
            kind = (
                "segment"
                if "/c/0/" in name
                else "merge"
                if "/c/" in name
                else "site state"
                if "/e/" in name
                else "sums"
                if name.endswith("/sums")
                else "part"
            )
            read(site, nothing, kind, name, place)
    restored(site, nothing, place / "untouched", needs_number=True)


def looked_at(tampering: Tampering) -> list[str]:
    """Where each deed has to show; where the end of the catalog is missing, once."""
    return [*tampering.changed][: 1 if tampering.deed == "roll back" else None]


def read(site: Shelf, tampering: Tampering, kind: str, name: str, place: Path) -> None:
    """As the product does; returns when it would have taken what lies there."""
    data = tampering.changed.get(name, site.objects[name])
    if kind == "segment":
        if data is None:
            restored(site, tampering, place, needs_number=site.segments[-1] in tampering.changed)
            return
        site.chain.at(site.states[site.segments.index(name)]).follow(data)
        return
    if data is None:
        raise NotThere(f"the archive has no {name}")
    if kind == "merge":
        merge.read(site.chain.at(site.states[-1]), MERGE, data, site.states[MERGE.last].tip)
        return
    if kind == "site state":
        seal_alone(site, tampering, name, data)
        open_site_state(site.site_states[name], data, site.keys.site_id, site.keys.open)
        return
    _, _, pack, number = name.split("/")
    held = site.entries[PackId(pack)]
    if kind == "sums":
        sums.proven(data, held.sums_digest, site.keys.site_id, PackId(pack))
        return
    seal_alone(site, tampering, name, data)
    text = site.objects[f"{site.keys.site_id}/p/{pack}/sums"]
    sums.proven(text, held.sums_digest, site.keys.site_id, PackId(pack)).open(int(number[:6]), data, site.keys.open)


def seal_alone(site: Shelf, tampering: Tampering, name: str, data: bytes) -> None:
    """What is sealed refuses by itself whatever was not sealed under this site's keys for this very place."""
    if tampering.deed not in {"nothing", "forge"} and not (tampering.deed == "replay" and "/e/" in name):
        with pytest.raises(NotOurs):
            site.keys.open(data, name)


def restored(site: Shelf, tampering: Tampering, place: Path, *, needs_number: bool) -> None:
    """A whole rebuild; that the end of the catalog is missing is known by the number that the lost box showed, and by nothing else."""
    objects = {name: data for name, data in {**site.objects, **tampering.changed}.items() if data is not None}
    archive = Shelf(site.keys, site.recovery, objects)
    kit = Kit(site.keys.site_id, "folder:/archive", site.recovery, site.keys.trust_root)
    settings = '[archive]\nkind = "folder"\npath = "/archive"\n'
    number = len(site.segments) if needs_number else None
    asyncio.run(rebuild(place, settings, kit, lambda _: None, last_sequence=number, archive=archive))


def called(fault: OutpostError, name: str) -> str:
    """The kind of a fault, whose sentence has to name the object and what is wrong with it."""
    assert type(fault) in SENTENCES, f"{name}: {fault!r}"
    assert re.fullmatch(SENTENCES[type(fault)].format(name=re.escape(name)), str(fault)), f"{name}: {fault!r}"
    return type(fault).__name__
