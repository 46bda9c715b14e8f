"""Settings: one TOML file, read once into frozen values. Unknown keys and wrong types are refused by name, with the cure."""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path

import msgspec

from edge.errors import ConfigError
from edge.model import parse_ae_title

HOURS = re.compile(
    r"(?:(?P<first>mon|tue|wed|thu|fri|sat|sun)(?:-(?P<last>mon|tue|wed|thu|fri|sat|sun))? )?"
    r"(?P<begin>(?:[01]\d|2[0-3]):[0-5]\d)-(?P<end>(?:[01]\d|2[0-3]):[0-5]\d|24:00)"
)
"""Hours of the week: "08:00-18:00", "mon-fri 08:00-18:00", "sat 22:00-06:00" (into the next day)."""
SLOWEST_CAP_BYTES_PER_SECOND = 1024
"""Below that, a part would take longer than archives wait for it."""


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Site(_Section, frozen=True):
    name: str = "Outpost"
    ae_title: str = "OUTPOST"
    stat_ae_title: str = "OUTPOST_STAT"


class Dicom(_Section, frozen=True):
    host: str = "0.0.0.0"  # noqa: S104 - modalities are on the LAN; the peer table denies by default
    port: int = 11112
    tls_port: int = 0
    """Where to listen with TLS too; 0 = nowhere. 2762 is the well-known one."""
    certificate_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""
    """The certificates that sign for the peers, whoever calls whom."""
    require_client_certificate: bool = True
    max_pdu_bytes: int = 131_072
    max_associations: int = 64
    max_associations_per_address: int = 16
    request_seconds: float = 10.0
    idle_seconds: float = 60.0
    pdu_seconds: float = 30.0


class Web(_Section, frozen=True):
    host: str = "127.0.0.1"
    port: int = 8042


class Cache(_Section, frozen=True):
    quiet_seconds: float = 60.0
    stat_quiet_seconds: float = 5.0
    pack_max_bytes: int = 256 << 20
    pack_max_members: int = 4096
    max_bytes: int = 200 << 30
    high_water_percent: int = 90
    low_water_percent: int = 80
    minimum_age_seconds: float = 86_400.0
    keep_days: dict[str, float] = {}
    """By modality: what was used within so many days stays."""
    scrub_days: float = 7.0
    reserve_bytes: int = 2 << 30
    ballast_bytes: int = 256 << 20
    outbox_max_bytes: int = 2 << 30
    quarantine_max_bytes: int = 10 << 30
    quarantine_peer_max_bytes: int = 5 << 30


ARCHIVE_KINDS = ("folder", "azure_blob", "s3", "gcs", "dicomweb")


class Archive(_Section, frozen=True):
    kind: str = "folder"
    path: str = ""
    """folder: the directory that holds the archive (a second disk, a NAS, a USB drive)."""
    container: str = "outpost"
    """azure_blob: the container's name; s3, gcs: the bucket's."""
    region: str = "us-east-1"
    """s3: the region of the bucket."""
    endpoint: str = ""
    """s3, gcs: the address of the service; empty for Amazon's and Google's own."""
    credential_file: str = ""
    """A file, readable by cloudsync alone: for azure_blob a connection string or a container SAS address, for s3 an access key, for gcs
    the key of a service account, for dicomweb what the archive knows us by.
    """
    ca_file: str = ""
    """A PEM file of authorities that are trusted besides those of the system: of a proxy that opens TLS, of a server of one's own."""
    url: str = ""
    """dicomweb: the address of the DICOMweb service."""
    plaintext_archive: bool = False
    """dicomweb: such an archive reads the images, so they go there unencrypted, and only where a person has said that this is wanted."""
    request_max_bytes: int = 64 << 20
    request_max_seconds: float = 1800.0
    """dicomweb: after so long the archive ends a request to store."""
    held_read_percent: float = 1.0
    """dicomweb: so many of the instances are read again and compared before their pack counts as held."""
    segment_seconds: float = 600.0
    verify_days: float = 1.0
    """Between two comparisons of the archive with the ledger that begin by themselves; 0 = none do."""
    verify_read_percent: float = 0.1
    verify_bytes_per_second: float = 16_384.0
    follow_seconds: float = 60.0
    """Between two looks at the catalog of a site that is followed."""


class Link(_Section, frozen=True):
    parallel_parts: int = 4
    part_bytes: int = 1 << 20
    """At most; how large parts are made is measured (edge.link)."""
    cap_bytes_per_second: float = 0.0
    """What Outpost may take of the line, each way; 0 = all of it."""
    schedule: dict[str, int] = {}
    """By hours of the clinic's clock, as HOURS has them: so many percent of the cap. Where several fit, the least."""
    monthly_budget_bytes: int = 0
    """What may go over the link in a month, up and down together; 0 = as much as there is."""
    budget_first_day: int = 1
    """Of the month, 1 to 28: the day on which the provider begins to count anew."""
    budget_stat_percent: int = 10
    """Of the budget, kept for STAT studies and for what somebody asks to have back."""
    poll_seconds: float = 2.0
    silence_seconds: float = 60.0
    """A connection to the archive on which nothing moves for so long is given up, and the part sent by another."""
    backoff_max_seconds: float = 300.0
    refused_tries: int = 5
    """So often a study is tried of which the archive refuses a part; then it waits for a person, and never the others."""
    offline_after_seconds: float = 900.0


class Wall(_Section, frozen=True):
    edge_user: str = ""
    """The Unix user that must own what edge writes; empty where everything runs as one user (there is no wall then)."""
    cloudsync_user: str = ""


class Audit(_Section, frozen=True):
    collector_host: str = ""
    """Where the audit trail is sent to (syslog over TLS); empty = nowhere."""
    collector_port: int = 6514
    ca_file: str = ""
    """The certificates that sign for the collector; empty = those that the system trusts."""
    certificate_file: str = ""
    key_file: str = ""


class Config(_Section, frozen=True):
    site: Site = Site()
    dicom: Dicom = Dicom()
    web: Web = Web()
    cache: Cache = Cache()
    archive: Archive = Archive()
    link: Link = Link()
    wall: Wall = Wall()
    audit: Audit = Audit()


class Layout:
    """Where things lie in a state directory. What `edge/` holds only edge writes, what `cloudsync/` holds only cloudsync."""

    def __init__(self, state: Path) -> None:
        self.state = state.resolve()
        self.config = self.state / "outpost.toml"
        self.edge = self.state / "edge"
        self.cache = self.edge / "cache"
        self.open_packs = self.cache / "open"
        self.heads = self.edge / "heads"
        self.quarantine = self.edge / "quarantine"
        self.outbox = self.edge / "outbox"
        self.asks = self.edge / "asks"
        self.unread = self.edge / "unread"
        self.audit = self.edge / "audit"
        self.audit_sent = self.edge / "audit.sent"
        self.edge_bell = self.edge / "bell"
        self.control = self.edge / "control"
        self.catalogue = self.edge / "catalogue.db"
        self.site = self.edge / "site.db"
        self.restored = self.edge / "restored"
        self.edge_lock = self.edge / "lock"
        self.ballast = self.edge / "ballast"
        self.room = self.edge / "room.json"
        self.stopped = self.edge / "stopped"
        """There while edge does not run and has ended in order."""
        self.web_token = self.edge / "web.token"
        self.drilled = self.state / "drilled.json"
        """`outpost drill` writes it, as whoever runs that."""
        self.cloudsync = self.state / "cloudsync"
        self.inbox = self.cloudsync / "inbox"
        self.facts = self.cloudsync / "facts"
        self.unread_asks = self.cloudsync / "unread"
        self.sealed = self.cloudsync / "sealed"
        self.keys = self.cloudsync / "keys"
        self.followed = self.cloudsync / "followed"
        self.archive_mark = self.cloudsync / "archive.mark"
        self.kit_tested = self.cloudsync / "kit-tested.json"
        self.cloudsync_bell = self.cloudsync / "bell"
        self.ledger = self.cloudsync / "ledger.db"
        self.cloudsync_lock = self.cloudsync / "lock"

    def cached(self, pack: str) -> Path:
        """The cache file of a closed pack."""
        return self.cache / pack[:2] / f"{pack}.tar"

    def head(self, pack: str) -> Path:
        """The head of a pack, kept after eviction."""
        return self.heads / pack[:2] / f"{pack}.tar.zst"


def load(path: Path) -> Config:
    """The settings in `path`. Raises ConfigError that names the key and the cure; nothing is guessed."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as fault:
        raise ConfigError(
            str(path), "there is no such file", "Run `outpost setup` first, or name the state directory with --state."
        ) from fault
    except OSError as fault:
        raise ConfigError(str(path), f"cannot be read ({fault.strerror})", "Give this user the right to read it.") from fault
    try:
        return parse(content.decode("utf-8"), str(path))
    except UnicodeDecodeError as fault:
        raise ConfigError(str(path), f"is not UTF-8 text (byte {fault.start})", "Save it as UTF-8.") from fault


def parse(text: str, name: str = "outpost.toml") -> Config:
    """The settings in a TOML text; errors as `load`."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise ConfigError(name, f"is not TOML ({fault})", "Mend the line it names.") from fault
    try:
        config = msgspec.convert(table, Config)
    except msgspec.ValidationError as fault:
        raise _named(str(fault), name) from fault
    _check(config)
    return config


def _named(fault: str, name: str) -> ConfigError:
    """msgspec says where; an operator wants the key: "Object contains unknown field `x` - at `$.site`" is about site.x."""
    message, _, place = fault.partition(" - at `$")
    key = place.rstrip("`").lstrip(".")
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", message)
    if unknown:
        key, message = f"{key}.{unknown[1]}".lstrip("."), "there is no such setting"
    return ConfigError(key, message[:1].lower() + message[1:], f"Compare with the sample configuration and correct {name}.")


_MAY_BE_ZERO = frozenset(
    {
        "port",
        "tls_port",
        "require_client_certificate",
        "quiet_seconds",
        "stat_quiet_seconds",
        "minimum_age_seconds",
        "reserve_bytes",
        "ballast_bytes",
        "quarantine_max_bytes",
        "quarantine_peer_max_bytes",
        "segment_seconds",
        "verify_days",
        "verify_read_percent",
        "held_read_percent",
        "plaintext_archive",
        "cap_bytes_per_second",
        "monthly_budget_bytes",
        "budget_stat_percent",
    }
    | {"offline_after_seconds", "backoff_max_seconds"}
)


def _check(config: Config) -> None:
    for key, title in (("site.ae_title", config.site.ae_title), ("site.stat_ae_title", config.site.stat_ae_title)):
        if parse_ae_title(title) != title:
            raise ConfigError(key, f"{title!r} is no AE title", "Use 1 to 16 characters without backslash, and no space at either end.")
    if config.site.ae_title == config.site.stat_ae_title:
        raise ConfigError("site.stat_ae_title", "is the same as site.ae_title", "Give the urgent destination a name of its own.")
    for key, port in (
        ("dicom.port", config.dicom.port),
        ("dicom.tls_port", config.dicom.tls_port),
        ("web.port", config.web.port),
        ("audit.collector_port", config.audit.collector_port),
    ):
        if not 0 <= port <= 65_535:
            raise ConfigError(key, f"{port} is no port", "Use a number from 1 to 65535 (0 lets the system choose one).")
    _check_tls(config.dicom)
    _check_pair("audit", config.audit.certificate_file, config.audit.key_file)
    _check_archive(config.archive)
    if not 128 << 10 <= config.link.part_bytes <= 1 << 20:
        raise ConfigError("link.part_bytes", f"{config.link.part_bytes} is out of range", "Use 131072 to 1048576.")
    _check_rate(config.link)
    if not 0 < config.cache.low_water_percent < config.cache.high_water_percent <= 100:
        raise ConfigError("cache.low_water_percent", "must lie below cache.high_water_percent", "Use for example 80 and 90.")
    if not 4096 <= config.dicom.max_pdu_bytes <= 1 << 20:
        raise ConfigError("dicom.max_pdu_bytes", f"{config.dicom.max_pdu_bytes} is out of range", "Use 4096 to 1048576.")
    for modality, days in config.cache.keep_days.items():
        if not 0 <= days < math.inf:
            raise ConfigError(f"cache.keep_days.{modality}", f"{days} is out of range", "Use zero or more.")
        if not re.fullmatch(r"[A-Z0-9_ ]{1,16}", modality):
            raise ConfigError(f"cache.keep_days.{modality}", "is no modality", "Write it as the images do, for example MG or CT.")
    for section in ("dicom", "cache", "archive", "link"):
        for name, value in msgspec.structs.asdict(getattr(config, section)).items():
            if isinstance(value, str | dict):
                continue
            if not (value > 0 or (value == 0 and name in _MAY_BE_ZERO)) or value == math.inf:
                cure = "Use zero or more." if name in _MAY_BE_ZERO else "Use more than zero."
                raise ConfigError(f"{section}.{name}", f"{value} is out of range", cure)


def _check_pair(section: str, certificate_file: str, key_file: str) -> None:
    if bool(certificate_file) != bool(key_file):
        missing = "key_file" if certificate_file else "certificate_file"
        raise ConfigError(f"{section}.{missing}", "is missing, and the other one is there", "Use both, or neither.")


def _check_archive(archive: Archive) -> None:
    if archive.kind not in ARCHIVE_KINDS:
        cure = f"Use one of {', '.join(ARCHIVE_KINDS)}."
        raise ConfigError("archive.kind", f"{archive.kind!r} is not known", cure)
    for name in ("verify_read_percent", "held_read_percent"):
        percent = getattr(archive, name)
        if percent > 100:
            raise ConfigError(f"archive.{name}", f"{percent} is out of range", "Use 0 to 100.")
    if archive.kind == "dicomweb" and not archive.plaintext_archive:
        raise ConfigError(
            "archive.plaintext_archive",
            "is not true, and an archive that speaks DICOMweb can only take images that are not encrypted",
            "Use plaintext_archive = true once whoever answers for the patients' data agrees, or use another kind of archive.",
        )
    if archive.plaintext_archive and archive.kind != "dicomweb":
        raise ConfigError("archive.plaintext_archive", f"is true, and what goes to a {archive.kind} archive is always sealed", "Use false.")


def _check_tls(dicom: Dicom) -> None:
    _check_pair("dicom", dicom.certificate_file, dicom.key_file)
    if not dicom.tls_port:
        return
    if not dicom.certificate_file:
        raise ConfigError("dicom.certificate_file", "is missing, and tls_port is set", "Use a certificate and its key, or tls_port = 0.")
    if dicom.tls_port == dicom.port:
        raise ConfigError("dicom.tls_port", "is the same as dicom.port", "Use another one, for example 2762.")


def _check_rate(link: Link) -> None:
    if link.budget_stat_percent > 100:
        raise ConfigError("link.budget_stat_percent", f"{link.budget_stat_percent} is out of range", "Use 0 to 100.")
    if link.budget_first_day > 28:
        raise ConfigError("link.budget_first_day", f"{link.budget_first_day} is not in every month", "Use 1 to 28.")
    if link.schedule and not link.cap_bytes_per_second:
        raise ConfigError("link.schedule", "is there without a cap", "Set link.cap_bytes_per_second to what the line carries.")
    for hours, percent in link.schedule.items():
        key, found = f"link.schedule.{hours}", HOURS.fullmatch(hours)
        if not found or found["begin"] == found["end"]:
            raise ConfigError(key, "names no hours", 'Write them like "08:00-18:00" or "mon-fri 08:00-18:00".')
        if not 1 <= percent <= 100:
            raise ConfigError(key, f"{percent} is out of range", "Use 1 to 100: so many percent of link.cap_bytes_per_second.")
    slowest = link.cap_bytes_per_second * min([100, *link.schedule.values()]) / 100
    if 0 < slowest < SLOWEST_CAP_BYTES_PER_SECOND:
        cure = f"Leave Outpost {SLOWEST_CAP_BYTES_PER_SECOND} bytes a second or more at all times."
        raise ConfigError("link.cap_bytes_per_second", f"leaves Outpost {slowest:.0f} bytes a second", cure)
