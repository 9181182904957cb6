"""Devices in the text format of Prometheus: of one agent, or of a whole fleet."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, get_args

from edge_ad.errors import require
from edge_ad.fleet.devices import SeenDevice
from edge_ad.fleet.state import Step

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["expose_devices"]


def expose_devices(devices: Iterable[SeenDevice], left_out: int | None = None) -> bytes:
    """The metrics of devices.

    ``edge_ad_device_seen_timestamp_seconds`` is when a device spoke last: one that is gone is told by its age.

    Args:
        devices: The devices.
        left_out: How many more of the fleet there are; None for no fleet.

    Raises:
        MissingDependencyError: prometheus-client is not installed.
    """
    prometheus = require("prometheus_client", extra="web")
    registry = prometheus.CollectorRegistry(auto_describe=False)
    registry.register(_Collector(list(devices), left_out))
    return bytes(prometheus.generate_latest(registry))


class _Collector:
    """A collector of `prometheus_client`."""

    def __init__(self, devices: list[SeenDevice], left_out: int | None) -> None:
        self._devices, self._left_out = devices, left_out

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import GaugeMetricFamily

        def gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"edge_ad_device_{name}", text, labels=("device", *labels))

        info = gauge("info", "What a device follows and holds.", "reference", "digest", "version")
        step = gauge("step", "1 for the step that it does, or did last.", "step")
        seen = gauge("seen_timestamp_seconds", "When it spoke last, in seconds since the epoch.")
        stale = gauge("stale", "Whether it should have spoken since.")
        refused = gauge("refused_bundles", "Bundles that it does not try again.")
        stream = gauge("stream_up", "Whether the stream that uses its bundle answers.")
        now = time.time()
        for device in self._devices:
            name, report = device.name, device.report
            info.add_metric((name, report.reference, report.digest, report.version), 1)
            for word in get_args(Step):
                step.add_metric((name, word), int(word == report.step))
            if math.isfinite(device.age_s):
                seen.add_metric((name,), now - device.age_s)
            stale.add_metric((name,), int(device.is_stale))
            refused.add_metric((name,), len(report.refused))
            if report.stream:
                stream.add_metric((name,), int(report.stream == "answers"))
        yield from (info, step, seen, stale, refused, stream)
        if self._left_out is not None:
            text = "Devices that are left out, since there are too many."
            yield GaugeMetricFamily("edge_ad_fleet_left_out_devices", text, value=self._left_out)
