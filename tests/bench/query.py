"""Search: a clinic's catalogue of ten years asked through C-FIND over TCP and QIDO-RS over HTTP, beside one of 10,000 studies, and Orthanc
with 20,000. Each query of a form is asked once to know that it has at most 20 matches, and that everything is warm, then measured.

How quickly the catalogue takes instances in, how large it is, and how long edge needs to start on it stand beside.
"""

from __future__ import annotations

import datetime
import http.client
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import urlencode

from edge.config import Layout
from edge.dataset.part10 import file_meta
from edge.dataset.walk import EXPLICIT_LE
from edge.dimse import scu
from edge.dimse.classes import LITTLE_ENDIAN, STUDY_ROOT
from edge.dimse.negotiation import propose
from edge.dimse.requestor import Requestor
from edge.model import UID, AETitle, Peer
from edge.store.catalogue import Catalogue
from edge.store.fold import GROUPS
from tests.bench.clinic import TODAY, Visit, fill, receive, rest, visits
from tests.bench.table import Row
from tests.dataset.datasets import dataset
from tests.servers import Endpoint, edge_alone, edge_web, orthanc

SMALL, ORTHANC_STUDIES = 10_000, 20_000
MATCHES = 20
"""At most, of the queries whose time is promised."""
_QUERIES_A_RUN = 60
_GROWN = 500
"""Studies that are taken in to see how quickly that goes."""
_BOX = "max_bytes = 900000000000000\n[web]\nport = 0\n"
"""Nothing is to be evicted: the packs of these catalogues have no files."""
_NAME, _PATIENT_ID, _DATE, _TIME, _ACCESSION = "00100010", "00100020", "00080020", "00080030", "00080050"
_VRS = {_NAME: "PN", _PATIENT_ID: "LO", _DATE: "DA", _TIME: "TM", _ACCESSION: "SH"}
_WANTED = ("0020000D", "00080061", "00081030", "00201206", "00201208", *_VRS)

Keys = dict[str, str]
Ask = Callable[[Keys], int]
"""Asks for studies; how many matched, or as many as were wanted."""


@dataclass(frozen=True, slots=True)
class Form:
    """A way of looking for a study: ever narrower keys, of which the first that has few enough matches is asked."""

    name: str
    promise_ms: float
    keys: Callable[[Visit], Iterator[Keys]]


def _patient(visit: Visit) -> Iterator[Keys]:
    yield {_PATIENT_ID: visit.patient_id}


def _accession(visit: Visit) -> Iterator[Keys]:
    yield {_ACCESSION: visit.accession}


def _date(visit: Visit) -> Iterator[Keys]:
    """Some days, or as much less as has few enough studies: each half as long as the one before."""
    day = datetime.date(int(visit.date[:4]), int(visit.date[4:6]), int(visit.date[6:]))
    for days in (16, 8, 4, 2):
        yield {_DATE: f"{day - datetime.timedelta(days - 1):%Y%m%d}-{visit.date}"}
    yield {_DATE: visit.date}
    minute = int(visit.time[:2]) * 60 + int(visit.time[2:4])
    for minutes in (480, 240, 120, 60, 30):
        first = minute - minute % minutes
        last = first + minutes - 1
        yield {_DATE: visit.date, _TIME: f"{first // 60:02}{first % 60:02}-{min(last // 60, 23):02}{last % 60:02}"}


def _prefix(visit: Visit) -> Iterator[Keys]:
    name = visit.name["Alphabetic"]
    for length in range(min(3, len(name)), len(name) + 1):
        yield {_NAME: f"{name[:length]}*"}


def _contains(visit: Visit) -> Iterator[Keys]:
    name = visit.name["Alphabetic"]
    for length in range(3, len(name)):
        yield {_NAME: f"*{name[1 : 1 + length]}*"}


def _short(visit: Visit) -> Iterator[Keys]:
    """The two characters of a given name."""
    given = visit.name.get("Ideographic", "").partition("^")[2]
    if len(given) == 2:
        yield {_NAME: f"*{given}*"}


FORMS = (
    Form("patient ID", 10, _patient),
    Form("study date", 10, _date),
    Form("accession number", 10, _accession),
    Form("name prefix", 10, _prefix),
    Form("name contains", 50, _contains),
    Form("name contains 2 characters", 0, _short),
)
PAGES = {
    "today": (20.0, lambda visit: {_DATE: f"{TODAY:%Y%m%d}"}),
    "the newest": (0.0, lambda visit: {}),
    "3 characters of a name": (50.0, lambda visit: {_NAME: f"*{visit.name['Alphabetic'].replace('^', '')[1:4]}*"}),
    "1 character of a name": (0.0, lambda visit: {_NAME: f"*{visit.name.get('Ideographic', '^伟')[-1]}*"}),
    "1 letter that names begin with": (0.0, lambda visit: {_NAME: f"{visit.name['Alphabetic'][0]}*"}),
}
"""First pages, whatever follows: what is promised, in milliseconds, and the keys."""


def rows(runs: int, studies: int) -> Iterator[Row]:
    """The catalogues are made once, and asked in turn."""
    with tempfile.TemporaryDirectory(prefix="outpost-bench-") as scratch:
        place = Path(scratch)
        small, large = Clinic(place / "small", SMALL), Clinic(place / "large", studies)
        yield from _about(large, small)
        yield from _growing(runs, large, small)
        yield from _searches(runs, large, small, place)


class Clinic:
    """A state directory whose catalogue has so many studies."""

    def __init__(self, state: Path, studies: int) -> None:
        self.state, self.studies = state, studies
        self.layout = Layout(state)
        self.layout.edge.mkdir(parents=True)
        self.sample = fill(self.layout.catalogue, studies)

    @property
    def name(self) -> str:
        return f"Outpost, {self.studies:,} studies"

    @contextmanager
    def served(self) -> Iterator[dict[str, Ask]]:
        """C-FIND and QIDO-RS of an edge and an edge-web process."""
        with edge_alone(self.state, settings=_BOX) as endpoint, edge_web(self.state) as get, _find(endpoint) as ask:
            yield {"C-FIND": ask, "QIDO": _qido(get)}

    def grow(self, run: int) -> float:
        """Instances a second that the catalogue takes in, of new studies, each in a transaction of its own."""
        new = list(visits(_GROWN, self.studies, run))
        with closing(Catalogue(self.layout.catalogue)) as catalogue:
            begin = time.perf_counter()
            for visit in new:
                receive(catalogue, visit)
            taken = time.perf_counter() - begin
            for visit in new:
                rest(catalogue, visit)
        return sum(len(visit.admissions) for visit in new) / taken


def _about(large: Clinic, small: Clinic) -> Iterator[Row]:
    megabytes = [clinic.layout.catalogue.stat().st_size / 1e6 for clinic in (large, small)]
    yield Row(f"catalogue.db, {large.studies:,} studies", megabytes[0], megabytes[1], small.name, "MB", 0, 0)
    times = []
    for clinic in (small, large):
        with edge_alone(clinic.state, settings=_BOX):  # a start after the catalogue was written by somebody else, and a clean stop
            pass
        begin = time.perf_counter()
        with edge_alone(clinic.state, settings=_BOX):
            times.append(time.perf_counter() - begin)
    yield Row("start of edge", times[1], 2.0, "promised", "s", 2.0 / times[1], 1.0)
    yield Row("start of edge", times[1], times[0], small.name, "s", times[0] / times[1], 0)


def _growing(runs: int, large: Clinic, small: Clinic) -> Iterator[Row]:
    rates: dict[Clinic, list[float]] = {large: [], small: []}
    for run in range(1, runs + 2):
        for clinic in (large, small) if run % 2 else (small, large):
            rate = clinic.grow(run)
            if run > 1:
                rates[clinic].append(rate)
    mine, other = (statistics.median(rates[clinic]) for clinic in (large, small))
    yield Row("instances taken in", mine, other, small.name, "1/s", mine / other, 0.8)


def _searches(runs: int, large: Clinic, small: Clinic, place: Path) -> Iterator[Row]:
    count = runs * _QUERIES_A_RUN
    growth = math.log(large.studies) / math.log(small.studies)
    theirs = {}
    with orthanc(place / "orthanc", SyncStorageArea=False) as endpoint:
        sample = _feed(endpoint)
        with _find(endpoint) as ask:
            theirs = {form.name: _times(ask, _few(form, sample, ask, count)) for form in FORMS}
    with large.served() as ours, small.served() as before:
        for service, ask in ours.items():
            for form in FORMS:
                asked = _few(form, large.sample, ours["QIDO"], count)
                asked_before = _few(form, small.sample, before["QIDO"], count)
                mine, earlier = _times(ask, asked), _times(before[service], asked_before)
                what = f"{service} {form.name}"
                if form.promise_ms:
                    yield Row(f"{what}, p99", mine.p99, form.promise_ms, "promised", "ms", form.promise_ms / mine.p99, 1.0)
                else:
                    yield Row(f"{what}, p99", mine.p99, earlier.p99, small.name, "ms", earlier.p99 / mine.p99, 0)
                # What is looked for among all names grows with their number; nothing else may.
                promise = 1.0 if form.promise_ms else 0.0
                yield Row(f"{what}, x log n", mine.p50, earlier.p50, small.name, "ms", earlier.p50 * growth / mine.p50, promise)
                if service == "C-FIND":
                    other = theirs[form.name].p50
                    yield Row(what, mine.p50, other, f"Orthanc, {ORTHANC_STUDIES:,} studies", "ms", other / mine.p50, 0)
        for name, (promise, keys) in PAGES.items():
            mine = _times(ours["QIDO"], [keys(visit) for visit in islice(large.sample, count)])
            if promise:
                yield Row(f"QIDO {name}, first {MATCHES}, p99", mine.p99, promise, "promised", "ms", promise / mine.p99, 1.0)
            else:
                yield Row(f"QIDO {name}, first {MATCHES}, p99", mine.p99, mine.p50, "p50", "ms", 0, 0)


@dataclass(frozen=True, slots=True)
class Times:
    """Of one form, in milliseconds."""

    p50: float
    p99: float


def _few(form: Form, sample: list[Visit], ask: Ask, count: int) -> list[Keys]:
    """So many queries of a form, each with a few matches."""
    found: list[Keys] = []
    for visit in sample:
        for keys in form.keys(visit):
            if 0 < ask(keys) <= MATCHES:
                found.append(keys)
                break
        if len(found) == count:
            break
    assert len(found) > 10, f"{form.name}: too many match"
    return found


def _times(ask: Ask, queries: list[Keys]) -> Times:
    taken = []
    for keys in queries:
        begin = time.perf_counter()
        ask(keys)
        taken.append((time.perf_counter() - begin) * 1000)
    taken.sort()
    return Times(statistics.median(taken), taken[math.ceil(len(taken) * 0.99) - 1])


@contextmanager
def _find(endpoint: Endpoint) -> Iterator[Ask]:
    """C-FIND on one association that stays open; it takes a few more matches than are wanted."""
    peer = Peer(AETitle(endpoint.ae_title), host="127.0.0.1", port=endpoint.port)
    contexts = propose([(STUDY_ROOT.find, LITTLE_ENDIAN)])
    with Requestor().association(peer, AETitle("BENCH"), contexts) as association:

        def ask(keys: Keys) -> int:
            identifier = {"00080005": {"vr": "CS", "Value": ["ISO_IR 192"]}, "00080052": {"vr": "CS", "Value": ["STUDY"]}}
            identifier |= {tag: {"vr": _VRS.get(tag, "LO")} for tag in _WANTED}
            identifier |= {tag: {"vr": _VRS[tag], "Value": [text]} for tag, text in keys.items()}
            with closing(scu.find(association, STUDY_ROOT, identifier)) as found:
                return len(list(islice(found, MATCHES + 1)))

        yield ask


def _qido(get: Callable[[str], bytes]) -> Ask:
    """One request on a connection of its own, for one more than are wanted."""

    def ask(keys: Keys) -> int:
        return len(json.loads(get(f"/studies?{urlencode({**keys, 'limit': str(MATCHES + 1)})}")))

    return ask


def _feed(endpoint: Endpoint) -> list[Visit]:
    """One small instance of each study, given to Orthanc over its REST interface; some of the studies, to be looked for."""
    sample: list[Visit] = []
    with closing(http.client.HTTPConnection("127.0.0.1", endpoint.http_port, timeout=60)) as connection:
        for number, visit in enumerate(visits(ORTHANC_STUDIES)):
            connection.request("POST", "/instances", _file(visit))
            response = connection.getresponse()
            answer = response.read()
            assert response.status == 200, answer
            if number % 10 == 0:
                sample.append(visit)
    return sample


def _file(visit: Visit) -> bytes:
    """The first instance of a study as a Part 10 file."""
    one = visit.admissions[0]
    described, identity = one.description, one.identity
    more: dict[int, tuple[str, bytes | str]] = {0x00080005: ("CS", "ISO_IR 192")}
    for tag, element in (described.patient | described.study | described.series).items():
        value = element["Value"][0]
        text = "=".join(value.get(group, "") for group in GROUPS).rstrip("=") if element["vr"] == "PN" else str(value)
        more[int(tag, 16)] = (element["vr"], text.encode())
    data = dataset(study=identity.study, series=identity.series, instance=identity.sop_instance, sop_class=identity.sop_class, more=more)
    return file_meta(identity, UID(EXPLICIT_LE), "BENCH", None) + data
