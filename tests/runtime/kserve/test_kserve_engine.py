"""Engines on a server against the same graph here; the server is one of this process, behind real gRPC."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.bundle import Bundle
from edge_ad.cli import main
from edge_ad.errors import BundleError, DeviceError, UsageError
from edge_ad.runtime.engines import open_engine
from edge_ad.runtime.kserve import KServeEngine, ServerAddress, parse_server_address, served_engine
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.session import run_stream
from tests.runtime.kserve.model_server import ModelServer
from tests.runtime.tiny_bundle import SIZE_HW, deploy_graph, tiny_bundle
from tests.streaming.fakes import FakeSource, ListSink
from tests.streaming.results import wait_until


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "plate")


@pytest.fixture
def server(bundle: Bundle) -> Iterator[ModelServer]:
    made = ModelServer(deploy_graph(), graph=bundle.graph_sha256("fp32"), precision="fp32", backend="onnxruntime")
    yield made
    made.stop()


def _address(server: ModelServer, model: str = "plate") -> ServerAddress:
    return parse_server_address(f"grpc://127.0.0.1:{server.start()}/{model}")


def _engine(bundle: Bundle, server: ModelServer) -> KServeEngine:
    return served_engine(bundle, _address(server), timeout_s=60.0)


def _infer_until_it_fails(engine: KServeEngine) -> None:
    until = time.monotonic() + 60.0  # the graph is asked for every second
    while time.monotonic() < until:
        engine.infer(_frames(1))


def _frames(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (count, *SIZE_HW, 3), dtype=np.uint8)


def test_a_server_gives_what_an_engine_here_gives(bundle: Bundle, server: ModelServer) -> None:
    frames = _frames(20)
    with open_engine(bundle, backend="onnxruntime", threads=1) as here, _engine(bundle, server) as there:
        expected, singly = here.infer(frames), list(there.infer_many(frame[None] for frame in frames))
        together = there.infer(frames)
    assert there.describe().device == "server double 1.2"
    assert max(server.batches) == 8  # what the server takes, of 20
    for wanted, one, of_many in zip(expected, singly, together, strict=True):
        assert one.score == pytest.approx(wanted.score, rel=1e-5)
        assert of_many.score == pytest.approx(wanted.score, rel=1e-5)
        np.testing.assert_allclose(one.anomaly_map, wanted.anomaly_map, rtol=1e-5, atol=1e-6)


def test_a_server_that_was_away_is_waited_for_and_no_frame_is_left_out(bundle: Bundle, server: ModelServer) -> None:
    frames, given = _frames(12), []
    with open_engine(bundle, backend="onnxruntime", threads=1) as here:
        expected = [prediction.score for prediction in here.infer(frames)]

    def some_time_away() -> Iterator[NDArray[np.uint8]]:
        for number, frame in enumerate(frames):
            if number == 6:
                server.stop()
                server.start()
            yield frame[None]

    with _engine(bundle, server) as engine:
        given = [prediction.score for prediction in engine.infer_many(some_time_away())]
    assert given == pytest.approx(expected, rel=1e-5)


def test_a_stream_that_is_to_end_waits_no_longer_for_a_server_that_is_away(bundle: Bundle, server: ModelServer) -> None:
    control, sink = StreamControl(1.0), ListSink()

    def steer() -> None:
        wait_until(lambda: len(sink.results) > 3)
        server.stop()
        control.stop()

    steering, back_again = (
        threading.Thread(target=steer),
        threading.Timer(60.0, server.start),
    )  # a stream that waits ends
    back_again.start()
    with _engine(bundle, server) as engine:
        steering.start()
        with pytest.raises(DeviceError, match="was away when the stream ended"):
            run_stream(engine, FakeSource(None), threshold=1.0, control=control, sinks=[sink])
    back_again.cancel()
    steering.join()


def test_another_graph_behind_the_address_ends_it_when_the_server_comes_back(
    bundle: Bundle, server: ModelServer
) -> None:
    with _engine(bundle, server) as engine:
        engine.infer(_frames(1))
        server.stop()
        server.parameters["edge_ad.graph"] = "0" * 64
        server.start()
        with pytest.raises(BundleError, match="another graph"):
            _infer_until_it_fails(engine)


def test_a_graph_that_is_loaded_under_the_same_version_ends_it(bundle: Bundle, server: ModelServer) -> None:
    with _engine(bundle, server) as engine:
        engine.infer(_frames(1))
        server.parameters["edge_ad.graph"] = "0" * 64
        with pytest.raises(BundleError, match="another graph"):
            _infer_until_it_fails(engine)


def test_a_graph_of_which_nothing_is_said_any_more_is_held_to_the_recorded_outputs(
    bundle: Bundle, server: ModelServer
) -> None:
    with _engine(bundle, server) as engine:
        engine.infer(_frames(1))
        server.parameters.clear()
        server.load(deploy_graph(seed=1), version=server.version)
        with pytest.raises(BundleError, match="does not give the trained numbers"):
            _infer_until_it_fails(engine)


def test_another_version_is_held_to_the_recorded_outputs_before_its_answer_is_used(bundle: Bundle) -> None:
    server = ModelServer(deploy_graph(), has_config=False)
    with _engine(bundle, server) as engine:
        server.version = "2"
        assert len(engine.infer(_frames(1))) == 1
        server.load(deploy_graph(seed=1), version="3")
        with pytest.raises(BundleError, match="does not give the trained numbers"):
            engine.infer(_frames(1))
    server.stop()


def test_a_model_that_says_nothing_of_itself_is_held_to_the_recorded_outputs(bundle: Bundle) -> None:
    same, other = ModelServer(deploy_graph(), has_config=False), ModelServer(deploy_graph(seed=1), has_config=False)
    with _engine(bundle, same) as engine:
        assert engine.describe().precision == "fp32"
    with pytest.raises(BundleError, match="does not give the trained numbers"):
        _engine(bundle, other).__enter__()
    same.stop()
    other.stop()


def test_a_call_that_the_server_refuses_ends_the_stream(bundle: Bundle, server: ModelServer) -> None:
    with _engine(bundle, server) as engine:
        server.refuses = True
        with pytest.raises(DeviceError, match="too many"):
            engine.infer(_frames(1))


def test_what_cannot_be_served_is_refused_at_the_start(bundle: Bundle, server: ModelServer, tmp_path: Path) -> None:
    address = _address(server)
    with pytest.raises(DeviceError, match="does not answer: other is not ready"):
        served_engine(bundle, ServerAddress(address.endpoint, "other"))
    with pytest.raises(UsageError, match="The server runs fp32, not int8"):
        served_engine(bundle, address, precision="int8")
    with pytest.raises(BundleError, match="no recorded outputs"):
        served_engine(tiny_bundle(tmp_path / "bare", has_reference=False), address)
    with pytest.raises(BundleError, match="another graph"):
        served_engine(tiny_bundle(tmp_path / "other", seed=1), address)


@pytest.mark.parametrize(
    "text", ["http://a:1/m", "grpc://a/m", "grpc://a:1", "grpc://a:70000/m", "grpc://a:1/m/newest", "grpc://a:1/m n"]
)
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no model on a server"):
        parse_server_address(text)


def test_addresses_are_shown_as_they_were_given() -> None:
    for text in ("grpc://line-3:8001/screw", "grpcs://[::1]:443/a.b_c-d/12"):
        assert str(parse_server_address(text)) == text


def test_a_stream_is_judged_by_a_server(bundle: Bundle, server: ModelServer, tmp_path: Path) -> None:
    import cv2

    (tmp_path / "in").mkdir()
    for number, frame in enumerate(_frames(5)):
        cv2.imwrite(str(tmp_path / "in" / f"{number}.png"), frame)
    records = tmp_path / "records.jsonl"
    common = ["stream", "--bundle", str(bundle.root), "--source", str(tmp_path / "in"), "--no-frame-health"]
    asked = [*common, "--server", str(_address(server)), "--save-records", str(records)]
    assert main(asked) == 0
    assert len(records.read_text().splitlines()) == 5
    assert main([*asked, "--backend", "openvino"]) == 2
