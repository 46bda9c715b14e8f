"""azure-core's HTTP at the pace of the link: what it sends and receives goes piece by piece, as the cap allows."""

from __future__ import annotations

from typing import Any

from azure.core.pipeline.transport import AioHttpTransport

from cloudsync.archive.line import Line
from cloudsync.archive.paced import Paced, session

_REQUEST_BYTES = 900
"""Of the headers of a request to Azure Blob Storage with a SAS, about."""
_ANSWER_BYTES = 500


class PacedTransport(AioHttpTransport):  # type: ignore[misc]  # azure-core exports it lazily, which mypy cannot see
    """azure-core's own transport, at the pace of the link."""

    def __init__(self, line: Line) -> None:
        super().__init__(connection_timeout=line.connect_seconds, read_timeout=line.silence_seconds)
        self._line = line
        self._pacing = line.pacing
        self._made = False

    async def open(self) -> None:
        """Make the session, once."""
        if not self._made:
            line, self._made = self._line, True
            self.session = session(line.pacing.largest_cap, line.silence_seconds, line.trust, auto_decompress=False)
        await super().open()

    async def send(self, request: Any, **config: Any) -> Any:
        """As azure-core says. A body of bytes is handed on as a stream, also because in one write nobody could cancel it."""
        await self._pacing.up.take(_REQUEST_BYTES)
        if isinstance(request.data, bytes) and request.data:
            request.data = self._pacing.up.pieces(request.data)
        response = await super().send(request, **config)
        await self._pacing.down.take(_ANSWER_BYTES)
        answer = response.internal_response
        if "x-ms-request-id" in answer.headers:  # the archive itself, not a portal or a proxy
            self._line.far.answered(answer.headers.get("Date", ""))
        answer.content = Paced(answer.content, self._pacing.down)
        return response
