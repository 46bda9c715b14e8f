"""dcmtk's tools and openssl against the TLS port, and dcmtk as a destination that is called with TLS."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest

from edge.audit import AssociationRefused
from edge.dimse.admission import Denial
from edge.dimse.tls import Certificates
from edge.model import AETitle, Peer
from tests.certificates import Authority
from tests.dimse.fakes import CT, EVERYTHING, FILES, HERE, MR, Box, box
from tests.dimse.test_retrieve import same_study
from tests.servers import free_port, listens, need, started, until

PROFILES = ["+py", "+px", "+pz"]
"""dcmtk's names for the profiles of BCP 195: non-downgrading, plain, extended."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
def make_box(authority: Authority) -> Iterator[Callable[..., Box]]:
    """A box on the TLS port, whose own calls use its certificate too; it knows TEST by its certificate."""
    made = []

    def make(required: bool = True) -> Box:
        context = box(same_study(CT, MR), certificates=Certificates(authority.files("outpost", required, as_rsa=True)))
        served = context.__enter__()
        made.append(context)
        served.peers.peers["TEST"] = Peer(AETitle("TEST"), rights=EVERYTHING, tls_subject="CN=test")
        return served

    yield make
    for context in made:
        context.__exit__(None, None, None)


def call(
    program: str, served: Box, authority: Authority, *arguments: object, name: str = "test", port: int = 0, **issued: object
) -> tuple[int, str]:
    """A tool of dcmtk with a certificate of this name; its exit code and what it says. Arguments that are paths are files to send."""
    certificate, key = authority.issue(name, as_rsa=True, **issued)  # type: ignore[arg-type]
    files = [str(argument) for argument in arguments if isinstance(argument, Path)]
    options = [str(argument) for argument in arguments if not isinstance(argument, Path)]
    command = [need(program, "dcmtk"), "-v", "-aet", "TEST", "-aec", "OUTPOST", "+tls", str(key), str(certificate)]
    command += ["+cf", str(authority.certificate), *options, HERE, str(port or served.tls_port), *files]
    finished = subprocess.run(command, capture_output=True, timeout=60)
    return finished.returncode, (finished.stdout + finished.stderr).decode(errors="replace")


@pytest.mark.parametrize("profile", PROFILES)
def test_echoscu_is_answered_in_every_profile(make_box: Callable[..., Box], authority: Authority, profile: str) -> None:
    code, said = call("echoscu", make_box(), authority, profile)
    assert (code, "Received Echo Response (Success)" in said) == (0, True), said


def test_a_study_is_stored_found_and_moved_with_tls(make_box: Callable[..., Box], authority: Authority, tmp_path: Path) -> None:
    served = make_box()
    code, said = call("storescu", served, authority, FILES / CT)
    assert (code, len(served.intake.received)) == (0, 1), said
    keys = ["-S", "-k", "0008,0052=STUDY", "-k", "0020,000D=1.2.3.4"]
    code, said = call("findscu", served, authority, *keys)
    assert (code, "Received Final Find Response (Success)" in said) == (0, True), said
    port = free_port()
    (tmp_path / "there").mkdir()
    certificate, key = authority.issue("dest", as_rsa=True)
    destination = [need("storescp", "dcmtk"), "-aet", "DEST", "-od", str(tmp_path / "there"), "+xa", "+tls", str(key), str(certificate)]
    with started([*destination, "+cf", str(authority.certificate), str(port)], tmp_path / "storescp.log"):
        until(lambda: listens(port), "storescp listens")
        served.peers.peers["DEST"] = Peer(AETitle("DEST"), host=HERE, port=port, tls=True, tls_subject="CN=dest")
        served.peers.peers["MOVER"] = Peer(AETitle("MOVER"), rights=EVERYTHING)
        # dcmtk's movescu speaks no TLS; the destination does.
        mover = [need("movescu", "dcmtk"), "-v", "-aet", "MOVER", "-aec", "OUTPOST", "-aem", "DEST", *keys, HERE, str(served.port)]
        finished = subprocess.run(mover, capture_output=True, timeout=60)
    assert b"Received Final Move Response (Success)" in finished.stdout + finished.stderr
    assert len(list((tmp_path / "there").iterdir())) == 2
    assert all(pydicom.dcmread(path).PixelData for path in (tmp_path / "there").iterdir())


def test_another_subject_and_an_expired_certificate_are_refused(make_box: Callable[..., Box], authority: Authority) -> None:
    served = make_box()
    code, said = call("echoscu", served, authority, name="other")
    assert (code, "Calling AE Title Not Recognized" in said) == (1, True), said
    code, said = call("echoscu", served, authority, days=-1)
    assert code != 0, said
    reasons = [event.reason for event in served.audit.events if isinstance(event, AssociationRefused)]
    assert reasons[0] == Denial.OTHER_SUBJECT.value
    assert "certificate has expired" in reasons[1]


def test_who_speaks_tls_to_the_plain_port_or_plain_to_the_tls_port_gets_nothing(make_box: Callable[..., Box], authority: Authority) -> None:
    served = make_box()
    assert call("echoscu", served, authority, port=served.port)[0] != 0
    plain = [need("echoscu", "dcmtk"), "-aet", "TEST", "-aec", "OUTPOST", HERE, str(served.tls_port)]
    assert subprocess.run(plain, capture_output=True, timeout=60).returncode != 0
    code, said = call("echoscu", served, authority)
    assert code == 0, said


def s_client(served: Box, authority: Authority, *options: str, certificate: bool = True) -> str:
    """What openssl s_client says of a handshake."""
    ours, key = authority.issue("test", as_rsa=True)
    command = [need("openssl", "openssl"), "s_client", "-connect", f"{HERE}:{served.tls_port}", "-CAfile", str(authority.certificate)]
    command += [*(["-cert", str(ours), "-key", str(key)] if certificate else []), *options]
    finished = subprocess.run(command, input=b"", capture_output=True, timeout=30)
    return (finished.stdout + finished.stderr).decode(errors="replace")


@pytest.mark.parametrize(
    ("options", "agreed"),
    [
        (["-tls1_3"], "TLS_AES_256_GCM_SHA384"),
        (["-tls1_2"], "ECDHE-RSA-AES256-GCM-SHA384"),
        (["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "ECDHE-RSA-AES128-GCM-SHA256"),
        (["-tls1_1", "-cipher", "ALL@SECLEVEL=0"], None),
        (["-tls1", "-cipher", "ALL@SECLEVEL=0"], None),
        (["-tls1_2", "-cipher", "AES256-GCM-SHA384"], None),
        (["-tls1_2", "-cipher", "ECDHE-RSA-AES256-SHA384"], None),
        (["-tls1_2", "-cipher", "aNULL@SECLEVEL=0"], None),
        (["-tls1_2", "-cipher", "NULL@SECLEVEL=0"], None),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_openssl_agrees_on_new_versions_and_aead_suites_alone(
    make_box: Callable[..., Box], authority: Authority, options: list[str], agreed: str | None
) -> None:
    said = s_client(make_box(), authority, *options)
    if agreed is None:
        assert "Cipher is (NONE)" in said, said
        assert "alert" in said, said
    else:
        assert f"Cipher is {agreed}" in said, said
        assert "Verify return code: 0 (ok)" in said, said
        assert "Compression: NONE" in said, said


def test_openssl_without_a_certificate_is_told_so(make_box: Callable[..., Box], authority: Authority) -> None:
    said = s_client(make_box(), authority, "-tls1_2", certificate=False)
    assert "alert handshake failure" in said or "certificate required" in said, said
