"""The same PDUs and datasets over TLS: nothing of it may reach the socket in the clear."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from edge.clock import SystemClock
from edge.dimse.faults import PeerGone
from edge.dimse.outgoing import Outgoing, Stored
from edge.dimse.pdu import Kind, Wait, Wire
from tests.dimse.fakes import HERE, QUICK
from tests.servers import need


def contexts(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    names = ["-subj", "/CN=outpost", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", *names]
    subprocess.run([need("openssl", "openssl"), *made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=certificate)


def pair(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    """Both ends of a connection after the handshake: ours, and the far one."""
    with socket.create_server((HERE, 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    ours = server.wrap_socket(near, server_side=True, do_handshake_on_connect=False)
    shaking = threading.Thread(target=ours.do_handshake)
    shaking.start()
    theirs = client.wrap_socket(far, server_hostname=HERE)
    shaking.join()
    return ours, theirs


def test_an_interrupted_connection_is_still_tls_to_whoever_is_sending_on_it(tmp_path: Path) -> None:
    ours, theirs = pair(*contexts(tmp_path))
    wire = Wire(ours, QUICK, SystemClock())
    with theirs:
        wire.interrupt()
        assert ours.version() is not None
        with pytest.raises(PeerGone):
            wire.send(b"patient")
        wire.close()


def test_a_dataset_goes_over_tls_byte_for_byte(tmp_path: Path) -> None:
    server, client = contexts(tmp_path)
    data = os.urandom(1_300_000)
    (tmp_path / "pack").write_bytes(data)
    with socket.create_server((HERE, 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    descriptor = os.open(tmp_path / "pack", os.O_RDONLY)

    def send() -> None:
        wire = Wire(server.wrap_socket(near, server_side=True), QUICK, SystemClock())
        Outgoing(wire, 65_536).send_source(1, b"command", Stored(descriptor, 0, len(data)))
        wire.close()

    sender = threading.Thread(target=send)
    sender.start()
    wire = Wire(client.wrap_socket(far, server_hostname=HERE), QUICK, SystemClock())
    wire.open(65_536)
    received = bytearray()
    while len(received) < len(data) + len(b"command"):
        assert wire.wait(5) is Wait.BYTES
        kind, body = wire.receive()
        assert kind is Kind.P_DATA
        received += body[6:]
    sender.join()
    wire.close()
    os.close(descriptor)
    assert received == b"command" + data
