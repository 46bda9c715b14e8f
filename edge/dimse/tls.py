"""TLS below DICOM (PS3.15 B.12 and B.13, BCP 195): TLS 1.2 or later, AEAD suites with ephemeral keys alone, and nothing below that.

Certificates are read again when their files change; what is wrong with them then leaves the ones that were in force in force.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.errors import ConfigError

_log = logging.getLogger(__name__)

SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2; all those of TLS 1.3 are AEAD suites with ephemeral keys."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where certificates lie, each in PEM; `[dicom]` of the configuration has a key of the same name for each."""

    certificate_file: Path
    """Ours, with the intermediate certificates behind it."""
    key_file: Path
    """Its private key, without a passphrase."""
    client_ca_file: Path | None = None
    """Those that sign for our peers, whoever of us calls the other."""
    require_client_certificate: bool = True


@dataclass(frozen=True, slots=True)
class _Contexts:
    server: ssl.SSLContext
    by_name: ssl.SSLContext | None
    by_subject: ssl.SSLContext | None


class Certificates:
    """The contexts of both directions as the files are now. Safe to use from several threads."""

    def __init__(self, files: Files) -> None:
        """Raises ConfigError that names the file that cannot be used."""
        self._files = files
        self._lock = threading.Lock()
        self._stamp = self._stamps()
        self._contexts = _load(files)

    def server(self) -> ssl.SSLContext:
        """To be called with. An association that is open goes on with the certificate that it began with."""
        return self._current().server

    def client(self, check_name: bool) -> ssl.SSLContext | None:
        """To call a peer with; `check_name` where its certificate has to be for the host that is called. None without a client_ca_file:
        nobody could be recognized.
        """
        contexts = self._current()
        return contexts.by_name if check_name else contexts.by_subject

    def reload(self) -> None:
        """Read the files now, changed or not."""
        with self._lock:
            self._stamp = ()
        self._current()

    def _current(self) -> _Contexts:
        with self._lock:
            stamp = self._stamps()
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._contexts = _load(self._files)
                    _log.info("certificates were read again")
                except ConfigError as fault:
                    _log.error("the certificates in force stay in force: %s", fault)
            return self._contexts

    def _stamps(self) -> tuple[tuple[int, int, int] | None, ...]:
        """What tells one state of the files from another."""
        return tuple(
            _stamp(path) for path in (self._files.certificate_file, self._files.key_file, self._files.client_ca_file) if path is not None
        )


def subject(connection: ssl.SSLSocket) -> str:
    """The subject of the verified certificate of the other side, as RFC 4514 writes it; empty where there is none.

    The same text as `openssl x509 -noout -subject -nameopt RFC2253` prints.
    """
    certificate: dict[str, Any] = connection.getpeercert() or {}
    names = reversed(certificate.get("subject", ()))
    return ",".join("+".join(f"{_SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in name) for name in names)


def sentence(fault: ssl.SSLError) -> str:
    """Why a handshake failed, without what the other side may have made up."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {fault.verify_message}"
    return (fault.reason or "the handshake failed").lower().replace("_", " ")


_SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "givenName": "GN",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "street",
    "surname": "SN",
    "userId": "UID",
}


def _escaped(value: str) -> str:
    """RFC 4514 section 2.4, with what is not ASCII as bytes of UTF-8 in hexadecimal."""
    pieces = []
    for place, character in enumerate(value):
        code = ord(character)
        edge = place in {0, len(value) - 1}
        if code < 32 or code > 126:
            pieces.append("".join(f"\\{byte:02X}" for byte in character.encode()))
        elif character in ',+"\\<>;' or (character == " " and edge) or (character == "#" and place == 0):
            pieces.append(f"\\{character}")
        else:
            pieces.append(character)
    return "".join(pieces)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _load(files: Files) -> _Contexts:
    if files.require_client_certificate and files.client_ca_file is None:
        cure = "Name the file with the certificates that sign for the peers, or set require_client_certificate = false."
        raise ConfigError("dicom.client_ca_file", "is missing, and client certificates are required", cure)
    server = _profiled(ssl.PROTOCOL_TLS_SERVER)
    _identify(server, files)
    server.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_TICKET
    server.num_tickets = 0
    if files.client_ca_file is None:
        return _Contexts(server, None, None)
    _trust(server, files.client_ca_file)
    server.verify_mode = ssl.CERT_REQUIRED if files.require_client_certificate else ssl.CERT_OPTIONAL
    clients = []
    for check_name in (True, False):
        client = _profiled(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = check_name
        _identify(client, files)
        _trust(client, files.client_ca_file)
        clients.append(client)
    return _Contexts(server, *clients)


def _profiled(side: int) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(SUITES)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context


def _identify(context: ssl.SSLContext, files: Files) -> None:
    for key, path in (("certificate_file", files.certificate_file), ("key_file", files.key_file)):
        _readable(key, path)
    try:
        # A passphrase that is given keeps OpenSSL from asking for one on the terminal.
        context.load_cert_chain(files.certificate_file, files.key_file, password="")
    except (ssl.SSLError, OSError) as fault:
        cure = "Both have to be PEM, belong together, and the key must have no passphrase."
        raise ConfigError("dicom.certificate_file", f"cannot be used with the key in {files.key_file} ({_why(fault)})", cure) from fault


def _trust(context: ssl.SSLContext, path: Path) -> None:
    _readable("client_ca_file", path)
    try:
        context.load_verify_locations(path)
    except (ssl.SSLError, OSError) as fault:
        raise ConfigError("dicom.client_ca_file", f"{path} holds no certificate ({_why(fault)})", "It has to be PEM.") from fault


def _readable(key: str, path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as fault:
        cure = "Put it there, readable by the user that edge runs as."
        raise ConfigError(f"dicom.{key}", f"{path} cannot be read ({fault.strerror})", cure) from fault


def _why(fault: OSError) -> str:
    return (fault.reason if isinstance(fault, ssl.SSLError) else fault.strerror) or "no reason given"
