"""The catalogue of a clinic after ten years, generated: studies of patients who come again, named as people are in several scripts.

It is made by the catalogue's own way of taking instances in, many to a transaction. Packs have rows and no files: they are evicted.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.dataset.attributes import Description
from edge.model import UID, Digest, Identity, Json, PackId, Urgency
from edge.store.catalogue import Catalogue
from edge.store.instances import Admission
from edge.store.pack import Member

STUDIES_A_PATIENT = 2.5
SERIES, INSTANCES = 2, 4
"""Of each study."""
DAYS = 3652
TODAY = datetime.date(2025, 12, 31)
_SYNTAX = UID("1.2.840.10008.1.2.1")
_ROOT = "1.2.826.0.1.3680043.10.1406"
_MODALITIES = {
    "CT": ("1.2.840.10008.5.1.4.1.1.2", 25),
    "MR": ("1.2.840.10008.5.1.4.1.1.4", 20),
    "US": ("1.2.840.10008.5.1.4.1.1.6.1", 20),
    "DX": ("1.2.840.10008.5.1.4.1.1.1.1", 25),
    "MG": ("1.2.840.10008.5.1.4.1.1.1.2", 6),
    "XA": ("1.2.840.10008.5.1.4.1.1.12.1", 4),
}
_PARTS = ["HEAD", "CHEST", "ABDOMEN", "PELVIS", "KNEE", "SPINE", "HAND", "BREAST"]
_CONSONANTS = [
    "b",
    "br",
    "d",
    "f",
    "g",
    "gr",
    "h",
    "j",
    "k",
    "kl",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "sch",
    "st",
    "t",
    "w",
    "z",
    "č",
    "ł",
    "ñ",
    "ş",
]
_VOWELS = ["a", "e", "i", "o", "u", "ä", "ö", "ü", "é", "è", "ą", "å", "ei", "au", "ie"]
_ENDS = ["", "n", "r", "l", "s", "nd", "rt", "ß", "ck", "ński", "son", "mann", "er", "ová"]


class Names:
    """Person names by a seed: family names are as unequally frequent as they are, given names less so."""

    def __init__(self, seed: int = 1) -> None:
        self._draw = random.Random(seed)
        self._families = [self._latin(self._draw.choice([1, 2, 2, 2, 3])) for _ in range(40_000)]
        self._given = [self._latin(self._draw.choice([1, 2, 2])) for _ in range(3_000)]
        self._hanzi = [chr(0x4E00 + self._draw.randrange(0x5000)) for _ in range(1_500)]
        self._hangul = [chr(0xAC00 + self._draw.randrange(11_172)) for _ in range(400)]
        self._kana = [chr(0x3042 + self._draw.randrange(80)) for _ in range(60)]

    def one(self) -> dict[str, str]:
        """The component groups of a name."""
        script = self._draw.random()
        if script < 0.7:
            return {"Alphabetic": f"{self._often(self._families)}^{self._often(self._given)}"}
        family, given = self._often(self._families[:400]), self._often(self._given)
        if script < 0.85:
            ideographic = f"{self._often(self._hanzi[:120])}^{''.join(self._some(self._hanzi, self._draw.choice([1, 2, 2])))}"
            return {"Alphabetic": f"{family}^{given}", "Ideographic": ideographic}
        if script < 0.92:
            hangul = f"{self._often(self._hangul[:80])}^{''.join(self._some(self._hangul, 2))}"
            ideographic = f"{self._often(self._hanzi[:80])}^{''.join(self._some(self._hanzi, 2))}"
            return {"Alphabetic": f"{family}^{given}", "Ideographic": ideographic, "Phonetic": hangul}
        if script < 0.98:
            ideographic = f"{''.join(self._some(self._hanzi[:400], 2))}^{''.join(self._some(self._hanzi, 2))}"
            phonetic = f"{''.join(self._some(self._kana, 3))}^{''.join(self._some(self._kana, 3))}"
            return {"Alphabetic": f"{family}^{given}", "Ideographic": ideographic, "Phonetic": phonetic}
        return {"Alphabetic": "".join(self._some(self._hanzi, self._draw.choice([1, 2, 2, 3])))}

    def _latin(self, syllables: int) -> str:
        draw = self._draw
        word = "".join(draw.choice(_CONSONANTS) + draw.choice(_VOWELS) for _ in range(syllables)) + draw.choice(_ENDS)
        return word.capitalize() if draw.random() < 0.5 else word.upper()

    def _often(self, texts: list[str]) -> str:
        """The first ones more often than the last."""
        return texts[int(len(texts) * self._draw.random() ** 2.5)]

    def _some(self, texts: list[str], count: int) -> list[str]:
        return [self._draw.choice(texts) for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Visit:
    """A study as it arrives, and what somebody may look for."""

    pack: PackId
    admissions: list[Admission]
    patient_id: str
    name: dict[str, str]
    accession: str
    date: str
    time: str


def visits(studies: int, first: int = 0, run: int = 0) -> Iterator[Visit]:
    """So many studies over ten years, the oldest first, or those that come after `first` of them. Of another `run`, all of the last day."""
    draw, names = random.Random(f"{first} {run}"), Names(first + run + 1)
    patients: list[tuple[str, dict[str, str], str, str]] = []
    modalities = [name for name, (_, weight) in _MODALITIES.items() for _ in range(weight)]
    for number in range(first, first + studies):
        if not patients or draw.random() < 1 / STUDIES_A_PATIENT:
            born = datetime.date(1930, 1, 1) + datetime.timedelta(days=draw.randrange(33_000))
            patients.append((f"{run}{len(patients) * 7 + first:08d}", names.one(), f"{born:%Y%m%d}", draw.choice("MFMFO")))
        patient = patients[-1] if draw.random() < 0.4 else draw.choice(patients)
        day = TODAY if run else TODAY - datetime.timedelta(days=DAYS - 1 - number * DAYS // studies)
        yield _visit(draw, number, run, patient, day, draw.choice(modalities))


def _visit(
    draw: random.Random, number: int, run: int, patient: tuple[str, dict[str, str], str, str], day: datetime.date, modality: str
) -> Visit:
    patient_id, name, born, sex = patient
    clock = f"{draw.randrange(6, 20):02}{draw.randrange(60):02}{draw.randrange(60):02}"
    date, accession = f"{day:%Y%m%d}", f"A{day:%y%m%d}{run}{number:07d}"
    study = UID(f"{_ROOT}.{draw.randrange(1, 12)}.{date}{clock}.{run}{number}")
    received = datetime.datetime.combine(day, datetime.time(int(clock[:2])), datetime.UTC).timestamp()
    sop_class, part = UID(_MODALITIES[modality][0]), draw.choice(_PARTS)
    pack = PackId(base64.b32encode(draw.randbytes(16)).decode().rstrip("=").lower())
    person = _json({"00100010": ("PN", name), "00100020": ("LO", patient_id), "00100030": ("DA", born), "00100040": ("CS", sex)})
    of_study = _json(
        {
            "00080005": ("CS", "ISO_IR 192"),
            "00080020": ("DA", date),
            "00080030": ("TM", clock),
            "00080050": ("SH", accession),
            "00080080": ("LO", "Generated clinic"),
            "00081030": ("LO", f"{part} {modality} routine"),
            "0020000D": ("UI", study),
            "00200010": ("SH", f"{number}"),
        }
    )
    admissions = []
    for place in range(INSTANCES):
        series = UID(f"{study}.{place % SERIES + 1}")
        instance = UID(f"{series}.{place + 1}")
        of_series = _json(
            {
                "00080021": ("DA", date),
                "00080031": ("TM", clock),
                "00080060": ("CS", modality),
                "00080070": ("LO", "Generated"),
                "00081010": ("SH", f"{modality}{number % 3}"),
                "0008103E": ("LO", f"{part} series {place % SERIES + 1}"),
                "00180015": ("CS", part),
                "0020000E": ("UI", series),
                "00200011": ("IS", place % SERIES + 1),
            }
        )
        own = _json(
            {
                "00080008": ("CS", "ORIGINAL"),
                "00080016": ("UI", sop_class),
                "00080018": ("UI", instance),
                "00080022": ("DA", date),
                "00080032": ("TM", clock),
                "00200013": ("IS", place + 1),
                "00280010": ("US", 512),
                "00280011": ("US", 512),
                "00280100": ("US", 16),
            }
        )
        identity = Identity(sop_class, instance, series, study)
        member = Member(place * 530_944, place * 530_944 + 1024, 529_000, Digest(hashlib.sha256(instance.encode()).hexdigest()))
        described = Description(person, of_study, of_series, own, None, True)
        admissions.append(Admission(identity, described, _SYNTAX, pack, member, received, f"{modality}{number % 3}"))
    return Visit(pack, admissions, patient_id, name, accession, date, clock)


def _json(values: dict[str, tuple[str, object]]) -> Json:
    return {tag: {"vr": vr, "Value": [value]} for tag, (vr, value) in values.items()}


class Filling(Catalogue):
    """The catalogue, with one transaction around many of its own."""

    _within = False

    @contextmanager
    def many(self) -> Iterator[None]:
        with super()._transaction():
            self._within = True
            try:
                yield
                self._run("count_studies")
            finally:
                self._within = False

    @contextmanager
    def _transaction(self, flushed: bool = False) -> Iterator[None]:
        if self._within:
            yield
        else:
            with super()._transaction(flushed):
                yield


def receive(catalogue: Catalogue, visit: Visit) -> None:
    """One transaction for each instance, as reception has it."""
    first, *rest = visit.admissions
    assert catalogue.open_pack(visit.pack, Urgency.ROUTINE, first)
    for one in rest:
        assert catalogue.admit(one)


def rest(catalogue: Catalogue, visit: Visit) -> None:
    """Close what was received, have the archive hold it, and evict it: there are no files that a start could find."""
    size = INSTANCES * 530_944 + 1024
    now = visit.admissions[0].received_at + 60
    catalogue.close_pack(visit.pack, now, size, Digest(hashlib.sha256(visit.pack.encode()).hexdigest()))
    catalogue.mark_coded(visit.pack, now, size // 3, "{}", 3)
    with catalogue.change():
        catalogue.hold(visit.pack, now + 60, size // 3)
    catalogue.evict(visit.pack)


def fill(path: Path, studies: int) -> list[Visit]:
    """A catalogue of so many studies at rest; some visits of it, spread over the years, to be looked for."""
    catalogue = Filling(path)
    catalogue._connection.execute("PRAGMA synchronous = OFF")  # it can be made again
    catalogue._connection.execute("PRAGMA cache_size = -400000")
    sample: list[Visit] = []
    waiting: list[Visit] = []

    def write() -> None:
        with catalogue.many():
            for one in waiting:
                receive(catalogue, one)
                rest(catalogue, one)
        waiting.clear()

    for number, visit in enumerate(visits(studies)):
        waiting.append(visit)
        if number * 2000 // studies != (number + 1) * 2000 // studies:
            sample.append(visit)
        if len(waiting) == 5000:
            write()
    write()
    catalogue.close()
    return sample
