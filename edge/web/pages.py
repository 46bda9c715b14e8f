"""Pages and what they are made of: templates that escape all that they are given, and the few files beside them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from aiohttp import hdrs, web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

_HERE = Path(__file__).parent
_TYPES = {".css": "text/css", ".js": "text/javascript", ".json": "application/json"}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""No script or style within a page, and nothing from elsewhere: what a name says is never run."""


class Pages:
    """Read once, at start."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._files = {path.name: path.read_bytes() for path in sorted((_HERE / "static").iterdir()) if path.suffix in _TYPES}

    def page(self, name: str, **values: object) -> web.Response:
        """A template, filled in."""
        text = self._templates.get_template(f"{name}.html").render(values)
        return web.Response(text=text, content_type="text/html", headers={hdrs.CONTENT_SECURITY_POLICY: _POLICY})

    async def file(self, request: web.Request) -> web.StreamResponse:
        """One of the files beside the templates; 304 to whoever has it."""
        name = request.match_info["file"]
        content = self._files.get(name)
        if content is None:
            raise web.HTTPNotFound
        tag = hashlib.sha256(content).hexdigest()[:16]
        headers = {"ETag": f'"{tag}"', hdrs.CACHE_CONTROL: "no-cache"}
        if any(known.value == tag for known in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=content, content_type=_TYPES[Path(name).suffix], charset="utf-8", headers=headers)
