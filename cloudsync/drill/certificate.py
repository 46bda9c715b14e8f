"""What a rehearsal leaves behind: a dated certificate for people (HTML) and programs (JSON), and on the box when it was."""

from __future__ import annotations

import html
from importlib import resources
from pathlib import Path
from string import Template
from typing import Literal

import msgspec

from edge.durable import write_whole
from edge.errors import ConfigError

Result = Literal["passed", "failed"]


class Certificate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rehearsal that came to its end. It names no person and no study."""

    at: str
    """UTC, when it began."""
    result: Result
    site: str
    archive: str
    kit: str
    """SubjectKeyIdentifier of the recovery key that opened everything, in hexadecimal."""
    trust_root: str
    """SHA-256 of the signing certificate that the kit names."""
    segments: int
    """Of the catalog: all of them, each verified."""
    proven_end: bool
    """Whether the number that the box showed last was given: nothing was removed from the catalog's end."""
    site_state: bool
    """Whether the site's decisions came back."""
    studies: int
    packs: int
    sample_percent: float
    sampled_packs: int
    sampled_instances: int
    """That were restored from the archive and are, bit for bit, what was received."""
    read_bytes: int
    answering_seconds: float
    """From the empty directory until every study could answer."""
    seconds: float
    """In all."""
    faults: list[str]


def write(directory: Path, certificate: Certificate) -> tuple[Path, Path]:
    """Both files, named by the date. Raises ConfigError when they cannot be written."""
    stem = f"outpost-drill-{certificate.at.replace(':', '').replace('-', '')}"
    page, data = directory / f"{stem}.html", directory / f"{stem}.json"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_whole(data, msgspec.json.format(msgspec.json.encode(certificate)) + b"\n", 0o644)
        write_whole(page, _page(certificate).encode(), 0o644)
    except OSError as fault:
        raise ConfigError("--out", f"{directory}: {fault.strerror}", "Name a directory that this user can write.") from fault
    return page, data


def record(path: Path, certificate: Certificate) -> None:
    """That it was, where `outpost status` finds it."""
    write_whole(path, msgspec.json.encode({"at": certificate.at, "result": certificate.result}) + b"\n", 0o644)


def _page(certificate: Certificate) -> str:
    fields = {name: html.escape(str(value)) for name, value in msgspec.structs.asdict(certificate).items()}
    fields |= {
        "result": certificate.result.upper(),
        "site_state": "came back" if certificate.site_state else "there is none in the archive",
        "end": "compared with the number that the box showed last" if certificate.proven_end else "a rollback cannot be excluded",
        "answering_seconds": f"{certificate.answering_seconds:.0f}",
        "seconds": f"{certificate.seconds:.0f}",
        "faults": "".join(f"<li>{html.escape(fault)}</li>" for fault in certificate.faults) or "<li>none</li>",
    }
    return Template(resources.files(__package__).joinpath("certificate.html").read_text("utf-8")).substitute(fields)
