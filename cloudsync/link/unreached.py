"""Why the archive was not reached, in words for people, with what to do."""

from __future__ import annotations

import os
import socket
import ssl

from edge.errors import OutpostError

PORTAL = "something else answers in the archive's place: sign in at the hotspot, or look at the proxy"
EXPIRED, NOT_YET, OTHER_NAME = 10, 9, {62, 64}
"""X509_V_ERR_* of OpenSSL."""
LASTS = "nothing to do, unless it lasts: then look at cable and modem"
_BY_NAME = {
    "ServerDisconnectedError": f"the archive hung up: {LASTS}",
    "ClientPayloadError": f"the archive hung up in the middle of an answer: {LASTS}",
    "ClientHttpProxyError": "the proxy does not let us through: look at HTTPS_PROXY of cloudsync.service, and at the proxy",
}
"""Of aiohttp, by name: it is not imported for that."""


def bottom(fault: BaseException) -> BaseException:
    """Of a chain of causes: what the system said."""
    while fault.__cause__ is not None and not isinstance(fault, OutpostError):
        fault = fault.__cause__
    return fault


def sentence(fault: BaseException) -> str:
    """Of the bottom of a chain of causes. Holds nothing that the other side may have made up, and no secret."""
    fault = bottom(fault)
    if isinstance(fault, ssl.SSLCertVerificationError):
        return _of_a_certificate(fault.verify_code)
    if isinstance(fault, ssl.SSLError):
        return "what answers in the archive's place does not speak TLS: sign in at the hotspot, or look at the proxy"
    if isinstance(fault, socket.gaierror):
        return "the name of the archive is not found: look at the link, then at the name server (`resolvectl status`)"
    if isinstance(fault, ConnectionResetError | BrokenPipeError):
        return f"the connection to the archive broke off: {LASTS}"
    if isinstance(fault, TimeoutError):  # the loop's, or the kernel's ETIMEDOUT
        return f"nothing comes from the archive: {LASTS}"
    if isinstance(fault, OSError) and fault.errno:
        return f"the archive is not reached ({os.strerror(fault.errno).lower()}): look at cable and modem, then at the firewall"
    return _BY_NAME.get(type(fault).__name__, f"the archive is not reached ({type(fault).__name__}): look at cable and modem")


def _of_a_certificate(code: int) -> str:
    if code == NOT_YET:
        return "the certificate of the archive is not valid yet by the clock of this box: set the clock"
    if code == EXPIRED:
        return "the certificate of the archive has expired by the clock of this box: look at the clock, then at who answers there"
    if code in OTHER_NAME:
        return "what answers in the archive's place shows the certificate of another name: sign in at the hotspot, or look at the proxy"
    return "the certificate of the archive is signed by nobody whom this box trusts: `outpost doctor` says what to do"
