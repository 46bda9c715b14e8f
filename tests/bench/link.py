"""What of a weak link is used: parts to Azurite over TLS through an emulated link, beside one plain TCP stream through the same.

Needs root, for two network namespaces with the link between them.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cloudsync.archive.azure_blob import AzureBlob
from cloudsync.archive.port import md5_of
from edge.config import Link as Settings
from tests import azurite
from tests.bench.table import Row
from tests.certificates import Authority
from tests.npm_packages import installed
from tests.rig.emulated_link import FAR, Ends, Link, linked
from tests.servers import started

LINKS = (
    (Link(512_000, 0.6, 0.05), 2 << 20, "tcp", 0.95),
    (Link(10_000_000, 0.3), 20 << 20, "line", 0.9),
    (Link(20_000_000, 0.3, 0.01), 8 << 20, "tcp", 3.0),
)
"""With the bytes that are sent, and what is promised: a ratio to one plain TCP stream, or to what the line carries."""
_PART_BYTES = {512_000: 128 << 10}
"""About ten seconds of the link, at most what a part may have."""
_CONTAINER = "link"
_TCP_SHARE = 1448 / 1500


def rows(runs: int) -> Iterator[Row]:
    if os.getuid() != 0:
        print("link: left out, because network namespaces need root", file=sys.stderr)
        return
    congestion_control = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()  # of this machine, for both sides
    for link, size, beside, promised in LINKS:
        with tempfile.TemporaryDirectory() as scratch, linked(link) as ends:
            rates = [(_ours(ends, Path(scratch), link, size), _tcp(ends, size)) for _ in range(runs)]
        ours, plain = (statistics.median(each) for each in zip(*rates, strict=True))
        line = link.bits_per_second / 8e6 * _TCP_SHARE
        name = f"parts at {link}"
        yield Row(
            name, ours, plain, f"one plain TCP stream ({congestion_control})", "MB/s", ours / plain, promised if beside == "tcp" else 0
        )
        yield Row(name, ours, line, "what the line carries", "MB/s", ours / line, promised if beside == "line" else 0)


def _ours(ends: Ends, scratch: Path, link: Link, size: int) -> float:
    """MB/s that were confirmed, from the first connection on."""
    authority = Authority(scratch / "tls")
    certificate, key = authority.issue("archive", host=FAR)
    port, place = 10_000, scratch / f"azurite{time.monotonic_ns()}"
    there = azurite.Azurite(port, scratch)
    options = ["--silent", "--skipApiVersionCheck", "--disableTelemetry", "--blobHost", FAR, "--blobPort", str(port)]
    command = [str(installed(".bin/azurite-blob")), *options, "--location", str(place), "--cert", str(certificate), "--key", str(key)]
    text = there.connection_string.replace("127.0.0.1", FAR).replace("http", "https")
    credential = there.credential(scratch, text)
    with started(ends.inside(ends.far, command), scratch / "azurite.log"):
        part = _PART_BYTES.get(int(link.bits_per_second), 1 << 20)
        shipping = [sys.executable, "-m", "tests.bench.link", str(credential), str(authority.certificate), str(size), str(part)]
        shown = subprocess.run(ends.inside(ends.near, shipping), capture_output=True, text=True, check=True)
    return size / 1e6 / float(shown.stdout)


def _tcp(ends: Ends, size: int) -> float:
    """MB/s of a stream, from its connection until the other side has said that all of it is there."""
    sink = f"""
import socket
with socket.create_server(("{FAR}", 10001)) as server:
    print("ready", flush=True)
    line, _ = server.accept()
    left = {size}
    while left:
        left -= len(line.recv(65536))
    line.sendall(b"1")
"""
    source = f"""
import socket, time
begin = time.monotonic()
with socket.create_connection(("{FAR}", 10001)) as line:
    line.sendall(bytes({size}))
    line.recv(1)
print(time.monotonic() - begin)
"""
    with subprocess.Popen(ends.inside(ends.far, [sys.executable, "-c", sink]), stdout=subprocess.PIPE, text=True) as there:
        assert there.stdout is not None
        there.stdout.readline()
        shown = subprocess.run(ends.inside(ends.near, [sys.executable, "-c", source]), capture_output=True, text=True, check=True)
    return size / 1e6 / float(shown.stdout)


async def _ship(credential: Path, trusted: Path, size: int, part: int) -> float:
    """Seconds until parts of random bytes are confirmed, as many at once as the settings allow."""
    archive = AzureBlob(_CONTAINER, credential, trust=ssl.create_default_context(cafile=str(trusted)))
    parts = [os.urandom(part) for _ in range(size // part)]
    await _container(archive, credential, trusted)
    names = iter(range(len(parts)))
    begin = time.monotonic()

    async def lane() -> None:
        for number in names:
            await archive.put(f"site/p/{number:06d}", parts[number], md5_of(parts[number]))

    await asyncio.gather(*(lane() for _ in range(Settings().parallel_parts)))
    elapsed = time.monotonic() - begin
    await archive.close()
    return elapsed


async def _container(archive: AzureBlob, credential: Path, trusted: Path) -> None:
    """Wait until the archive listens, and make the container."""
    from azure.core.exceptions import ResourceExistsError, ServiceRequestError  # noqa: PLC0415
    from azure.storage.blob.aio import ContainerClient  # noqa: PLC0415

    while True:
        try:
            async with ContainerClient.from_connection_string(
                credential.read_text(), _CONTAINER, connection_verify=str(trusted), retry_total=0
            ) as owner:
                await owner.create_container()
        except ResourceExistsError:
            return
        except ServiceRequestError:
            await asyncio.sleep(0.2)
        else:
            return


if __name__ == "__main__":
    print(asyncio.run(_ship(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
