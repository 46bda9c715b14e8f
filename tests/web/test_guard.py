"""Who gets in: the matrix of routes and methods, the token, the name that is called, and what is on every answer."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import pytest

from edge.errors import ConfigError, OutpostError
from edge.web.faults import STATUS, status_of
from edge.web.rights import ROUTES, Right, needed
from edge.web.token import load
from tests.web.box import CT, Web, sample

OPEN = {("GET", path) for path in ("/healthz", "/lamp", "/lamp/state", "/metrics", "/static/{file}")}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")


def _path(template: str) -> str:
    for name, value in (
        ("{study}", "1.2"),
        ("{series}", "1.3"),
        ("{instance}", "1.4"),
        ("{frames}", "1"),
        ("{path}", "7FE00010"),
        ("{file}", "lamp.css"),
    ):
        template = template.replace(name, value)
    return template


@pytest.mark.asyncio
@pytest.mark.parametrize("method", METHODS)
async def test_without_the_token_only_what_shows_no_patient_data_answers(served: Web, method: str) -> None:
    for _, template in ROUTES:
        for authorization in (None, "Bearer", "Bearer ", "Bearer wrong", f"Basic {served.token}", f"Bearer {served.token}x", "Bearer é"):
            headers = {} if authorization is None else {"Authorization": authorization}
            async with served.session.request(method, served.address + _path(template), headers=headers) as response:
                expected = 200 if (method, template) in OPEN else 401
                assert response.status == expected, (method, template)
                if expected == 401:
                    assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.asyncio
async def test_with_the_token_only_what_the_table_names_is_allowed(served: Web) -> None:
    headers = {"Authorization": f"Bearer {served.token}"}
    for template in {template for _, template in ROUTES}:
        for method in METHODS:
            async with served.session.request(method, served.address + _path(template), headers=headers) as response:
                allowed = needed(method, template) is not None
                assert (response.status in {401, 403, 405}) != allowed, (method, template, response.status)
    async with served.session.get(served.address + "/unknown", headers=headers) as response:
        assert response.status == 404


def test_what_is_in_no_row_is_nobodys_right() -> None:
    assert needed("DELETE", "/studies/{study}") is None
    assert needed("GET", None) is None
    assert {route for route, right in ROUTES.items() if right is Right.NONE} == OPEN
    assert {right for route, right in ROUTES.items() if route not in OPEN} == {Right.READ, Right.STORE}


async def _raw(served: Web, request: bytes) -> bytes:
    port = int(served.address.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"localhost", 200),
        (b"LOCALHOST:8042", 200),
        (b"127.0.0.1", 200),
        (b"[::1]:8042", 200),
        (b"evil.example", 421),
        (b"127.0.0.1.evil.example:8042", 421),
        (b"localhost.", 421),
        (b"", 421),
        (b"x" * 300, 400),
    ],
)
async def test_a_name_that_is_not_this_machines_is_not_answered_to(served: Web, host: bytes, status: int) -> None:
    request = b"GET /studies HTTP/1.1\r\nHost: %b\r\nAuthorization: Bearer %b\r\nConnection: close\r\n\r\n" % (host, served.token.encode())
    assert (await _raw(served, request)).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "path", [b"/studies/../../etc/passwd", b"/studies/%2e%2e/metadata", b"/studies/..%2f..%2fweb.token", b"//etc", b"/studies/%00"]
)
async def test_a_path_that_climbs_leads_nowhere(served: Web, path: bytes) -> None:
    served.box.take(sample(CT))
    token = served.token.encode()
    answer = await _raw(
        served, b"GET %b HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\nConnection: close\r\n\r\n" % (path, token)
    )
    assert answer.split(b" ")[1] in {b"400", b"404"}
    assert token not in answer


@pytest.mark.asyncio
async def test_every_answer_is_private_unsniffed_and_shows_no_version(served: Web) -> None:
    served.box.take(sample(CT))
    for path, status in (("/studies", 200), ("/studies/1.2", 404), ("/nowhere", 404), ("/healthz", 200), ("/studies?x=1", 400)):
        found, headers, _ = await served.get(path)
        assert found == status
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert not {"Server", "Access-Control-Allow-Origin"} & set(headers)


@pytest.mark.asyncio
async def test_health_says_what_works_and_nothing_else(served: Web) -> None:
    async with served.session.get(served.address + "/healthz") as response:
        assert (response.status, await response.json()) == (200, {"catalogue": True, "edge": True})
    served.box.layout.control.unlink()
    async with served.session.get(served.address + "/healthz") as response:
        assert (response.status, json.loads(await response.read())) == (503, {"catalogue": True, "edge": False})


def test_a_token_is_made_once_readable_by_its_owner_alone_and_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "web.token"
    token = load(path)
    secret = path.read_text().strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(secret) == 43
    assert load(path).is_in(f"Bearer {secret}")
    assert token.is_in(f"bearer {secret}")
    assert not token.is_in(secret)
    assert secret not in repr(token)


@pytest.mark.parametrize("content", [b"", b"short\n", b"x y" * 20, b"\xff" * 50])
def test_a_file_that_holds_no_token_is_refused_with_the_cure(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "web.token"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="rm "):
        load(path)


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "web.token"
    load(path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="others can read"):
        load(path)


def test_every_error_has_a_status() -> None:
    kinds = [OutpostError]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        fault = kind.__new__(kind)
        assert 400 <= status_of(fault) <= 507, kind
    assert STATUS[-1][0] is OutpostError
