"""Who may do what: one table from route to right, and nothing else decides. What is not in it is refused."""

from __future__ import annotations

import enum


class Right(enum.Enum):
    """What a caller may be allowed. A later role is a set of these."""

    NONE = "none"
    """Nothing is needed; the answer holds no patient data."""
    READ = "read"
    STORE = "store"


S = "/studies/{study}"
E = f"{S}/series/{{series}}"
I = f"{E}/instances/{{instance}}"  # noqa: E741 - the instance level of PS3.18's own resource names

ROUTES: dict[tuple[str, str], Right] = {
    ("GET", "/healthz"): Right.NONE,
    ("GET", "/lamp"): Right.NONE,
    ("GET", "/lamp/state"): Right.NONE,
    ("GET", "/metrics"): Right.NONE,
    ("GET", "/static/{file}"): Right.NONE,
    # Search, PS3.18 section 10.6
    ("GET", "/studies"): Right.READ,
    ("GET", f"{S}/series"): Right.READ,
    ("GET", f"{S}/instances"): Right.READ,
    ("GET", f"{E}/instances"): Right.READ,
    ("GET", "/series"): Right.READ,
    ("GET", "/instances"): Right.READ,
    # Retrieve, PS3.18 section 10.4
    ("GET", S): Right.READ,
    ("GET", E): Right.READ,
    ("GET", I): Right.READ,
    ("GET", f"{S}/metadata"): Right.READ,
    ("GET", f"{E}/metadata"): Right.READ,
    ("GET", f"{I}/metadata"): Right.READ,
    ("GET", f"{I}/frames/{{frames}}"): Right.READ,
    ("GET", f"{I}/bulkdata/{{path}}"): Right.READ,
    # Store, PS3.18 section 10.5
    ("POST", "/studies"): Right.STORE,
    ("POST", S): Right.STORE,
}


def needed(method: str, template: str | None) -> Right | None:
    """The right that a route needs; None for what is in no row, which nobody may do."""
    return ROUTES.get((method, template)) if template is not None else None
