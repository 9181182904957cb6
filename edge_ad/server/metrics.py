"""Metrics of the running stream for Prometheus: ``GET /metrics``."""

from __future__ import annotations

import bisect
import itertools
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DeviceError, require
from edge_ad.listen_address import Address, parse_address
from edge_ad.server.server import HttpServer, Part
from edge_ad.streaming.frame import Event, Result, Unjudged
from edge_ad.streaming.records.schema import verdict_name
from edge_ad.streaming.sinks.base import Sink
from edge_ad.streaming.sinks.hook import Alarm
from edge_ad.streaming.sources.base import Source
from edge_ad.streaming.verdicts.scene import SCENE_CHANGED, SCENE_RESTORED

if TYPE_CHECKING:
    from prometheus_client import Metric
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from edge_ad.streaming.control import StreamControl

__all__ = ["MetricsSink", "StreamMetrics", "metrics_sink"]

_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.04, 0.06, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_MOST_SERIES = 256  # names come from outside: they must not fill the memory
_OF_SOURCES = {
    "dropped_frames": ("Frames replaced by a newer one.", "dropped"),
    "duplicate_frames": ("Frames the source gave twice.", "duplicates"),
    "missed_frames": ("Numbers the source skipped.", "missed"),
    "corrupt_frames": ("Frames that could not be decoded.", "corrupt"),
    "reconnects": ("How often the source came back.", "reconnects"),
}

_Labels: TypeAlias = "tuple[str, ...]"


class StreamMetrics:
    """All counters; may be read while they are updated. A collector for `prometheus_client`.

    Attributes:
        control: Where the stream's own numbers come from: drops, reconnects; None leaves them out.
    """

    def __init__(self) -> None:
        self.control: StreamControl | None = None
        self._lock = threading.Lock()
        self._frames: Counter[_Labels] = Counter()
        self._unjudged: Counter[_Labels] = Counter()
        self._events: Counter[_Labels] = Counter()
        self._latency, self._age = _Durations(), _Durations()
        self._newest: dict[str, tuple[float, float, float]] = {}  # source → time, score, threshold
        self._scene: dict[_Labels, float] = {}  # source, measure → times what it is in the training photos
        self._scene_changed: dict[_Labels, float] = {}
        self._bundle = ""
        self._alarms: set[str] = set()

    def add(self, result: Result, source_name: str) -> None:
        """Count a judged frame."""
        frame, verdict = result.frame, result.verdict
        source = frame.source or source_name
        with self._lock:
            _count(self._frames, source, verdict_name(verdict.is_anomalous))
            self._latency.add((result.prepare_ms + result.infer_ms) / 1e3)
            self._age.add(result.age_ms / 1e3)
            if source in self._newest or len(self._newest) < _MOST_SERIES:
                self._newest[source] = frame.captured_unix, float(verdict.score), float(verdict.threshold)
            self._bundle = result.bundle
            if result.scene is not None and ((source,) in self._scene_changed or self._has_room_for_scene()):
                self._scene_changed.setdefault((source,), 0)
                self._scene |= {(source, name): ratio for name, ratio in result.scene.ratios().items()}

    def add_unjudged(self, unjudged: Unjudged, source_name: str) -> None:
        """Count a frame that was not judged."""
        with self._lock:
            _count(self._unjudged, unjudged.frame.source or source_name, unjudged.reason)

    def add_event(self, event: Event) -> None:
        """Count an event."""
        with self._lock:
            _count(self._events, event.kind)
            name = str(event.data.get("alarm", ""))
            if event.kind == "alarm":
                self._alarms.add(name)
            elif event.kind == "alarm cleared":
                self._alarms.discard(name)
            elif event.kind in (SCENE_CHANGED, SCENE_RESTORED) and (event.source,) in self._scene_changed:
                self._scene_changed[(event.source,)] = int(event.kind == SCENE_CHANGED)
            elif event.kind == "bundle swapped":
                self._scene_changed = dict.fromkeys(self._scene_changed, 0)

    def _has_room_for_scene(self) -> bool:
        return len(self._scene_changed) < _MOST_SERIES

    def expose(self) -> bytes:
        """The metrics in the text format of Prometheus."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """The metrics as those of `prometheus_client`."""
        with self._lock:
            metrics = list(self._own())
        yield from metrics
        if self.control is not None:
            yield from _of_stream(self.control)

    def _own(self) -> Iterator[Metric]:
        yield _counter("edge_ad_frames", "Frames judged, by verdict.", self._frames, "source", "verdict")
        yield _counter("edge_ad_unjudged_frames", "Frames not judged, and why.", self._unjudged, "source", "reason")
        yield _counter("edge_ad_events", "Events, alarms among them.", self._events, "kind")
        yield self._latency.metric("edge_ad_latency_seconds", "Prepare and infer, of one frame.")
        yield self._age.metric("edge_ad_age_seconds", "From capture to result.")
        columns = [
            ("edge_ad_newest_frame_timestamp_seconds", "Newest frame."),
            ("edge_ad_score", "Raw score of the newest frame."),
            ("edge_ad_threshold", "Threshold of that frame."),
        ]
        for column, (name, text) in enumerate(columns):
            yield _gauge(name, text, {(source,): row[column] for source, row in self._newest.items()}, "source")
        text = "Of the newest picture, over what it is in the training photos."
        yield _gauge("edge_ad_scene_ratio", text, self._scene, "source", "measure")
        yield _gauge(
            "edge_ad_scene_changed", "Whether the scene is told to be unlike them.", self._scene_changed, "source"
        )
        yield _gauge("edge_ad_alarms", "Alarms that are not cleared.", {(): len(self._alarms)})
        yield _gauge("edge_ad_bundle_info", "The bundle that judges.", {(self._bundle,): 1}, "bundle")


class MetricsSink(Sink, Part):
    """Serves ``GET /metrics``. Reading changes nothing.

    Args:
        server: What serves it.
        address: Where.

    Raises:
        DeviceError: The port is in use.
        UsageError: The host is not an address of this machine.
        MissingDependencyError: The extra ``web`` is not installed.
    """

    delivery = "lossless"  # takes microseconds, and a counter must not miss what was dropped
    paths = frozenset({"/metrics"})

    def __init__(self, server: HttpServer, address: Address) -> None:
        require("prometheus_client", extra="web")
        self._metrics, self._alarm = StreamMetrics(), Alarm("metrics")
        self._source_name = ""
        self._server, self._is_open = server, False
        self._where = server.add(self, address)

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._where()

    def attach(self, control: StreamControl) -> None:
        """Serve this stream's drops and reconnects too."""
        self._metrics.control = control
        self._alarm.attach(control)

    def begin(self, source: Source) -> None:
        """Start to serve."""
        self._source_name = source.name
        self._server.open()
        self._is_open = True

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Count a judged frame."""
        self._metrics.add(result, self._source_name)

    def unjudged(self, unjudged: Unjudged) -> None:
        """Count a frame that was not judged."""
        self._metrics.add_unjudged(unjudged, self._source_name)

    def event(self, event: Event) -> None:
        """Count an event."""
        self._metrics.add_event(event)

    def close(self) -> None:
        """Stop serving; may be called twice."""
        if self._is_open:
            self._is_open = False
            self._server.close()

    def fail(self, error: DeviceError) -> None:
        """Report that they are no longer served."""
        self._alarm.raise_once(f"Metrics are no longer served: {error}")

    def routes(self) -> Sequence[BaseRoute]:
        """``GET /metrics``."""
        from starlette.routing import Route

        return [Route("/metrics", self._answer, methods=["GET"])]

    async def _answer(self, request: Request) -> Response:
        from starlette.responses import Response

        return Response(self._metrics.expose(), media_type="text/plain; version=0.0.4")


def metrics_sink(address: str = "", server: HttpServer | None = None) -> MetricsSink:
    """``--metrics [HOST:PORT]``: 127.0.0.1:9464 when nothing is given; ``:9500`` or ``9500`` sets the port alone.

    Args:
        address: The value of the option.
        server: What serves it; None makes one of its own.

    Raises:
        UsageError: It is no address.
        DeviceError: The server cannot listen there.
        MissingDependencyError: The extra ``web`` is not installed.
    """
    return MetricsSink(server or HttpServer(), parse_address(address, port=9464, option="--metrics"))


class _Durations:
    """A histogram of durations."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS_S) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect.bisect_left(_BOUNDS_S, seconds)] += 1
        self._sum += seconds

    def metric(self, name: str, text: str) -> Metric:
        from prometheus_client.metrics_core import HistogramMetricFamily

        bounds = [*map(str, _BOUNDS_S), "+Inf"]
        buckets = list(zip(bounds, itertools.accumulate(self._counts), strict=True))
        return HistogramMetricFamily(name, text, buckets, self._sum)


def _count(counts: Counter[_Labels], *labels: str) -> None:
    if labels not in counts and len(counts) >= _MOST_SERIES:
        labels = ("other",) * len(labels)
    counts[labels] += 1


def _counter(name: str, text: str, counts: dict[_Labels, int], *label_names: str) -> Metric:
    from prometheus_client.metrics_core import CounterMetricFamily

    family = CounterMetricFamily(name, text, labels=label_names)
    for labels, count in counts.items():
        family.add_metric(labels, count)
    return family


def _gauge(name: str, text: str, values: dict[_Labels, float], *label_names: str) -> Metric:
    from prometheus_client.metrics_core import GaugeMetricFamily

    family = GaugeMetricFamily(name, text, labels=label_names)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _of_stream(control: StreamControl) -> Iterator[Metric]:
    progress = control.progress()
    for name, (text, attribute) in _OF_SOURCES.items():
        counts: dict[_Labels, int] = {(row.name,): getattr(row, attribute) for row in progress.sources}
        yield _counter(f"edge_ad_{name}", text, counts, "source")
    drops: dict[_Labels, int] = {(name,): count for name, count in progress.sink_drops.items()}
    yield _counter("edge_ad_sink_drops", "Results a sink was too slow for.", drops, "sink")
    fps: dict[_Labels, float] = {(row.name,): row.fps for row in progress.sources}
    yield _gauge("edge_ad_frames_per_second", "Newest thirty intervals.", fps, "source")
