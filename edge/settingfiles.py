"""The files by which a box runs, as they travel in the copy of its site state: outpost.toml, and certificates, keys and CAs of TLS.

They are laid beside a rebuilt box, and not put in force: they name paths, ports and users of the machine that was lost (record 12).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from edge.config import Config, Layout
from edge.durable import disk_errors, flush_directory, write_whole

log = logging.getLogger(__name__)

MOST_BYTES = 1 << 20
"""Of a file that travels."""


def gather(config: Config, layout: Layout) -> dict[str, bytes]:
    """Their contents as they are now, by name; what cannot be read, or is too large, is left out, and said."""
    dicom = config.dicom
    paths = {
        "outpost.toml": str(layout.config),
        "certificate_file": dicom.certificate_file,
        "key_file": dicom.key_file,
        "client_ca_file": dicom.client_ca_file,
        "audit_ca_file": config.audit.ca_file,
        "audit_certificate_file": config.audit.certificate_file,
        "audit_key_file": config.audit.key_file,
    }
    found = {}
    for name, path in paths.items():
        if not path:
            continue
        try:
            with Path(path).open("rb") as file:
                content = file.read(MOST_BYTES + 1)
        except OSError as fault:
            log.warning("%s is not in the copy of the site state: %s", name, fault.strerror)
            continue
        if len(content) > MOST_BYTES:
            log.warning("%s is not in the copy of the site state: it has more than %d bytes", name, MOST_BYTES)
            continue
        found[name] = content
    return found


def lay_out(lost: Mapping[str, bytes], ours: Mapping[str, bytes], layout: Layout) -> None:
    """Put those of the lost box that are not as ours into `edge/restored/`, for a person to look at. Idempotent. Raises StoreFull or
    StoreFailed.
    """
    others = {name: content for name, content in lost.items() if ours.get(name) != content}
    if not others:
        return
    with disk_errors():
        layout.restored.mkdir(mode=0o700, exist_ok=True)
        for name, content in others.items():
            write_whole(layout.restored / name, content, 0o600)
        flush_directory(layout.edge)
    log.warning("settings of the lost box lie in %s: compare outpost.toml, and name the TLS files in yours", layout.restored)
