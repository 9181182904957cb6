"""The metrics endpoint, read by the parser of Prometheus' own client."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from edge_ad.errors import DeviceError, UsageError
from edge_ad.scene import SceneLimits, SceneMeasures, SceneReading
from edge_ad.server import HttpServer, MetricsSink, metrics_sink
from edge_ad.server.metrics import StreamMetrics
from edge_ad.streaming.frame import Event, Unjudged
from edge_ad.streaming.progress import Progress, SourceProgress
from tests.streaming.fakes import FakeSource
from tests.streaming.results import PATIENCE_S, Told, make_result

parser: Any = pytest.importorskip("prometheus_client.parser", reason="prometheus-client is not installed")

_NASTY = 'camera "0"\\\nback'


@pytest.fixture
def sink() -> Iterator[MetricsSink]:
    sink = metrics_sink("127.0.0.1:0")
    sink.begin(FakeSource(None))
    yield sink
    sink.close()


def _get(sink: MetricsSink, path: str = "/metrics", method: str = "GET", **headers: str) -> tuple[int, str, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", sink.address.port, timeout=PATIENCE_S)) as connection:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Content-Type", ""), answer.read().decode()


def _samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_is_served_is_what_was_counted(sink: MetricsSink) -> None:
    for number in range(10):
        sink.write(make_result(number, 1.5 if number < 3 else 0.5, source=_NASTY), None)
    sink.unjudged(Unjudged(make_result(source=_NASTY).frame, "black"))
    sink.event(Event("alarm", 0.0, data={"alarm": "records"}))
    status, content_type, text = _get(sink)
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    samples = _samples(text)
    assert samples["edge_ad_frames_total", (_NASTY, "NG")] == 3
    assert samples["edge_ad_frames_total", (_NASTY, "OK")] == 7
    assert samples["edge_ad_unjudged_frames_total", ("black", _NASTY)] == 1
    assert samples["edge_ad_events_total", ("alarm",)] == 1
    assert samples["edge_ad_alarms", ()] == 1
    assert samples["edge_ad_score", (_NASTY,)] == 0.5
    assert samples["edge_ad_bundle_info", ("b1",)] == 1
    sink.event(Event("alarm cleared", 0.0, data={"alarm": "records"}))
    assert _samples(_get(sink)[2])["edge_ad_alarms", ()] == 0


def test_the_scene_is_served_for_each_source(sink: MetricsSink) -> None:
    good = SceneMeasures(100.0, 0.5, 0.2, 1.0, 1.0, 1.0)
    limits = SceneLimits.of([good] * 8)
    assert limits is not None
    reading = SceneReading(good._replace(brightness=70.0), limits)
    assert not [key for key in _samples(_get(sink)[2]) if key[0].startswith("edge_ad_scene")]
    sink.write(replace(make_result(source="left"), scene=reading), None)
    samples = _samples(_get(sink)[2])
    assert samples["edge_ad_scene_ratio", ("brightness", "left")] == pytest.approx(0.7)
    assert samples["edge_ad_scene_changed", ("left",)] == 0
    sink.event(Event("scene changed", 0.0, "left"))
    sink.event(Event("scene changed", 0.0, "a source without readings"))
    samples = _samples(_get(sink)[2])
    assert {key: value for key, value in samples.items() if key[0] == "edge_ad_scene_changed"} == {
        ("edge_ad_scene_changed", ("left",)): 1
    }
    sink.event(Event("scene restored", 0.0, "left"))
    assert _samples(_get(sink)[2])["edge_ad_scene_changed", ("left",)] == 0


def test_a_histogram_is_cumulative_and_its_parts_agree(sink: MetricsSink) -> None:
    for number in range(100):
        sink.write(make_result(number), None)  # 3 ms of latency, 4.5 ms of age
    samples = _samples(_get(sink)[2])
    latency = [
        (float(le[0]), value) for (name, le), value in samples.items() if name == "edge_ad_latency_seconds_bucket"
    ]
    assert [value for bound, value in latency] == [0.0 if bound < 0.003 else 100.0 for bound, _ in latency]
    assert latency[-1] == (float("inf"), 100)
    assert samples["edge_ad_latency_seconds_count", ()] == 100
    assert samples["edge_ad_latency_seconds_sum", ()] == pytest.approx(0.3)
    assert samples["edge_ad_age_seconds_sum", ()] == pytest.approx(0.45)


def test_drops_and_reconnects_come_from_the_stream(sink: MetricsSink) -> None:
    control = Told()
    row = SourceProgress(name="line", dropped=4, reconnects=2, fps=25.0)
    control.report_from(lambda: Progress(sink_drops={"mqtt": 7}, sources=(row,)))
    sink.attach(control)
    samples = _samples(_get(sink)[2])
    assert samples["edge_ad_dropped_frames_total", ("line",)] == 4
    assert samples["edge_ad_reconnects_total", ("line",)] == 2
    assert samples["edge_ad_sink_drops_total", ("mqtt",)] == 7


def test_an_empty_stream_is_served_too(sink: MetricsSink) -> None:
    assert _samples(_get(sink)[2])["edge_ad_latency_seconds_count", ()] == 0


def test_nothing_else_is_served(sink: MetricsSink) -> None:
    assert _get(sink, "/")[0] == 404
    assert _get(sink, "/../../etc/passwd")[0] == 404
    assert _get(sink, "/metrics", "POST")[0] == 405


def test_head_has_the_headers_and_no_body(sink: MetricsSink) -> None:
    assert _get(sink, method="HEAD") == (*_get(sink)[:2], "")
    assert _get(sink, "/", method="HEAD")[0] == 404


def test_readers_that_never_read_do_not_keep_others_out(sink: MetricsSink) -> None:
    idle = [socket.create_connection(("127.0.0.1", sink.address.port)) for _ in range(20)]
    try:
        for _ in range(3):
            assert _get(sink)[0] == 200
    finally:
        for connection in idle:
            connection.close()


def test_names_from_outside_cannot_take_the_memory() -> None:
    metrics = StreamMetrics()
    for number in range(10_000):
        metrics.add_event(Event(str(number), 0.0))
    text = metrics.expose().decode()
    assert len(text.splitlines()) < 400
    assert 'edge_ad_events_total{kind="other"} 9744.0' in text


@pytest.mark.parametrize(
    ("address", "ip", "port"),
    [
        ("", "127.0.0.1", 9464),
        (":9500", "127.0.0.1", 9500),
        ("9501", "127.0.0.1", 9501),
        ("0.0.0.0:9502", "0.0.0.0", 9502),
    ],
)
def test_it_listens_at_this_machine_only_unless_told_otherwise(address: str, ip: str, port: int) -> None:
    found = metrics_sink(address).address
    assert (found.ip, found.port) == (ip, port)


def test_others_need_the_token_and_this_machine_does_not() -> None:
    server = HttpServer()
    local, public = metrics_sink("127.0.0.1:0", server), metrics_sink("0.0.0.0:0", server)
    assert server.is_new_token
    assert [server.token_at(sink.address) for sink in (local, public)] == [None, server.token]
    for sink in (local, public):
        sink.begin(FakeSource(None))
    try:
        assert [_get(sink)[0] for sink in (local, public)] == [200, 401]
        assert _get(public, authorization=f"Bearer {server.token}")[0] == 200
    finally:
        for sink in (local, public):
            sink.close()


def test_an_address_that_cannot_be_used_is_one_line(sink: MetricsSink) -> None:
    with pytest.raises(DeviceError, match="it is in use") as caught:
        metrics_sink(f"127.0.0.1:{sink.address.port}")
    assert "--metrics" in caught.value.hint
    for address in ("host:99999", "host:x"):
        with pytest.raises(UsageError):
            metrics_sink(address)
