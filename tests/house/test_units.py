"""The systemd units: they verify, are shut as far as promised (R13), and the two users see of each other what they should."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloudsync.ledger.database import Database
from edge.doorbell import Doorbell, ring
from edge.store.catalogue import Catalogue
from edge.store.site import SiteState
from edge.wall import Gate, Trespass
from edge.web import token

UNITS = Path(__file__).parents[2] / "systemd"
SERVICES = ("edge", "edge-web", "cloudsync")
EXPOSURE_AT_MOST = 1.5


def _need(tool: str) -> str:
    path = shutil.which(tool)
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{tool} is missing (Debian package systemd)")
    return path


def test_the_units_verify_clean(tmp_path: Path) -> None:
    # systemd-analyze wants the executables to be there; where they will be is checked by reading, below.
    for unit in (*UNITS.glob("*.service"), *UNITS.glob("*.target")):
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/outpost/.venv/bin/python", "/bin/true"))
    verify = [_need("systemd-analyze"), "verify", *sorted(map(str, tmp_path.iterdir()))]
    run = subprocess.run(verify, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout + run.stderr) == (0, "")


@pytest.mark.parametrize("service", SERVICES)
def test_the_exposure_of_each_unit_is_at_most_as_promised(service: str, capsys: pytest.CaptureFixture[str]) -> None:
    analyze = [_need("systemd-analyze"), "security", "--no-pager", "--offline=true", str(UNITS / f"{service}.service")]
    run = subprocess.run(analyze, capture_output=True, text=True, timeout=60)
    found = re.search(rf"exposure level for {service}\.service: ([\d.]+)", run.stdout)
    assert found, run.stdout + run.stderr
    with capsys.disabled():
        print(f" [{service}.service: exposure {found[1]}, promised {EXPOSURE_AT_MOST}]", end="")
    assert float(found[1]) <= EXPOSURE_AT_MOST, run.stdout


@pytest.mark.parametrize(("service", "module"), [("edge", "edge"), ("edge-web", "edge.web"), ("cloudsync", "cloudsync")])
def test_each_unit_starts_its_module_on_the_state_directory_and_reports_readiness(service: str, module: str) -> None:
    lines = (UNITS / f"{service}.service").read_text().splitlines()
    assert f"ExecStart=/opt/outpost/.venv/bin/python -m {module} --state /var/lib/outpost" in lines
    assert "Type=notify" in lines


def test_the_target_wants_each_service() -> None:
    wants = re.search(r"^Wants=(.*)$", (UNITS / "outpost.target").read_text(), re.MULTILINE)
    assert wants
    assert set(wants[1].split()) == {f"{service}.service" for service in SERVICES}


def test_the_extension_modules_run_where_memory_is_never_both_writable_and_executable() -> None:
    program = """
import ctypes, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN
    sys.exit(77)
import aiohttp, azure.storage.blob.aio, msgspec, numpy, pydicom, pynetdicom, sqlite3, ssl
import jpeg_ls, zstandard
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
image = (numpy.arange(4096, dtype=numpy.uint16) % 997).reshape(64, 64)
assert (jpeg_ls.decode(jpeg_ls.encode(image)) == image).all()
key = ec.generate_private_key(ec.SECP384R1())
assert len(key.exchange(ec.ECDH(), key.public_key())) == 48
assert AESGCM(bytes(32)).decrypt(bytes(12), AESGCM(bytes(32)).encrypt(bytes(12), b"x", None), None) == b"x"
assert zstandard.decompress(zstandard.compress(b"x" * 1000)) == b"x" * 1000
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    if run.returncode == 77:
        pytest.skip("this kernel is older than 6.3 and cannot forbid it to one process")
    assert run.returncode == 0, run.stderr


@dataclass(frozen=True, slots=True)
class User:
    uid: int
    gid: int
    groups: tuple[int, ...]

    def does(self, deed: Callable[[], object]) -> str:
        """Does the deed as this user in a child process, with the mask of the units; "done", or the name of the error that it met."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            outcome = "done"
            try:
                os.setgroups(self.groups)
                os.setresgid(self.gid, self.gid, self.gid)
                os.setresuid(self.uid, self.uid, self.uid)
                os.umask(0o027)
                deed()
            except (OSError, Trespass) as fault:
                outcome = type(fault).__name__
            finally:
                os.write(writer, outcome.encode())
                os._exit(0)
        os.close(writer)
        os.waitpid(child, 0)
        with os.fdopen(reader) as answer:
            return answer.read()


@dataclass(frozen=True, slots=True)
class Installed:
    edge_dir: Path
    cloudsync_dir: Path
    edge: User
    cloudsync: User


pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture
def installed() -> Iterator[Installed]:
    """What sysusers and tmpfiles make of an empty machine, below a directory that both users can reach."""
    sysusers, tmpfiles = _need("systemd-sysusers"), _need("systemd-tmpfiles")
    if os.geteuid() != 0:
        pytest.skip("only root can become two other users")
    root = Path(tempfile.mkdtemp(prefix="outpost-units-"))
    try:
        root.chmod(0o755)
        (root / "etc").mkdir(mode=0o755)
        (root / "var/lib").mkdir(mode=0o755, parents=True)
        subprocess.run([sysusers, f"--root={root}", str(UNITS / "outpost.sysusers.conf")], check=True, capture_output=True, timeout=60)
        subprocess.run([tmpfiles, f"--root={root}", "--create", str(UNITS / "outpost.tmpfiles.conf")], check=True, timeout=60)
        accounts = [line.split(":") for line in (root / "etc/passwd").read_text().splitlines()]
        common = next(int(line.split(":")[2]) for line in (root / "etc/group").read_text().splitlines() if line.startswith("outpost:"))
        users = {account[0]: User(int(account[2]), int(account[3]), (common,)) for account in accounts}
        state = root / "var/lib/outpost"
        yield Installed(state / "edge", state / "cloudsync", users["outpost-edge"], users["outpost-cloudsync"])
    finally:
        shutil.rmtree(root)


def test_each_side_reads_what_the_other_put_out_for_it_and_cannot_write_there(installed: Installed) -> None:
    for writer, reader, directories in (
        (installed.edge, installed.cloudsync, (installed.edge_dir / "outbox", installed.edge_dir / "asks")),
        (installed.cloudsync, installed.edge, (installed.cloudsync_dir / "inbox", installed.cloudsync_dir / "facts")),
    ):
        for directory in directories:

            def put(directory: Path = directory) -> None:
                (directory / "pack").mkdir(mode=0o750)
                (directory / "pack/000001").write_bytes(b"part")

            gate = Gate(directory, writer.uid)
            assert writer.does(put) == "done"
            assert reader.does(lambda gate=gate: gate.read("pack/000001", 100)) == "done"
            assert reader.does(lambda directory=directory: os.listdir(directory)) == "done"
            assert reader.does(lambda directory=directory: (directory / "planted").touch()) == "PermissionError"
            assert reader.does(lambda directory=directory: (directory / "pack/000001").unlink()) == "PermissionError"


def test_the_edge_reads_no_key_no_sealed_part_and_no_ledger(installed: Installed) -> None:
    directory = installed.cloudsync_dir
    secrets = ("keys/kek", "sealed/part")

    def work() -> None:
        for name in secrets:
            (directory / name).write_bytes(b"secret")
        asyncio.run(Database.open(directory / "ledger.db"))

    assert installed.cloudsync.does(work) == "done"
    for name in (*secrets, "ledger.db", "ledger.db-wal"):
        assert installed.edge.does(lambda name=name: (directory / name).read_bytes()) == "PermissionError", name
    assert installed.edge.does(lambda: os.listdir(directory)) == "PermissionError"


def test_cloudsync_reads_no_pack_no_head_no_quarantine_no_token_and_no_catalogue(installed: Installed) -> None:
    directory = installed.edge_dir
    secrets = ("cache/pack.tar", "heads/head", "quarantine/instance")
    kept: list[object] = []  # open until the child ends, so that the write-ahead logs are there

    def work() -> None:
        for name in secrets:
            (directory / name).write_bytes(b"secret")
        token.load(directory / "web.token")
        kept.extend((Catalogue(directory / "catalogue.db"), SiteState(directory / "site.db")))

    assert installed.edge.does(work) == "done"
    for name in (*secrets, "web.token", "catalogue.db", "catalogue.db-wal", "site.db", "site.db-wal"):
        assert installed.cloudsync.does(lambda name=name: (directory / name).read_bytes()) == "PermissionError", name
    assert installed.cloudsync.does(lambda: os.listdir(directory)) == "PermissionError"


def test_each_side_can_ring_at_the_other(installed: Installed) -> None:
    for owner, caller, directory in (
        (installed.edge, installed.cloudsync, installed.edge_dir),
        (installed.cloudsync, installed.edge, installed.cloudsync_dir),
    ):
        path = directory / "bell"
        assert owner.does(lambda path=path: Doorbell(path).close()) == "done"
        hung = path.stat()
        assert (hung.st_uid, stat.S_IMODE(hung.st_mode)) == (owner.uid, 0o660)

        def knock(path: Path = path) -> None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
                bell.connect(str(path))

        # The bell is closed by now, so who may ring is refused by nobody being there, who may not by permission.
        assert caller.does(knock) == "ConnectionRefusedError"
        assert caller.does(lambda path=path: ring(path)) == "done"
