"""/metrics: the figures behind the one sentence, in the text format of Prometheus. No patient data."""

from __future__ import annotations

from collections.abc import Iterator

from aiohttp import web
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from edge.control.status import Status
from edge.errors import OutpostError
from edge.web.condition import Condition

_GAUGES = {
    "studies": ("studies", "Studies that are known."),
    "instances": ("instances", "Instances that are known."),
    "waiting_studies": ("waiting_studies", "Studies that are not yet whole in the archive."),
    "waiting_bytes": ("waiting_bytes", "Bytes of them."),
    "oldest_waiting_timestamp_seconds": ("oldest_waiting_at", "When the one that waits longest was received; not there when none waits."),
    "last_held_timestamp_seconds": ("last_held_at", "When the archive last proved to hold a study whole."),
    "stopped_studies": ("stopped", "Studies that wait for a person before they are shipped."),
    "dropped_studies": ("dropped", "Studies of which something stays here only, as somebody decided."),
    "receiving_studies": ("receiving", "Studies of which something arrived a moment ago."),
    "link_since_timestamp_seconds": ("link_since", "Since when the link has been as it is."),
    "link_goodput_bytes_per_second": ("goodput_bytes_per_second", "Speed of what the archive confirmed lately."),
    "catalog_segments": ("catalog_sequence", "Number of the last segment of the archive's catalog."),
    "cache_bytes": ("cache_bytes", "Bytes of packs that are here."),
    "cache_max_bytes": ("cache_max_bytes", "Bytes that packs may take."),
    "cache_free_bytes": ("free_bytes", "Bytes that are free on the disk of the packs."),
    "quarantined": ("quarantined", "Instances that were set aside."),
    "conflicts": ("conflicts", "Studies in which a person must choose between two versions."),
    "drilled_timestamp_seconds": ("drilled_at", "When a restore was rehearsed last."),
}
"""Name of the metric, without the prefix -> field of Status, and what it says."""
LAMPS = ("green", "amber", "red")


class Metrics:
    """One scrape asks edge once."""

    def __init__(self, condition: Condition) -> None:
        self._condition = condition

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """All of them; `outpost_up 0` alone when edge does not say how it is."""
        try:
            status = await self._condition.now()
        except OutpostError:
            status = None
        return web.Response(body=generate_latest(_Figures(status)), headers={"Content-Type": CONTENT_TYPE_LATEST})


class _Figures(Collector):
    def __init__(self, status: Status | None) -> None:
        self._status = status

    def collect(self) -> Iterator[GaugeMetricFamily]:
        status = self._status
        yield GaugeMetricFamily("outpost_up", "1 when edge says how it is.", value=float(status is not None))
        if status is None:
            return
        lamps = GaugeMetricFamily("outpost_lamp", "1 for the colour that the lamp has.", labels=["colour"])
        for colour in LAMPS:
            lamps.add_metric([colour], float(colour == status.lamp))
        yield lamps
        yield GaugeMetricFamily("outpost_link_up", "1 while nothing is wrong with the link.", value=float(status.link_state == "up"))
        yield GaugeMetricFamily("outpost_alarms", "What a person must see to.", value=float(len(status.alarms)))
        for name, (field, says) in _GAUGES.items():
            value = getattr(status, field)
            if value is not None:
                yield GaugeMetricFamily(f"outpost_{name}", says, value=float(value))
