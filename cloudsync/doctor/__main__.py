"""`python -m cloudsync.doctor --state DIR`, started by `outpost doctor` as cloudsync's user: findings, one JSON object a line."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Protocol, cast, runtime_checkable
from urllib.parse import SplitResult

from cloudsync.archive.line import authorities
from cloudsync.archive.opening import open_archive
from cloudsync.archive.port import Archive
from cloudsync.doctor import canary, credential, firewall, instances, kit, network
from cloudsync.link.meeting import meet, proxy_for
from cloudsync.seal import keys, tested
from edge.clock import Clock, SystemClock
from edge.config import Archive as Settings
from edge.config import Config, Layout, load
from edge.errors import ConfigError, OutpostError
from edge.finding import Finding, Said, encode


@runtime_checkable
class _OnTheNetwork(Protocol):
    def endpoint(self) -> SplitResult: ...


_PORTS = {"https": 443, "http": 80}


async def look(config: Config, layout: Layout, clock: Clock, through_firewall: bool = False) -> AsyncIterator[Said]:
    """Each finding as soon as it is made; or, of the firewall, what it has to let through."""
    if config.archive.kind == "dicomweb":
        place = _place(instances.endpoint(config.archive))
        if through_firewall:
            for opening in firewall.openings(*place[:2], proxy_for(place[0], place[2])):
                yield opening
            return
        async for finding in instances.look(config.archive, place, clock):
            yield finding
        return
    archive = open_archive(config.archive, known=layout.archive_mark)
    try:
        async for said in _openings(archive) if through_firewall else _findings(archive, config, layout, clock):
            yield said
    finally:
        await archive.close()


async def _openings(archive: Archive) -> AsyncIterator[Said]:
    endpoint = _endpoint(archive)
    if endpoint is not None:
        host, port, tls = _place(endpoint)
        for opening in firewall.openings(host, port, proxy_for(host, tls)):
            yield opening


async def _findings(archive: Archive, config: Config, layout: Layout, clock: Clock) -> AsyncIterator[Said]:
    try:
        own = keys.load(layout.keys)
    except (OSError, OutpostError) as fault:
        cure = "Use sudo. If this is root, the disk of the state directory or its owner is wrong: look at `ls -l`."
        yield Finding("kit.keys", "fault", f"The keys of this box cannot be read ({getattr(fault, 'strerror', None) or fault}).", cure)
        return
    yield kit.look(tested.last(layout.kit_tested, own), clock.now())
    try:
        endpoint = _endpoint(archive)
    except ConfigError as fault:
        yield Finding("credential.file", "fault", f"{str(fault).rstrip('.')}.", "Then run `outpost doctor` again.")
        return
    if endpoint is not None:
        for finding in _of_credential(config.archive, clock):
            yield finding
        met = await asyncio.to_thread(meet, *_place(endpoint), clock, authorities(config.archive.ca_file))
        for finding in network.look(met):
            yield finding
    for finding in await canary.look(cast(canary.Probed, archive), own.site_id, config.archive.kind):
        yield finding


def _endpoint(archive: Archive) -> SplitResult | None:
    """The address of an archive on the network; None of one on a disk."""
    return archive.endpoint() if isinstance(archive, _OnTheNetwork) else None


def _of_credential(settings: Settings, clock: Clock) -> Iterable[Finding]:
    """What the credential says of itself. Raises ConfigError when there is none in its file."""
    from cloudsync.archive import azure_blob, s3_credential  # noqa: PLC0415 - only the configured kind is imported

    place = Path(settings.credential_file)
    if settings.kind == "azure_blob":
        return credential.look(credential.read(azure_blob.read_credential(place)), clock.now())
    if settings.kind == "s3":
        return credential.of_access_key(s3_credential.read(place))
    return ()


def _place(endpoint: SplitResult) -> tuple[str, int, bool]:
    return endpoint.hostname or "", endpoint.port or _PORTS[endpoint.scheme], endpoint.scheme == "https"


async def _print(config: Config, layout: Layout, through_firewall: bool) -> None:
    async for said in look(config, layout, SystemClock(), through_firewall):
        sys.stdout.write(encode(said).decode() + "\n")
        sys.stdout.flush()


def main() -> int:
    """The exit code is that of the error that kept it from looking; findings have none."""
    parser = argparse.ArgumentParser(prog="python -m cloudsync.doctor")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--firewall", action="store_true")
    arguments = parser.parse_args()
    layout = Layout(arguments.state)
    try:
        asyncio.run(_print(load(layout.config), layout, arguments.firewall))
    except OutpostError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
