"""Our certificate for DICOM over TLS: whether it can be used, and for how long."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

from edge.config import Dicom
from edge.dimse.tls import Certificates, Files
from edge.errors import ConfigError
from edge.finding import Finding

WARN_DAYS = 30.0
_CHECK = "dicom.certificate"
_EXPIRED, _NOT_YET = 10, 9
"""X509_V_ERR_* of OpenSSL."""
_RENEW = "Make a new one (docs/operations-dicom.md shows how) in the place of the files; Outpost sees by itself that they have changed."


def look(dicom: Dicom, now: float) -> Iterator[Finding]:
    """Nothing where no certificate is configured. `now` in seconds since the epoch; whether it has expired is seen by the clock of
    this machine.
    """
    if not dicom.certificate_file:
        return
    own = Path(dicom.certificate_file)
    authorities = Path(dicom.client_ca_file) if dicom.client_ca_file else None
    try:
        certificates = Certificates(Files(own, Path(dicom.key_file), authorities, dicom.require_client_certificate))
        ends_at = _ends_at(certificates.server(), own)
    except ConfigError as fault:
        yield Finding(_CHECK, "fault", f"{str(fault).partition('. ')[0]}.", str(fault).partition(". ")[2])
        return
    except ssl.SSLCertVerificationError as fault:
        why = {_EXPIRED: "has expired", _NOT_YET: "is not valid yet"}.get(fault.verify_code, f"is not accepted ({fault.verify_message})")
        yield Finding(_CHECK, "fault", f"The certificate for DICOM {why}: devices that look refuse us.", f"{_RENEW} Look at the clock too.")
        return
    except ssl.SSLError as fault:
        yield Finding(_CHECK, "unknown", f"Until when the certificate for DICOM is valid is not known ({fault.reason}).")
        return
    days = (ends_at - now) / 86_400
    near = days < WARN_DAYS
    sentence, figures = f"The certificate for DICOM is valid for {days:.0f} more days.", {"days": round(days, 2)}
    yield Finding(_CHECK, "warning" if near else "good", sentence, _RENEW if near else "", figures)


def _ends_at(server: ssl.SSLContext, own: Path) -> float:
    """The end of the certificate that `server` shows, by a handshake in memory with somebody who trusts it alone: so it is also proven
    that the key belongs to it. Raises SSLError.
    """
    server.verify_mode = ssl.CERT_NONE  # the other end has none
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    trusting.load_verify_locations(own)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server)
    shown = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):  # two round trips are enough for either version
        for end in (client, shown):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return float(ssl.cert_time_to_seconds(str((client.getpeercert() or {})["notAfter"])))
