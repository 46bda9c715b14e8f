"""What a path names: a study, a series or an instance, and its address."""

from __future__ import annotations

from aiohttp import hdrs, web

from edge.model import UID, Located, parse_uid
from edge.store.reader import Target
from edge.web.accept import Form, parse
from edge.web.faults import BadRequest


def uid_in(request: web.Request, name: str) -> UID:
    """A UID of the path. Raises BadRequest for what is none."""
    uid = parse_uid(request.match_info[name])
    if uid is None or uid != request.match_info[name]:
        raise BadRequest(f"The {name} in the path is no UID.")
    return uid


def target_of(request: web.Request) -> Target:
    """The study, series or instance that the path names; errors as `uid_in`."""
    given = request.match_info
    return Target(
        uid_in(request, "study"),
        uid_in(request, "series") if "series" in given else None,
        uid_in(request, "instance") if "instance" in given else None,
    )


def forms_of(request: web.Request) -> list[Form]:
    """The forms that the caller takes: the parameter `accept` (PS3.18 section 8.3.3.1) goes before the header."""
    return parse(request.query.get("accept", ", ".join(request.headers.getall(hdrs.ACCEPT, []))))


def base_of(request: web.Request) -> str:
    """The address under which the caller reached these services, without a slash at its end."""
    return f"{request.scheme}://{request.host}"


def address(base: str, located: Located) -> str:
    """Where an instance is retrieved."""
    return f"{base}/studies/{located.study}/series/{located.series}/instances/{located.sop_instance}"
