"""What a link, a hotspot or a service does to cloudsync, by a proxy between it and Azurite: what people are told, and how it ends.

One cloudsync runs through all of it. Each fault begins, is told in `outpost status` in its own words, ends, and what waited is held: once,
and as it was sent.
"""

from __future__ import annotations

import itertools
import re
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from cloudsync.archive.azure_blob import AzureBlob
from cloudsync.archive.line import authorities
from cloudsync.archive.port import ClockWrong, CredentialRefused, LinkDown
from cloudsync.seal import keys
from cloudsync.setup import setup
from edge import status
from edge.config import Layout
from edge.journal import Held, Here, Link, Recall, RecallFailed
from edge.link import LinkState
from tests import azurite
from tests.certificates import Authority
from tests.cloudsync.conftest import serving
from tests.cloudsync.edge_side import CodedPack, EdgeSide
from tests.rig import fault_proxy
from tests.rig.fault_proxy import Deed, FaultProxy, Request, answering, proxying

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECONDS = 60.0
"""For a fault to be told of, and for what waited to be held; a loaded machine takes its time."""
LASTS = "nothing to do, unless it lasts: then look at cable and modem"
STATUS_PAGE = "nothing to do, unless it lasts for hours: then look at the status page of the service"
SET = "set it; `timedatectl set-ntp true` lets it be kept, and the firewall has to let NTP out (UDP 123)."
LATER = "Scanning continues, and shipping goes on by itself as soon as it can; 3 of 12 studies not yet in the archive (41.0 MB)."
MEANWHILE = "Scanning continues, and shipping goes on; 3 of 12 studies not yet in the archive (41.0 MB)."


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, and what `outpost status` says of it."""

    name: str
    state: str
    says: str
    deed: Deed = fault_proxy.pass_on
    certificate: str = "good"
    days: float = 0.0
    then: str = LATER


REFUSED = "put a valid one in archive.credential_file."
FAULTS = [
    Fault("stalled body", "down", f"Nothing comes from the archive: {LASTS}.", fault_proxy.stall_after(0.3)),
    Fault("half-open", "down", f"Nothing comes from the archive: {LASTS}.", fault_proxy.half_open),
    Fault("reset in the middle of a body", "down", f"The connection to the archive broke off: {LASTS}.", fault_proxy.reset_after(0.5)),
    Fault("lost answer", "down", f"The connection to the archive broke off: {LASTS}.", fault_proxy.lose_answer),
    Fault(
        "captive portal",
        "down",
        "Something else answers in the archive's place: sign in at the hotspot, or look at the proxy.",
        fault_proxy.portal,
    ),
    Fault(
        "captive portal that redirects",
        "down",
        "Something else answers in the archive's place: sign in at the hotspot, or look at the proxy.",
        fault_proxy.redirect,
    ),
    Fault("408", "down", f"The archive answers that it cannot do it now (HTTP 408): {STATUS_PAGE}.", answering("408 Request Timeout")),
    Fault(
        "500",
        "down",
        f"The archive answers that it cannot do it now (HTTP 500 InternalError): {STATUS_PAGE}.",
        answering("500 Oops", "InternalError"),
    ),
    Fault(
        "503",
        "throttled",
        "The archive asks us to slow down (HTTP 503 ServerBusy): nothing to do.",
        answering("503 Busy", "ServerBusy", "Retry-After: 0\r\n"),
    ),
    Fault("429", "throttled", "The archive asks us to slow down (HTTP 429): nothing to do.", answering("429 Too Many Requests")),
    Fault("401", "credential", f"The archive refuses our credential (HTTP 401): {REFUSED}", answering("401 Unauthorized")),
    Fault(
        "403",
        "credential",
        f"The archive refuses our credential (HTTP 403 AuthenticationFailed): {REFUSED}",
        answering("403 Forbidden", "AuthenticationFailed"),
    ),
    Fault(
        "closed account",
        "quota",
        "The storage account is closed or full (HTTP 403 AccountIsDisabled): settle it.",
        answering("403 Forbidden", "AccountIsDisabled"),
    ),
    Fault(
        "container that is gone",
        "credential",
        "There is no container 'clinic' (HTTP 404 ContainerNotFound): make it, or correct archive.container.",
        answering("404 Not Found", "ContainerNotFound"),
    ),
    Fault(
        "refused requests",
        "credential",
        "The archive refuses our requests (HTTP 400 InvalidUri): compare archive.container and archive.credential_file with the portal.",
        answering("400 Bad Request", "InvalidUri"),
    ),
    Fault(
        "expired certificate",
        "down",
        "The certificate of the archive expired at TIME: the archive's owner has to renew it, or who runs a proxy between.",
        certificate="expired",
    ),
    Fault(
        "certificate of another host",
        "down",
        "What answers in the archive's place shows the certificate of another name: sign in at the hotspot, or look at the proxy.",
        certificate="other",
    ),
    Fault(
        "self-signed certificate",
        "down",
        "The certificate of the archive is signed by nobody whom this box trusts: `outpost doctor` says what to do.",
        certificate="stranger",
    ),
    Fault(
        "something without TLS",
        "down",
        "What answers in the archive's place does not speak TLS: sign in at the hotspot, or look at the proxy.",
        certificate="none",
    ),
    Fault(
        "our clock 400 days ahead",
        "clock",
        f"The clock of this box is 400 days ahead of the archive's: {SET}",
        certificate="past",
        days=-400,
    ),
    Fault(
        "our clock 400 days behind",
        "clock",
        f"The clock of this box is 400 days behind the archive's: {SET}",
        certificate="future",
        days=400,
    ),
    Fault(
        "our clock 3 hours ahead", "clock", f"The clock of this box is 3 hours ahead of the archive's: {SET}", days=-1 / 8, then=MEANWHILE
    ),
]


@dataclass(slots=True)
class Clinic:
    """A site that ships through the proxy, while it runs."""

    edge: EdgeSide
    proxy: FaultProxy
    emulator: azurite.Azurite
    certificates: dict[str, tuple[Path, Path] | None]
    credential: Path
    authority: Path
    seeds: Iterator[int]

    @property
    def site_id(self) -> str:
        return keys.load(self.edge.layout.keys).site_id

    async def inflict(self, fault: Fault) -> None:
        self.proxy.choose = lambda request: fault.deed
        self.proxy.certificate, self.proxy.days = self.certificates[fault.certificate], fault.days
        await self.proxy.hang_up()

    def pack(self) -> CodedPack:
        return CodedPack.generated(next(self.seeds), parts=1, part_bytes=150_000)

    def holds(self, pack: CodedPack) -> None:
        """Each object of the packs lies in the archive, once."""
        names = [name.split("/") for name in self.emulator.names("clinic")]
        assert sorted(name[3] for name in names if name[1:3] == ["p", pack.pack]) == ["000000", "000001", "sums"]


@dataclass(slots=True)
class Site:
    """Before it runs."""

    layout: Layout
    emulator: azurite.Azurite
    credential: Path
    authority: Path
    certificates: dict[str, tuple[Path, Path] | None]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    place = tmp_path_factory.mktemp("clinic")
    trusted, stranger = Authority(place / "tls"), Authority(place / "tls", "stranger")
    certificates = {
        "good": trusted.issue("good", host="localhost"),
        "expired": trusted.issue("expired", host="localhost", days=-3),
        "other": trusted.issue("other", host="other.example"),
        "stranger": stranger.issue("unknown", host="localhost"),
        "past": trusted.issue("past", host="localhost", from_now=-400),
        "future": trusted.issue("future", host="localhost", from_now=400),
        "none": None,
    }
    with azurite.running(place) as emulator:
        emulator.make_container("clinic")
        credential = emulator.credential(place, emulator.sas_address("clinic", "crl"))
        settings = f"""
[archive]
kind = "azure_blob"
container = "clinic"
credential_file = "{credential}"
ca_file = "{trusted.certificate}"
segment_seconds = 3600
verify_days = 0
[link]
backoff_max_seconds = 0.2
poll_seconds = 0.5
silence_seconds = 3.0
"""
        layout = Layout(place / "state")
        setup(layout.state, settings, place / "kit")
        yield Site(layout, emulator, credential, trusted.certificate, certificates)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clinic(site: Site) -> AsyncIterator[Clinic]:
    edge = EdgeSide(site.layout)
    async with proxying(site.emulator.port) as proxy:
        proxy.certificate = site.certificates["good"]
        there = f"https://localhost:{proxy.port}"
        site.credential.write_text(site.credential.read_text().replace(f"http://127.0.0.1:{site.emulator.port}", there))
        async with serving(site.layout):
            yield Clinic(edge, proxy, site.emulator, site.certificates, site.credential, site.authority, itertools.count())
    edge.close()


def told(fact: Link) -> str:
    """What `outpost status` makes of it."""
    said = LinkState(fact.state, fact.since, fact.goodput_bytes_per_second, fact.sentence, fact.answered_at, fact.sequence, fact.said_at)
    link = status.link(said, None, fact.said_at)
    sentence = status.sentence(status.Figures(12, 3, 41_000_000, None, 0, link, 0), fact.said_at)
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", sentence)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
async def test_each_fault_is_told_in_its_own_words_and_ends_by_itself(fault: Fault, clinic: Clinic) -> None:
    edge, pack = clinic.edge, clinic.pack()
    await clinic.inflict(fault)
    edge.listen()
    before = len(edge.facts)
    edge.code(pack)
    expected = (fault.state, f"{fault.says} {fault.then}")

    def said() -> list[tuple[str, str]]:
        return [(fact.state, told(fact)) for fact in edge.facts[before:] if isinstance(fact, Link)]

    await edge.until(lambda: expected in said(), f"{expected}; {said()}", SECONDS)
    await clinic.inflict(Fault("none", "up", ""))
    await edge.hears(Held, pack=pack.pack, seconds=SECONDS)
    await edge.until(lambda: edge.heard(Link)[-1].state == "up", "a link that is up", SECONDS)
    clinic.holds(pack)


ARRIVED = {
    "lost": fault_proxy.lose_answer,
    "409": answering("409 Conflict", "BlobAlreadyExists", arrives=True),
    "412": answering("412 Precondition Failed", "ConditionNotMet", arrives=True),
    "403": answering("403 Forbidden", "AuthorizationPermissionMismatch", arrives=True),
    "500": answering("500 Oops", "OperationTimedOut", arrives=True),
}


@pytest.mark.parametrize("deed", ARRIVED.values(), ids=ARRIVED)
async def test_what_arrived_is_asked_for_and_not_sent_again_whatever_the_answer_was(deed: Deed, clinic: Clinic) -> None:
    sent, pack = list[str](), clinic.pack()

    def choose(request: Request) -> Deed:
        if request.method != "PUT":
            return fault_proxy.pass_on
        sent.append(request.name)
        return deed

    clinic.proxy.choose = choose
    clinic.edge.code(pack)
    await clinic.edge.hears(Held, pack=pack.pack, seconds=SECONDS)
    clinic.holds(pack)
    names = (f"{clinic.site_id}/p/{pack.pack}/{number}" for number in ("000000", "000001", "sums"))
    assert sorted(name for name in sent if pack.pack in name) == sorted(names)


@pytest.mark.parametrize(("name", "deed"), [("delay", fault_proxy.delayed(0.3)), ("rate", fault_proxy.slowly(400_000))])
async def test_a_link_that_is_only_slow_is_no_fault(name: str, deed: Deed, clinic: Clinic) -> None:
    clinic.proxy.choose = lambda request: deed
    clinic.edge.listen()
    before, pack = len(clinic.edge.facts), clinic.pack()
    clinic.edge.code(pack)
    await clinic.edge.hears(Held, pack=pack.pack, seconds=SECONDS)
    assert {fact.state for fact in clinic.edge.facts[before:] if isinstance(fact, Link)} <= {"up"}
    clinic.holds(pack)


@pytest.mark.parametrize("deed", [fault_proxy.cut_answer, fault_proxy.portal, fault_proxy.half_open], ids=["cut", "portal", "half-open"])
async def test_a_recall_goes_on_after_the_fault_with_what_was_sent(deed: Deed, clinic: Clinic) -> None:
    edge, pack = clinic.edge, clinic.pack()
    clinic.proxy.choose = lambda request: fault_proxy.pass_on
    edge.code(pack)
    await edge.hears(Held, pack=pack.pack, seconds=SECONDS)
    clinic.proxy.choose = lambda request: deed
    edge.ask(Recall(pack=pack.pack, parts=[0, 1]))
    (failed, *_) = await edge.hears(RecallFailed, pack=pack.pack, seconds=SECONDS)
    assert not failed.final
    clinic.proxy.choose = lambda request: fault_proxy.pass_on
    await edge.hears(Here, count=2, pack=pack.pack, seconds=SECONDS)
    assert tuple(edge.inbox(pack.pack, number) for number in (0, 1)) == pack.objects


async def test_a_name_that_is_not_found_is_said_and_found_again(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name server: what the system says of a name is the one thing that no proxy can change."""
    archive = AzureBlob("clinic", clinic.credential, trust=authorities(str(clinic.authority)))
    with monkeypatch.context() as nameless:
        nameless.setattr(socket, "getaddrinfo", _nobody)
        with pytest.raises(LinkDown) as fault:
            await archive.head("any")
    await archive.head("any")
    await archive.close()
    assert str(fault.value) == "the name of the archive is not found: look at the link, then at the name server (`resolvectl status`)"


def _nobody(*_: object, **__: object) -> object:
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


async def test_whose_signature_bears_a_wrong_time_is_told_of_the_clock_and_not_of_the_credential(clinic: Clinic, tmp_path: Path) -> None:
    text = clinic.emulator.connection_string.replace(f"http://127.0.0.1:{clinic.emulator.port}", f"https://localhost:{clinic.proxy.port}")
    archive = AzureBlob(
        "clinic", clinic.emulator.credential(tmp_path, text.replace("=http;", "=https;")), trust=authorities(str(clinic.authority))
    )
    await clinic.inflict(Fault("", "", "", answering("403 Forbidden", "AuthenticationFailed"), days=1 / 48))
    with pytest.raises(ClockWrong, match="the clock of this box is 30 minutes behind the archive's: set it"):
        await archive.head("any")
    await clinic.inflict(Fault("", "", "", answering("403 Forbidden", "AuthenticationFailed")))
    with pytest.raises(CredentialRefused):
        await archive.head("any")
    await clinic.inflict(Fault("none", "", ""))
    assert await archive.head("any") is None
    await archive.close()
