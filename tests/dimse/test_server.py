"""Caps, fairness and the orderly end of the listener."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from edge.dimse.associate import write_request
from edge.dimse.command import encode
from tests.dimse.fakes import HERE, PATIENT, QUICK, Box, box
from tests.dimse.test_hostile import ECHO, REQUEST, STORE_COMMAND, assert_serves, established, pdata, pdu, value
from tests.limits import beyond_select, no_descriptors
from tests.servers import until


def wait_until_idle(served: Box) -> None:
    until = time.monotonic() + 10
    while served.server.associations and time.monotonic() < until:
        threading.Event().wait(0.01)
    assert served.server.associations == 0


def wait_until_open(served: Box, count: int) -> None:
    until = time.monotonic() + 10
    while served.server.associations < count and time.monotonic() < until:
        threading.Event().wait(0.01)
    assert served.server.associations == count


def wait_until_receiving(served: Box) -> None:
    until = time.monotonic() + 10
    while not served.intake.fragments and time.monotonic() < until:
        threading.Event().wait(0.01)
    assert served.intake.fragments


def test_more_than_the_cap_of_one_address_are_rejected_as_transient() -> None:
    with box(deadlines=PATIENT, total=5, each=2) as served:
        held = [established(served) for _ in range(2)]
        with served.connect() as third:
            kind, body = pdu(third)
            assert (kind, *body[1:4]) == (3, 2, 3, 2)
        with socket.create_connection((HERE, served.port), 5, source_address=("127.0.0.2", 0)) as elsewhere:
            elsewhere.settimeout(0.3)
            with contextlib.suppress(TimeoutError):
                assert pdu(elsewhere)[0] != 3
        for peer in held:
            peer.close()
        wait_until_idle(served)
        assert_serves(served)


def test_more_than_the_total_cap_are_rejected_as_transient() -> None:
    with box(deadlines=PATIENT, total=2, each=2) as served:
        held = [established(served) for _ in range(2)]
        with socket.create_connection((HERE, served.port), 5, source_address=("127.0.0.2", 0)) as third:
            kind, body = pdu(third)
            assert (kind, *body[1:4]) == (3, 2, 3, 1)
        for peer in held:
            peer.close()


def test_silent_peers_of_one_address_keep_nobody_else_out() -> None:
    with box(deadlines=QUICK, total=10, each=6) as served:
        silent = [served.connect() for _ in range(30)]
        for peer in silent:
            try:
                peer.sendall(b"\1\0\0")
            except OSError:
                continue
        began = time.monotonic()
        with socket.create_connection((HERE, served.port), 5, source_address=("127.0.0.3", 0)) as other:
            other.sendall(write_request(REQUEST))
            assert pdu(other)[0] == 2
        assert time.monotonic() - began < 5
        for peer in silent:
            peer.close()


def test_silent_peers_of_many_addresses_keep_nobody_out_and_the_oldest_has_to_leave() -> None:
    with box(deadlines=PATIENT, total=2, each=2) as served:
        silent = [socket.create_connection((HERE, served.port), 5, source_address=(f"127.0.0.{9 + at}", 0)) for at in range(8)]
        for peer in silent:
            peer.sendall(b"\1\0\0")
        wait_until_open(served, 8)
        with established(served) as first:
            assert pdu(silent[0]) == (0, b"")
            silent[1].settimeout(0.2)
            with pytest.raises(TimeoutError):
                silent[1].recv(1)
            first.sendall(pdata(value(1, 3, encode(ECHO))))
            assert pdu(first)[0] == 4
        for peer in silent:
            peer.close()


def test_who_says_nothing_costs_no_thread_and_the_oldest_has_to_leave() -> None:
    with box(deadlines=PATIENT, total=2, each=2) as served:
        mute = [socket.create_connection((HERE, served.port), 5, source_address=(f"127.0.0.{9 + at}", 0)) for at in range(9)]
        assert pdu(mute[0]) == (0, b"")
        assert served.server.associations == 0
        assert_serves(served)
        mute[-1].sendall(write_request(REQUEST))
        assert pdu(mute[-1])[0] == 2
        for peer in mute:
            peer.close()


def test_who_says_nothing_is_closed_at_the_deadline_and_the_first_word_does_not_move_it() -> None:
    deadlines = dataclasses.replace(QUICK, request_seconds=2.0)
    with box(deadlines=deadlines) as served, served.connect() as peer, served.connect() as late:
        began = time.monotonic()
        assert pdu(peer) == (0, b"")
        late.sendall(b"\1")
        assert pdu(late) == (0, b"")
        assert time.monotonic() - began < 2 * deadlines.request_seconds


def test_stopping_aborts_idle_associations_at_once_and_lets_a_transfer_finish() -> None:
    with box(deadlines=PATIENT) as served:
        idle, busy = established(served), established(served)
        busy.sendall(pdata(STORE_COMMAND, value(3, 0, b"half")))
        wait_until_receiving(served)
        stopping = threading.Thread(target=served.server.stop, args=(10.0,))
        stopping.start()
        assert pdu(idle)[0] == 7
        idle.close()
        busy.sendall(pdata(value(3, 2, b" and half")))
        assert pdu(busy)[0] == 4
        assert pdu(busy)[0] == 7
        busy.close()
        stopping.join(10)
        assert not stopping.is_alive()
        assert [data for _, data in served.intake.received] == [b"half and half"]


def test_what_does_not_finish_in_the_grace_period_is_cut_off() -> None:
    with box(deadlines=PATIENT) as served:
        busy = established(served)
        busy.sendall(pdata(STORE_COMMAND, value(3, 0, b"half")))
        wait_until_receiving(served)
        began = time.monotonic()
        served.server.stop(0.1)
        assert time.monotonic() - began < 5
        assert len(served.intake.aborted) == 1
        busy.close()


def test_a_stopped_server_accepts_nobody() -> None:
    with box() as served:
        served.server.stop()
        served.server.stop()
        with socket.socket() as peer:
            assert peer.connect_ex((HERE, served.port)) != 0


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_threads_and_descriptors_do_not_grow_with_the_number_of_associations() -> None:
    with box(deadlines=QUICK, total=300, each=300) as served:
        established(served).close()
        wait_until_idle(served)
        threads, open_files = threading.active_count(), descriptors()
        for number in range(200):
            with established(served) as peer:
                peer.sendall(b"\x07\0\0\0\0\4\0\0\0\0" if number % 2 else pdata(value(1, 3, encode(ECHO))))
        wait_until_idle(served)
        assert (threading.active_count(), descriptors()) == (threads, open_files)


def test_an_idle_association_costs_no_processor_time() -> None:
    others = set(threading.enumerate())
    with box(deadlines=PATIENT) as served, established(served):
        (thread,) = {one for one in threading.enumerate() if one.name == f"dimse-{HERE}"} - others
        stat = Path(f"/proc/self/task/{thread.native_id}/stat")
        before = stat.read_text().split()[13:15]
        threading.Event().wait(0.5)
        assert stat.read_text().split()[13:15] == before


def test_who_comes_while_no_descriptor_is_left_is_served_when_there_is_one_again(caplog: pytest.LogCaptureFixture) -> None:
    with beyond_select(), box() as served, socket.socket() as waiting:
        with no_descriptors():
            waiting.connect((HERE, served.port))
            until(lambda: "cannot accept" in caplog.text, "it was tried")
        waiting.settimeout(10)
        waiting.sendall(write_request(REQUEST))
        assert waiting.recv(1) == b"\2"
