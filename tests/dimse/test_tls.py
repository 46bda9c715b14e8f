"""TLS below DICOM, both ways: who is let in and who is not, what a refusal leaves behind, deadlines, and certificates that change."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.x509.oid import NameOID

from edge.audit import AssociationRefused
from edge.dimse import scu
from edge.dimse.admission import Denial
from edge.dimse.associate import write_request
from edge.dimse.classes import LITTLE_ENDIAN, VERIFICATION
from edge.dimse.faults import AssociationRejected, NotSecured, PeerGone
from edge.dimse.negotiation import propose, storage_proposals
from edge.dimse.requestor import Requestor
from edge.dimse.tls import Certificates, Files
from edge.errors import ConfigError, OutpostError
from edge.model import AETitle, Peer
from tests.certificates import Authority
from tests.dimse.fakes import CT, EVERYTHING, HERE, MR_JPEGLS, PATIENT, QUICK, Box, box
from tests.dimse.test_hostile import REQUEST, pdu
from tests.dimse.test_retrieve import MOVE, counts, move, same_study
from tests.dimse.test_scu import pairs, store
from tests.dimse.test_storage import associated
from tests.servers import need

ECHO = propose([(VERIFICATION, LITTLE_ENDIAN)])


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@contextlib.contextmanager
def secured(authority: Authority, required: bool = True, **more: object) -> Iterator[Box]:
    with box(certificates=Certificates(authority.files("outpost", required)), **more) as served:  # type: ignore[arg-type]
        yield served


def requestor(files: Files, deadlines=PATIENT) -> Requestor:
    return Requestor(deadlines, certificates=Certificates(files))


def at(port: int, **fields: object) -> Peer:
    return Peer(AETitle("OUTPOST"), host=HERE, port=port, tls=True, **fields)  # type: ignore[arg-type]


def echo(served: Box, caller: Requestor, **fields: object) -> int:
    with caller.association(at(served.tls_port, **fields), AETitle("TEST"), ECHO) as association:
        return scu.echo(association)


def only_peer(served: Box, **fields: object) -> None:
    served.peers.peers["TEST"] = Peer(AETitle("TEST"), rights=EVERYTHING, **fields)  # type: ignore[arg-type]


def reasons(served: Box) -> list[str]:
    """Why associations were refused; waits for one that is on its way."""
    until = time.monotonic() + 5
    while not served.audit.events and time.monotonic() < until:
        threading.Event().wait(0.01)
    return [event.reason for event in served.audit.events if isinstance(event, AssociationRefused)]


def client(authority: Authority, files: Files | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.certificate)
    if files is not None:
        context.load_cert_chain(files.certificate_file, files.key_file)
    return context


def test_both_ports_serve_the_peer_whose_certificate_its_row_names(authority: Authority) -> None:
    with secured(authority) as served:
        only_peer(served, tls_subject="CN=ct1")
        assert echo(served, requestor(authority.files("ct1"))) == 0
        only_peer(served)
        with Requestor(PATIENT).association(Peer(AETitle("OUTPOST"), host=HERE, port=served.port), AETitle("TEST"), ECHO) as plain:
            assert scu.echo(plain) == 0


@pytest.mark.parametrize(
    ("required", "fields", "denial"),
    [
        (True, {"tls_subject": "CN=ct2"}, Denial.OTHER_SUBJECT),
        (False, {"tls_subject": "CN=ct2"}, Denial.OTHER_SUBJECT),
        (True, {"address": "10.0.0.8"}, Denial.ELSEWHERE),
    ],
)
def test_a_good_certificate_of_somebody_else_is_refused_audited_and_listed(
    authority: Authority, required: bool, fields: dict[str, str], denial: Denial
) -> None:
    with secured(authority, required) as served:
        only_peer(served, **fields)
        with pytest.raises(AssociationRejected):
            echo(served, requestor(authority.files("ct1")))
        (event,) = [event for event in served.audit.events if isinstance(event, AssociationRefused)]
        assert (event.reason, event.subject) == (denial.value, "CN=ct1")
        assert [reason for *_, reason in served.peers.away] == [denial.value]


def test_without_a_certificate_a_peer_comes_in_only_where_neither_the_port_nor_its_row_asks_for_one(authority: Authority) -> None:
    def ask(served: Box) -> int:
        with (
            socket.create_connection((HERE, served.tls_port), 5) as plain,
            client(authority).wrap_socket(plain, server_hostname=HERE) as caller,
        ):
            caller.sendall(write_request(REQUEST))
            return pdu(caller)[0]

    with secured(authority, required=False) as served:
        assert ask(served) == 2
        only_peer(served, tls_subject="CN=ct1")
        assert ask(served) == 3
        assert reasons(served) == [Denial.OTHER_SUBJECT.value]
    with secured(authority) as served:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask(served)
        assert reasons(served) == ["TLS could not be agreed on with the peer: peer did not return a certificate."]


def test_a_certificate_that_expired_or_that_nobody_signed_is_refused_and_audited_with_the_reason(
    authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "elsewhere", "elsewhere")
    for files, why in (
        (authority.files("ct1", days=-1), "certificate has expired"),
        (Files(*stranger.issue("ct1"), authority.certificate), "unable to get local issuer certificate"),
    ):
        with secured(authority) as served:
            with pytest.raises(OutpostError):
                echo(served, requestor(files))
            assert reasons(served) == [f"TLS could not be agreed on with the peer: its certificate is not accepted: {why}."]


def test_what_is_no_tls_gets_nothing_from_the_tls_port_and_is_audited(authority: Authority) -> None:
    with secured(authority) as served, socket.create_connection((HERE, served.tls_port), 5) as plain:
        plain.sendall(write_request(REQUEST))
        answer = b""
        with contextlib.suppress(ConnectionError):
            while more := plain.recv(100):
                answer += more
        assert len(answer) < 10
        assert answer[:1] in {b"", b"\x15"}  # nothing, or an alert of TLS
        assert reasons(served) == ["TLS could not be agreed on with the peer: wrong version number."]


def test_tls_on_the_plain_port_is_no_pdu(authority: Authority) -> None:
    with secured(authority) as served, socket.create_connection((HERE, served.port), 5) as plain:
        began = time.monotonic()
        with pytest.raises((ssl.SSLError, ConnectionError)):
            client(authority).wrap_socket(plain, server_hostname=HERE)
        assert time.monotonic() - began < 3


HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


@pytest.mark.parametrize("sent", [b"", HELLO[:3], HELLO], ids=["nothing", "three bytes", "half a hello"])
def test_half_a_handshake_is_closed_at_the_deadline(authority: Authority, sent: bytes) -> None:
    with secured(authority, deadlines=QUICK) as served, socket.create_connection((HERE, served.tls_port), 20) as silent:
        began = time.monotonic()
        silent.sendall(sent)
        with contextlib.suppress(ConnectionError):
            while silent.recv(100):
                pass
        assert time.monotonic() - began > 0.5


def test_half_a_record_after_the_handshake_is_closed_at_the_deadline_too(authority: Authority) -> None:
    deadlines = dataclasses.replace(QUICK, pdu_seconds=30.0)
    with secured(authority, deadlines=deadlines) as served, socket.create_connection((HERE, served.tls_port), 10) as plain:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = client(authority, authority.files("ct1"))
        caller = context.wrap_bio(incoming, outgoing, server_hostname=HERE)
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                caller.do_handshake()
                break
            plain.sendall(outgoing.read())
            incoming.write(plain.recv(16_384))
        caller.write(write_request(REQUEST))
        data = outgoing.read()
        began = time.monotonic()
        plain.sendall(data[: len(data) - 10])
        with contextlib.suppress(ConnectionError):
            while plain.recv(16_384):
                pass
        assert time.monotonic() - began < 5


def test_the_caps_hold_on_the_tls_port_before_any_handshake(authority: Authority) -> None:
    with secured(authority, each=1) as served, socket.create_connection((HERE, served.tls_port), 5):
        with socket.create_connection((HERE, served.tls_port), 5) as second:
            assert second.recv(1) == b""
        assert reasons(served) == ["as many associations are open from this address as may be"]


def test_stopping_does_not_wait_for_a_handshake(authority: Authority) -> None:
    with secured(authority) as served, socket.create_connection((HERE, served.tls_port), 5) as silent:
        silent.sendall(HELLO)  # who has said nothing at all has no thread yet
        until = time.monotonic() + 5
        while not served.server.associations and time.monotonic() < until:
            threading.Event().wait(0.01)
        assert served.server.associations == 1
        began = time.monotonic()
        served.server.stop(0.2)
        assert time.monotonic() - began < 8  # the handshake has 10


def test_older_versions_and_other_suites_are_not_spoken(authority: Authority) -> None:
    files = authority.files("ct1", as_rsa=True)
    with box(certificates=Certificates(authority.files("outpost", as_rsa=True))) as served:
        for version, suites, agreed in (
            (ssl.TLSVersion.TLSv1_3, "", True),
            (ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM", True),
            (ssl.TLSVersion.TLSv1_2, "ECDHE+CHACHA20", True),
            (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES256-SHA", False),
            (ssl.TLSVersion.TLSv1_2, "AES256-GCM-SHA384:AES128-SHA", False),
        ):
            context = client(authority, files)
            context.minimum_version = context.maximum_version = version
            if suites:
                context.set_ciphers(suites)
            with socket.create_connection((HERE, served.tls_port), 5) as plain:
                try:
                    context.wrap_socket(plain, server_hostname=HERE).close()
                    spoken = True
                except (ssl.SSLError, ConnectionError):
                    spoken = False
            assert spoken == agreed, (version, suites)


def serial(served: Box, authority: Authority, files: Files) -> str:
    with (
        socket.create_connection((HERE, served.tls_port), 5) as plain,
        client(authority, files).wrap_socket(plain, server_hostname=HERE) as caller,
    ):
        return str((caller.getpeercert() or {})["serialNumber"])


def test_a_new_certificate_counts_from_the_next_association_and_a_broken_one_does_not(authority: Authority) -> None:
    ours, theirs = authority.files("outpost"), authority.files("ct1")
    with box(certificates=Certificates(ours)) as served:
        first = serial(served, authority, theirs)
        with requestor(theirs).association(at(served.tls_port), AETitle("TEST"), ECHO) as lasting:
            authority.issue("outpost")
            second = serial(served, authority, theirs)
            assert second != first
            assert scu.echo(lasting) == 0
        ours.certificate_file.write_text("no certificate")
        assert serial(served, authority, theirs) == second
        ours.certificate_file.unlink()
        assert serial(served, authority, theirs) == second
        authority.issue("outpost")
        assert serial(served, authority, theirs) not in {first, second}


def test_certificates_are_read_again_when_that_is_asked_for(authority: Authority) -> None:
    files = authority.files("outpost")
    certificates = Certificates(files)
    before = certificates.server()
    assert certificates.server() is before
    certificates.reload()
    assert certificates.server() is not before


@pytest.mark.parametrize("suffix", [".pem", ".key"])
@pytest.mark.parametrize("content", [None, "no PEM"])
def test_files_that_cannot_be_used_are_named_at_start(authority: Authority, suffix: str, content: str | None) -> None:
    files = authority.files("outpost")
    path = files.certificate_file.with_suffix(suffix)
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"dicom\.(certificate|key)_file: "):
        Certificates(files)


def test_a_key_of_another_certificate_one_with_a_passphrase_and_a_missing_authority_are_named(authority: Authority, tmp_path: Path) -> None:
    files = authority.files("outpost")
    _, other = authority.issue("other")
    with pytest.raises(ConfigError, match="KEY_VALUES_MISMATCH"):
        Certificates(dataclasses.replace(files, key_file=other))
    locked = tmp_path / "locked.key"
    command = [need("openssl", "openssl"), "pkey", "-in", files.key_file, "-aes256", "-passout", "pass:secret", "-out", locked]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(ConfigError, match="must have no passphrase"):
        Certificates(dataclasses.replace(files, key_file=locked))
    with pytest.raises(ConfigError, match="client_ca_file: is missing"):
        Certificates(dataclasses.replace(files, client_ca_file=None))
    with pytest.raises(ConfigError, match="holds no certificate"):
        Certificates(dataclasses.replace(files, client_ca_file=other))


@pytest.mark.parametrize(
    ("fields", "host", "says"),
    [
        ({}, HERE, None),
        ({}, "10.0.0.8", "IP address mismatch"),
        ({"tls_subject": "CN=outpost"}, "10.0.0.8", None),
        ({"tls_subject": "CN=other"}, HERE, "its row 'CN=other'"),
    ],
    ids=["the host that is called", "another host", "another host with the subject of the row", "another subject"],
)
def test_a_peer_that_is_called_is_recognized_by_its_host_or_by_the_subject_of_its_row(
    authority: Authority, fields: dict[str, str], host: str, says: str | None
) -> None:
    certificates = Certificates(authority.files("outpost", host=host))
    with box(certificates=certificates) as served:
        caller = requestor(authority.files("ct1"))
        if says is None:
            assert echo(served, caller, **fields) == 0
        else:
            with pytest.raises(NotSecured, match=says):
                echo(served, caller, **fields)


def test_a_peer_that_is_to_be_called_with_tls_is_never_called_without(authority: Authority) -> None:
    with secured(authority) as served:
        with pytest.raises(NotSecured, match="names no certificate_file"):
            echo(served, Requestor(PATIENT))
        alone = dataclasses.replace(authority.files("ct1"), client_ca_file=None, require_client_certificate=False)
        with pytest.raises(NotSecured, match="client_ca_file"):
            echo(served, requestor(alone))
        with pytest.raises((NotSecured, PeerGone)):
            caller = requestor(authority.files("ct1"))
            with caller.association(at(served.port), AETitle("TEST"), ECHO):
                pass


def test_instances_go_over_tls_byte_for_byte_both_ways(authority: Authority) -> None:
    held = same_study(CT, MR_JPEGLS)
    there = Certificates(authority.files("dest"))
    caller = requestor(authority.files("ct1"))
    with box(held, certificates=Certificates(authority.files("outpost"))) as served, box(certificates=there) as far:
        with caller.association(at(served.tls_port), AETitle("TEST"), storage_proposals(pairs(held), min(pairs(held)))) as association:
            assert [store(association, one) for one in held] == [0, 0]
        assert [data for _, data in served.intake.received] == [one.dataset for one in held]
        served.peers.peers["DEST"] = dataclasses.replace(at(far.tls_port), ae_title=AETitle("OUTPOST"))
        far.peers.peers["OUTPOST"] = Peer(AETitle("OUTPOST"), tls_subject="CN=outpost", rights=frozenset({"store"}))
        with associated(served, MOVE) as mover:
            *_, (final, _) = move(mover)
        assert (final.Status, counts(final)) == (0x0000, (2, 0, 0))
        assert [data for _, data in far.intake.received] == [one.dataset for one in held]


def test_a_move_goes_over_tls_from_a_box_that_listens_without(authority: Authority) -> None:
    held = same_study(CT)
    ours, there = Certificates(authority.files("outpost")), Certificates(authority.files("dest"))
    with box(held, calling=ours) as served, box(certificates=there) as far, associated(served, MOVE) as mover:
        assert served.server.tls_port is None
        served.peers.peers["DEST"] = dataclasses.replace(at(far.tls_port), ae_title=AETitle("OUTPOST"))
        far.peers.peers["OUTPOST"] = Peer(AETitle("OUTPOST"), tls_subject="CN=outpost", rights=frozenset({"store"}))
        *_, (final, _) = move(mover)
        assert (final.Status, counts(final)) == (0x0000, (1, 0, 0))
        assert [data for _, data in far.intake.received] == [held[0].dataset]


NAMES = [
    [(NameOID.COMMON_NAME, "ct1")],
    [(NameOID.COUNTRY_NAME, "CH"), (NameOID.STATE_OR_PROVINCE_NAME, "Valais"), (NameOID.LOCALITY_NAME, "Sion")],
    [(NameOID.ORGANIZATION_NAME, "Clinic, Ltd"), (NameOID.ORGANIZATIONAL_UNIT_NAME, "CT+MR"), (NameOID.COMMON_NAME, ' "x" <y>;\\ ')],
    [(NameOID.DOMAIN_COMPONENT, "clinic"), (NameOID.USER_ID, "#7"), (NameOID.COMMON_NAME, "Hôpital 山田")],
    [(NameOID.EMAIL_ADDRESS, "ct@clinic.example"), (NameOID.SERIAL_NUMBER, "12"), (NameOID.GIVEN_NAME, "A"), (NameOID.SURNAME, "B")],
]


@pytest.mark.parametrize("names", NAMES)
def test_a_subject_is_written_as_openssl_writes_it(authority: Authority, names: list) -> None:
    files = authority.files("ct1", names=names)
    command = [need("openssl", "openssl"), "x509", "-in", files.certificate_file, "-noout", "-subject", "-nameopt", "RFC2253"]
    expected = subprocess.run(command, check=True, capture_output=True, text=True).stdout.removeprefix("subject=").rstrip("\n")
    with secured(authority) as served:
        only_peer(served, tls_subject=expected)
        assert echo(served, requestor(files)) == 0


def test_nothing_of_tls_stays_behind(authority: Authority) -> None:
    with secured(authority) as served:
        caller = requestor(authority.files("ct1"))
        assert echo(served, caller) == 0
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            assert echo(served, caller) == 0
        until = time.monotonic() + 5
        while served.server.associations and time.monotonic() < until:
            threading.Event().wait(0.01)
        assert len(os.listdir("/proc/self/fd")) <= before
