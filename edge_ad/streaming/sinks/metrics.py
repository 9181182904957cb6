"""Numbers of the running stream, for Prometheus to fetch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DeviceError
from edge_ad.streaming.bounded_server import BoundedHandler, BoundedServer
from edge_ad.streaming.events import Event
from edge_ad.streaming.frame import Result, Unjudged
from edge_ad.streaming.records.record import verdict_name
from edge_ad.streaming.sinks.base import Sink
from edge_ad.streaming.sinks.exposition import CONTENT_TYPE, Counter, Histogram, family
from edge_ad.streaming.sources.base import Source

if TYPE_CHECKING:
    from edge_ad.streaming.control import StreamControl

__all__ = ["MetricsSink", "StreamMetrics"]

_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.04, 0.06, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_MOST_READERS = 4
_REQUEST_S = 5.0  # from the connection to the end of the answer


class StreamMetrics:
    """Everything that is counted; may be read while it is written to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frames = Counter("edge_ad_frames_total", "Frames judged, by verdict.", "source", "verdict")
        self._unjudged = Counter("edge_ad_unjudged_frames_total", "Frames not judged, and why.", "source", "reason")
        self._events = Counter("edge_ad_events_total", "Events, alarms among them.", "kind")
        self._latency = Histogram("edge_ad_latency_seconds", "Prepare and infer, of one frame.", _BOUNDS_S)
        self._age = Histogram("edge_ad_age_seconds", "From capture to result.", _BOUNDS_S)
        self._newest: dict[str, tuple[float, float, float]] = {}  # source → time, score, threshold
        self._bundle = ""
        self._alarms: set[str] = set()

    def add(self, result: Result, source_name: str) -> None:
        """Count a judged frame."""
        frame, verdict = result.frame, result.verdict
        source = frame.source or source_name
        with self._lock:
            self._frames.add(source, verdict_name(verdict.is_anomalous))
            self._latency.add((result.prepare_ms + result.infer_ms) / 1e3)
            self._age.add(result.age_ms / 1e3)
            self._newest[source] = frame.captured_unix, float(verdict.score), float(verdict.threshold)
            self._bundle = result.bundle

    def add_unjudged(self, unjudged: Unjudged, source_name: str) -> None:
        """Count a frame that was not judged."""
        with self._lock:
            self._unjudged.add(unjudged.frame.source or source_name, unjudged.reason)

    def add_event(self, event: Event) -> None:
        """Count an event."""
        with self._lock:
            self._events.add(event.kind)
            name = str(event.data.get("alarm", ""))
            if event.kind == "alarm":
                self._alarms.add(name)
            elif event.kind == "alarm cleared":
                self._alarms.discard(name)

    def expose(self, control: StreamControl | None) -> str:
        """All of it as text.

        Args:
            control: Where the stream's own numbers come from: drops, reconnects; None leaves them out.
        """
        with self._lock:
            counters = (self._frames, self._unjudged, self._events, self._latency, self._age)
            blocks = [counter.expose() for counter in counters]
            newest, bundle, alarms = dict(self._newest), self._bundle, len(self._alarms)
        columns = zip(*newest.values(), strict=True) if newest else ((), (), ())
        times, scores, thresholds = (
            {(source,): value for source, value in zip(newest, column, strict=True)} for column in columns
        )
        by_source = ("source",)
        blocks += [
            family("edge_ad_newest_frame_timestamp_seconds", "gauge", "Newest frame.", times, by_source),
            family("edge_ad_score", "gauge", "Raw score of the newest frame.", scores, by_source),
            family("edge_ad_threshold", "gauge", "What that was held against.", thresholds, by_source),
            family("edge_ad_alarms", "gauge", "Alarms that are not cleared.", {(): alarms}),
            family("edge_ad_bundle_info", "gauge", "The bundle that judges.", {(bundle,): 1}, ("bundle",)),
        ]
        return "".join(blocks + ([] if control is None else _of_stream(control)))


class MetricsSink(Sink):
    """Serves ``GET /metrics``. Reading changes nothing, but whoever reaches the port can read.

    Args:
        host: Address to listen at.
        port: TCP port; 0 takes a free one.

    Raises:
        DeviceError: The address cannot be listened at.
    """

    delivery = "lossless"  # takes some microseconds; a counter that misses what was dropped would lie

    def __init__(self, host: str = "127.0.0.1", port: int = 9464) -> None:
        self._metrics = StreamMetrics()
        self._control: StreamControl | None = None
        self._source_name = ""
        self._thread: threading.Thread | None = None
        try:
            self._server = _Server((host, port), self._expose)
        except OSError as error:
            message = f"Metrics cannot be served at {host}:{port}: {error.strerror or error}."
            raise DeviceError(message, "Choose another port, such as --metrics 127.0.0.1:9465.") from error

    @property
    def address(self) -> tuple[str, int]:
        """Host and port it listens at."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    def attach(self, control: StreamControl) -> None:
        """Serve this stream's drops and reconnects too."""
        self._control = control

    def begin(self, source: Source) -> None:
        """Start to serve."""
        self._source_name = source.name
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="metrics", daemon=True)
        self._thread.start()

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
        """Stop to serve."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()

    def _expose(self) -> str:
        return self._metrics.expose(self._control)


class _Server(BoundedServer):
    def __init__(self, address: tuple[str, int], expose: Callable[[], str]) -> None:
        self.expose = expose
        super().__init__(address, _Handler, most=_MOST_READERS, timeout_s=_REQUEST_S)


class _Handler(BoundedHandler):
    def do_GET(self) -> None:  # noqa: N802 - the name http.server asks for
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404)
            return
        assert isinstance(self.server, _Server)
        body = self.server.expose().encode()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _of_stream(control: StreamControl) -> list[str]:
    progress = control.progress()
    sources = {(row.name,): row for row in progress.sources}
    by_source = {
        "dropped_frames": ("Frames replaced by a newer one.", "dropped"),
        "duplicate_frames": ("Frames the source gave twice.", "duplicates"),
        "missed_frames": ("Numbers the source skipped.", "missed"),
        "corrupt_frames": ("Frames that could not be decoded.", "corrupt"),
        "reconnects": ("How often the source came back.", "reconnects"),
    }
    blocks = [
        family(
            f"edge_ad_{name}_total",
            "counter",
            text,
            {labels: getattr(row, attribute) for labels, row in sources.items()},
            ("source",),
        )
        for name, (text, attribute) in by_source.items()
    ]
    drops = {(name,): count for name, count in progress.sink_drops.items()}
    blocks.append(family("edge_ad_sink_drops_total", "counter", "Results a sink had no time for.", drops, ("sink",)))
    fps = {labels: row.fps for labels, row in sources.items()}
    blocks.append(family("edge_ad_frames_per_second", "gauge", "Newest thirty intervals.", fps, ("source",)))
    return blocks
