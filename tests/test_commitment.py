"""edge.commitment: what is committed to and when, that it survives restarts, and that the peer hears of it, with pynetdicom as the peer."""

from __future__ import annotations

import queue
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance, Verification

from edge.audit import OperationRefused
from edge.clock import SystemClock
from edge.commitment import CommitmentDesk
from edge.config import Config
from edge.control import errands
from edge.dimse.ports import CommitmentReport, CommitmentRequest, Reference
from edge.dimse.requestor import Requestor
from edge.dimse.server import Listening, Server
from edge.model import UID, AETitle, Commitment, Digest, Json, Peer
from edge.outreach import Outreach
from edge.store.catalogue import Catalogue
from edge.store.commitments import CommitmentRows
from edge.store.quarantine import About
from edge.store.site import SiteState
from tests.dimse.fakes import HERE, PATIENT, FakeAudit, FakeIndex, FakeIntake, FakePeers, FakeRetrieve, Instance
from tests.servers import until
from tests.store.rows import Clock, admission, close, hold, put

CT = UID("1.2.840.10008.5.1.4.1.1.2")
MR = UID("1.2.840.10008.5.1.4.1.1.4")
ONE, TWO = UID("1.2.3.1.1"), UID("1.2.3.1.2")
MODALITY = AETitle("CT99")
DAY = 86_400.0
LOCAL, ARCHIVED = Peer(MODALITY), Peer(MODALITY, commitment=Commitment.ARCHIVED, report_after_seconds=3600.0)


class Site:
    """Site state and catalogue on disk, and a desk on them that nobody has started."""

    def __init__(self, place: Path, clock: Clock | SystemClock, *peers: Peer) -> None:
        self.state, self.catalogue = SiteState(place / "site.db"), Catalogue(place / "catalogue.db")
        for peer in peers:
            self.state.put_peer(peer)
        self.faults: list[Exception] = []
        self.clock = clock
        self.rows = CommitmentRows(self.state)
        self.desk = CommitmentDesk(self.state, self.catalogue, Requestor(PATIENT), clock, self.faults.append, lambda: 0.0)

    def ask(self, transaction: str, *references: tuple[UID, UID]) -> None:
        """A request whose association has ended."""
        attendance = self.desk.attend(MODALITY)
        wanted = tuple(Reference(*pair) for pair in references)
        self.desk.request(CommitmentRequest(UID(transaction), wanted, MODALITY, AETitle("OUTPOST")), attendance)
        attendance.close()

    def pending(self) -> list[tuple[str, object, int]]:
        """Transaction, what failed if it is decided, and the attempts at its report, of what has not ended."""
        return [(one.transaction, one.failed, one.attempts) for one in self.rows.due(float("inf"), ())]

    def close(self) -> None:
        self.desk.stop()
        self.catalogue.close()
        self.state.close()


@contextmanager
def site(place: Path, clock: Clock | SystemClock, *peers: Peer) -> Iterator[Site]:
    made = Site(place, clock, *peers)
    try:
        yield made
    finally:
        made.close()
    assert made.faults == []


def test_an_unknown_instance_is_waited_for_and_may_still_come(tmp_path: Path) -> None:
    clock = Clock()
    with site(tmp_path, clock, LOCAL) as ours:
        ours.ask("1.1", (CT, ONE), (CT, TWO))
        put(ours.catalogue, admission(instance=ONE))
        clock.time += 1
        ours.desk.step()
        assert ours.pending() == [("1.1", None, 0)]
        put(ours.catalogue, admission(instance=TWO, offset=4096))
        clock.time += 60
        ours.desk.step()
        assert ours.pending() == [("1.1", (), 0)]


def test_what_never_comes_fails_alone(tmp_path: Path) -> None:
    clock = Clock()
    with site(tmp_path, clock, LOCAL) as ours:
        put(ours.catalogue, admission(instance=ONE))
        ours.ask("1.1", (CT, ONE), (CT, TWO))
        clock.time += 601
        ours.desk.step()
        assert ours.pending() == [("1.1", ((CT, TWO, 0x0112),), 0)]


def test_a_transaction_uid_that_was_used_for_something_else_fails_for_each_instance(tmp_path: Path) -> None:
    clock = Clock()
    with site(tmp_path, clock, LOCAL) as ours:
        put(ours.catalogue, admission(instance=ONE))
        ours.ask("1.1", (CT, ONE))
        ours.ask("1.1", (CT, ONE), (CT, TWO))
        clock.time += 2
        ours.desk.step()
        assert ours.pending() == [("1.1", (), 0), ("1.1", ((CT, ONE, 0x0131), (CT, TWO, 0x0131)), 1)]


def test_the_same_request_again_is_one_request_decided_anew(tmp_path: Path) -> None:
    clock = Clock()
    with site(tmp_path, clock, LOCAL) as ours:
        put(ours.catalogue, admission(instance=ONE))
        ours.ask("1.1", (CT, ONE))
        clock.time += 2
        ours.desk.step()
        ours.rows.end(1, clock.time, delivered=True)
        assert ours.pending() == []
        ours.ask("1.1", (CT, ONE))
        assert ours.pending() == [("1.1", None, 0)]


def test_what_lies_in_quarantine_fails_at_once(tmp_path: Path) -> None:
    clock = Clock()
    with site(tmp_path, clock, LOCAL) as ours:
        ours.catalogue.quarantine(Digest("0" * 64), About("why", 100, "1.2", ONE, MODALITY, clock.time))
        ours.ask("1.1", (CT, ONE))
        clock.time += 2
        ours.desk.step()
        assert ours.pending() == [("1.1", ((CT, ONE, 0x0110),), 0)]


def test_a_rejected_study_is_not_committed_to(tmp_path: Path) -> None:
    clock = Clock()
    with site(tmp_path, clock, LOCAL) as ours:
        put(ours.catalogue, admission(instance=ONE))
        with ours.catalogue.change():
            ours.catalogue._connection.execute("UPDATE study SET rejected = 1")
        ours.ask("1.1", (CT, ONE))
        clock.time += 2
        ours.desk.step()
        assert ours.pending() == [("1.1", ((CT, ONE, 0x0110),), 0)]


def test_a_request_survives_a_restart_and_is_decided_when_the_archive_has_it(tmp_path: Path) -> None:
    clock = Clock()
    with site(tmp_path, clock, ARCHIVED) as before:
        put(before.catalogue, admission(instance=ONE))
        close(before.catalogue, "a")
        before.ask("1.1", (CT, ONE))
        clock.time += 2
        before.desk.step()
        assert before.pending() == [("1.1", None, 0)]
    with site(tmp_path, clock) as after:
        hold(after.catalogue, "a")
        clock.time += 60
        after.desk.step()
        assert after.pending() == [("1.1", (), 0)]


def test_a_report_that_nobody_takes_is_tried_for_seven_days_and_then_shown(tmp_path: Path) -> None:
    clock = Clock()
    with site(tmp_path, clock, LOCAL) as ours:
        put(ours.catalogue, admission(instance=ONE))
        ours.ask("1.1", (CT, ONE))
        ends = clock.time + 7 * DAY
        steps = 0
        while ours.pending():
            assert ours.desk.notices() == [] or "which does not take them" in ours.desk.notices()[0]
            clock.time += ours.desk.step() or 0.0
            steps += 1
        assert ends < clock.time < ends + 3600
        assert 7 * 24 < steps < 2 * 7 * 24 + 20
        assert ours.desk.notices() == ["1 storage commitment reports could not be given to CT99 within 7 days."]


def test_who_calls_again_hears_what_it_could_not_be_told(tmp_path: Path) -> None:
    clock = Clock()
    with site(tmp_path, clock, LOCAL) as ours:
        put(ours.catalogue, admission(instance=ONE))
        ours.ask("1.1", (CT, ONE))
        for _ in range(9):
            clock.time += ours.desk.step() or 0.0
        attendance = ours.desk.attend(MODALITY)
        clock.time += 1
        ours.desk.step()
        report = attendance.take()
        assert report == CommitmentReport(UID("1.1"), (Reference(CT, ONE),), (), AETitle("OUTPOST"))
        attendance.settle(report, 0x0000)
        attendance.close()
        assert ours.pending() == []
        assert ours.desk.notices() == []


def test_a_report_that_an_association_took_with_it_is_given_again_at_once(tmp_path: Path) -> None:
    clock = Clock()
    with site(tmp_path, clock, LOCAL) as ours:
        put(ours.catalogue, admission(instance=ONE))
        ours.ask("1.1", (CT, ONE))
        first = ours.desk.attend(MODALITY)
        clock.time += 1
        ours.desk.step()
        ours.desk.step()
        assert first.take() is not None
        first.close()
        second = ours.desk.attend(MODALITY)
        ours.desk.step()
        assert second.take() is not None
        second.close()


class Modality:
    """pynetdicom as the peer that asks, and that listens for reports."""

    def __init__(self, status: int = 0x0000) -> None:
        self.reports: queue.Queue[tuple[int, Dataset, str]] = queue.Queue()
        self.status = status
        self.entity = AE(MODALITY)
        self.entity.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
        self.handlers = [(evt.EVT_N_EVENT_REPORT, self.on_report)]
        self.listener = self.entity.start_server((HERE, 0), block=False, evt_handlers=self.handlers)

    @property
    def port(self) -> int:
        port: int = self.listener.socket.getsockname()[1]
        return port

    def on_report(self, event: evt.Event) -> tuple[int, None]:
        self.reports.put((event.event_type, event.event_information, event.assoc.requestor.ae_title))
        return self.status, None

    def ask(self, port: int, transaction: str, *references: tuple[str, str], called: str = "OUTPOST", keep: bool = False) -> int:
        """N-ACTION; its status. Unless the association is kept, it is released before the report."""
        entity = AE(MODALITY)
        entity.add_requested_context(StorageCommitmentPushModel)
        entity.add_requested_context(Verification)
        association = entity.associate(HERE, port, ae_title=called, evt_handlers=self.handlers)
        assert association.is_established
        request = Dataset()
        request.TransactionUID = transaction
        request.ReferencedSOPSequence = []
        for sop_class, instance in references:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
            request.ReferencedSOPSequence.append(item)
        status, _ = association.send_n_action(request, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
        if keep:
            self.association = association
        else:
            association.release()
        return int(status.Status)

    def report(self) -> tuple[int, Dataset, str]:
        return self.reports.get(timeout=20)


@pytest.fixture
def modality() -> Iterator[Modality]:
    made = Modality()
    yield made
    made.listener.shutdown()


@pytest.fixture
def serving(tmp_path: Path, modality: Modality) -> Iterator[tuple[Site, int]]:
    """A site that serves, knows where the modality listens, and holds one instance."""
    peer = Peer(MODALITY, host=HERE, port=modality.port, rights=frozenset({"store", "commit"}))
    with site(tmp_path, SystemClock(), peer) as ours:
        put(ours.catalogue, admission(instance=ONE))
        with serve(ours) as port:
            yield ours, port


@contextmanager
def serve(ours: Site, audit: FakeAudit | None = None) -> Iterator[int]:
    listening = Listening(HERE, 0, frozenset({AETitle("OUTPOST"), AETitle("OUTPOST_STAT")}), deadlines=PATIENT)
    peers = FakePeers({peer.ae_title: peer for peer in ours.state.peers()})
    held = FakeIntake(), FakeIndex([]), FakeRetrieve([])
    server = Server(listening, *held, peers, audit or FakeAudit(), Requestor(PATIENT), commitments=ours.desk)
    server.start()
    ours.desk.start()
    try:
        yield server.port
    finally:
        server.stop(1.0)
        ours.desk.stop()


def test_the_report_comes_on_the_association_that_is_kept(serving: tuple[Site, int], modality: Modality) -> None:
    _, port = serving
    assert modality.ask(port, "1.2.1", (CT, ONE), keep=True) == 0x0000
    kind, report, opened_by = modality.report()
    assert (kind, report.TransactionUID, opened_by) == (1, "1.2.1", MODALITY)
    assert report.RetrieveAETitle == "OUTPOST"
    assert [(item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) for item in report.ReferencedSOPSequence] == [(CT, ONE)]
    assert "FailedSOPSequence" not in report
    assert modality.association.send_c_echo().Status == 0x0000
    modality.association.release()


def test_the_report_comes_on_an_association_of_ours_under_the_title_that_was_called(serving: tuple[Site, int], modality: Modality) -> None:
    _, port = serving
    assert modality.ask(port, "1.2.2", (CT, ONE), (MR, ONE), called="OUTPOST_STAT") == 0x0000
    kind, report, opened_by = modality.report()
    assert (kind, report.TransactionUID, opened_by) == (2, "1.2.2", "OUTPOST_STAT")
    assert report.RetrieveAETitle == "OUTPOST_STAT"
    assert [item.ReferencedSOPClassUID for item in report.ReferencedSOPSequence] == [CT]
    (failed,) = report.FailedSOPSequence
    assert (failed.ReferencedSOPClassUID, failed.ReferencedSOPInstanceUID, failed.FailureReason) == (MR, ONE, 0x0119)


def test_a_report_that_the_peer_refuses_is_given_again(serving: tuple[Site, int], modality: Modality) -> None:
    ours, port = serving
    modality.status = 0x0110
    assert modality.ask(port, "1.2.3", (CT, ONE)) == 0x0000
    modality.report()
    until(lambda: [attempts for _, _, attempts in ours.pending()] == [1], "the refusal is recorded")
    modality.status = 0x0000
    modality.ask(port, "1.2.4", (CT, ONE))  # it calls again, so it is told again
    assert {modality.report()[1].TransactionUID for _ in range(2)} == {"1.2.3", "1.2.4"}


def test_a_request_that_says_nothing_is_refused(serving: tuple[Site, int], modality: Modality) -> None:
    ours, port = serving
    assert modality.ask(port, "1.2.5") == 0x0115
    assert modality.ask(port, "", (CT, ONE)) == 0x0115
    assert ours.pending() == []


def test_what_is_no_request_of_the_model_is_refused_as_the_standard_says_and_audited(tmp_path: Path) -> None:
    audit = FakeAudit()
    with site(tmp_path, SystemClock(), Peer(MODALITY, rights=frozenset({"commit"}))) as ours, serve(ours, audit) as port:
        entity = AE(MODALITY)
        entity.add_requested_context(StorageCommitmentPushModel)
        association = entity.associate(HERE, port, ae_title="OUTPOST")
        dataset = Dataset()
        dataset.TransactionUID = "1.2.6"
        wanted = [(1, "1.2.3", 0x0112), (2, StorageCommitmentPushModelInstance, 0x0123), (1, StorageCommitmentPushModelInstance, 0x0115)]
        for action, instance, status in wanted:
            assert association.send_n_action(dataset, action, StorageCommitmentPushModel, instance)[0].Status == status
        dataset.add_new(0x00081199, "UI", "1.2.3")  # no sequence
        assert association.send_n_action(dataset, 1, StorageCommitmentPushModel, wanted[-1][1])[0].Status == 0x0115
        assert ours.pending() == []
        association.release()
        told = [event for event in audit.events if isinstance(event, OperationRefused)]
    assert [(event.operation, event.status) for event in told] == [("N-ACTION", status) for *_, status in [*wanted, wanted[-1]]]
    assert len({event.reason for event in told}) == len(wanted)


def test_who_has_no_right_to_it_gets_no_context_for_it(tmp_path: Path, modality: Modality) -> None:
    with site(tmp_path, SystemClock(), Peer(MODALITY, rights=frozenset({"store"}))) as ours, serve(ours) as port:
        entity = AE(MODALITY)
        entity.add_requested_context(StorageCommitmentPushModel)
        association = entity.associate(HERE, port, ae_title="OUTPOST")
        assert not association.is_established


@pytest.mark.parametrize("archive_knows_where_we_listen", [False, True], ids=["on our association", "on one of its own"])
def test_we_ask_an_archive_and_hear_what_it_says(tmp_path: Path, archive_knows_where_we_listen: bool) -> None:
    """Two of our own sites, one of them the archive, which has one of the two instances under another class."""
    (tmp_path / "archive").mkdir()
    commit = frozenset({"commit"})
    study = [admission(instance=ONE), admission(instance=TWO, offset=4096)]
    listed: Json = {"00080016": {"vr": "UI", "Value": [CT]}, "0020000D": {"vr": "UI", "Value": ["1.2.3"]}}
    here = [Instance(tmp_path, None, listed | {"00080018": {"vr": "UI", "Value": [uid]}}) for uid in (ONE, TWO)]
    with site(tmp_path, SystemClock()) as ours, site(tmp_path / "archive", SystemClock()) as archive:
        put(archive.catalogue, study[0], admission(instance=TWO, offset=4096, more={0x00080016: ("UI", MR.encode())}))
        ours.state.put_peer(Peer(AETitle("OUTPOST"), rights=commit))
        with serve(ours) as our_port:
            host = HERE if archive_knows_where_we_listen else ""
            archive.state.put_peer(Peer(AETitle("OUTPOST"), host=host, port=our_port, rights=commit))
            with serve(archive) as port:
                peers = FakePeers({"OUTPOST": Peer(AETitle("OUTPOST"), host=HERE, port=port)})
                outreach = Outreach(
                    Config(), peers, FakeIndex(here), FakeRetrieve([]), FakeIntake(), ours.desk, Requestor(PATIENT), FakeAudit()
                )
                (said,) = outreach.run(errands.CommitStudy(ae_title="OUTPOST", study="1.2.3", wait_seconds=20), 0)
    assert said == errands.Committed(total=2, reasons={"0119": 1})


def test_a_peer_that_does_not_answer_keeps_nobody_else_from_being_told(tmp_path: Path, modality: Modality) -> None:
    with socket.create_server((HERE, 0)) as deaf:
        silent = Peer(AETitle("SILENT"), host=HERE, port=deaf.getsockname()[1])
        told = Peer(MODALITY, host=HERE, port=modality.port, rights=frozenset({"commit"}))
        with site(tmp_path, SystemClock(), silent, told) as ours:
            put(ours.catalogue, admission(instance=ONE))
            attendance = ours.desk.attend(silent.ae_title)
            ours.desk.request(CommitmentRequest(UID("1.3.1"), (Reference(CT, ONE),), silent.ae_title, AETitle("OUTPOST")), attendance)
            attendance.close()
            with serve(ours) as port:
                modality.ask(port, "1.3.2", (CT, ONE))
                assert modality.report()[1].TransactionUID == "1.3.2"
