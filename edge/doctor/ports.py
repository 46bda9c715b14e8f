"""The ports: whether what the settings name is listened on, or could be."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edge.config import Config
from edge.finding import Finding

_SECONDS = 5.0
_EVERY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to call what listens on every address


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the settings, and what was met there."""

    setting: str
    host: str
    port: int
    listens: bool
    refusal: int = 0
    """errno of an attempt to listen there, made where nobody does and Outpost does not run; 0 where it could be."""


def measure(config: Config, running: bool) -> list[Port]:
    """Each port of the settings; those that the system chooses (0) are left out."""
    places = [("dicom.port", config.dicom.host, config.dicom.port), ("web.port", config.web.host, config.web.port)]
    if config.dicom.tls_port:
        places.insert(1, ("dicom.tls_port", config.dicom.host, config.dicom.tls_port))
    return [_meet(setting, host, port, running) for setting, host, port in places if port]


def _meet(setting: str, host: str, port: int, running: bool) -> Port:
    try:
        with socket.create_connection((_EVERY.get(host, host), port), timeout=_SECONDS):
            return Port(setting, host, port, True)
    except OSError:
        if running:
            return Port(setting, host, port, False)
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return Port(setting, host, port, False)
    except OSError as fault:
        return Port(setting, host, port, False, fault.errno or errno.EIO)


def look(ports: Sequence[Port], running: bool) -> Iterator[Finding]:
    """What follows from them; `running` says whether edge answers."""
    for one in ports:
        check = f"port.{one.setting}"
        place = f"Port {one.port} ({one.setting})"
        if running and one.listens:
            yield Finding(check, "good", f"{place} is listened on.")
        elif running:
            service = "edge-web.service" if one.setting == "web.port" else "edge.service"
            cure = f"Its log says why (`journalctl -u {service}`); start it again with `systemctl restart {service}`."
            yield Finding(check, "fault", f"Outpost runs, and nobody listens on port {one.port} ({one.setting}).", cure)
        elif one.listens or one.refusal == errno.EADDRINUSE:
            cure = f"`ss -ltnp` shows which; stop it, or choose another {one.setting}."
            yield Finding(check, "fault", f"{place} is taken by another program, and Outpost does not run.", cure)
        elif one.refusal:
            cure = f"Choose another {one.setting}, or correct the host beside it in outpost.toml; ports below 1024 need root."
            yield Finding(check, "fault", f"{place} on {one.host} cannot be listened on ({os.strerror(one.refusal)}).", cure)
        else:
            yield Finding(check, "good", f"{place} is free for Outpost.")
