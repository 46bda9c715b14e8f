"""Azurite, Microsoft's emulator of Azure Blob Storage, as a peer of the tests: installed from its lock file, started on a free port."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.blob import ContainerClient, generate_container_sas

from tests.npm_packages import installed

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The well-known account of the emulator, printed in its documentation; it opens nothing else."""

_START_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Azurite:
    port: int
    location: Path

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    @property
    def connection_string(self) -> str:
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={self.address};"

    def make_container(self, name: str) -> None:
        with ContainerClient.from_connection_string(self.connection_string, name) as container:
            container.create_container()

    def sas_address(self, container: str, permission: str, hours: float = 1) -> str:
        """The container's address with a SAS; `permission` as in "crl" for create, read, list. Negative hours: expired."""
        until = datetime.now(UTC) + timedelta(hours=hours)
        sas = generate_container_sas(
            ACCOUNT, container, KEY, permission=permission, start=datetime.now(UTC) - timedelta(days=1), expiry=until
        )
        return f"{self.address}/{container}?{sas}"

    def names(self, container: str) -> list[str]:
        """Of every object of a container."""
        with ContainerClient.from_connection_string(self.connection_string, container) as owner:
            return list(owner.list_blob_names())

    def contents(self, container: str) -> dict[str, bytes]:
        """Every object of a container, byte for byte, as its owner sees it."""
        with ContainerClient.from_connection_string(self.connection_string, container) as owner:
            return {found.name: owner.download_blob(found.name).readall() for found in owner.list_blobs()}

    def credential(self, directory: Path, text: str) -> Path:
        """A credential file as cloudsync wants it."""
        path = directory / "credential"
        path.write_text(text)
        path.chmod(0o600)
        return path


@contextlib.contextmanager
def running(location: Path) -> Iterator[Azurite]:
    """Azurite on a free port until the block ends. Skips the test when it cannot be had, and fails it where CI is set."""
    program = str(installed(".bin/azurite-blob"))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = ["--silent", "--skipApiVersionCheck", "--disableTelemetry", "--blobHost", "127.0.0.1"]
    process = subprocess.Popen(
        [program, *options, "--location", str(location), "--blobPort", str(port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await_listening(process, port)
        yield Azurite(port, location)
    finally:
        process.terminate()
        process.wait(timeout=10)


def _await_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    pytest.fail(f"azurite did not listen on port {port} within {_START_SECONDS} s")
