"""Bundle hot swap: a bundle takes over between two frames, or is refused and the old one goes on."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_ad.bundle import Bundle
from edge_ad.errors import BundleError
from edge_ad.runtime.engine import EngineDescription
from edge_ad.runtime.verification import Verification
from edge_ad.streaming.active_engine import JudgingEngine
from edge_ad.streaming.bundle_opening import OpenBundle, open_bundle
from edge_ad.streaming.control import BundleFacts, StreamControl
from edge_ad.streaming.hot_swap import BundleSwapper
from edge_ad.streaming.session import run_stream
from edge_ad.streaming.statistics import Summary
from tests.runtime.tiny_bundle import deploy_graph, graph_info, tiny_bundle
from tests.streaming.fakes import FakeEngine, FakeSource, ListSink, NumberedSource
from tests.streaming.results import PATIENCE_S, no_thread_left, wait_until


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    with no_thread_left("stream-"):
        yield


class Sized(FakeEngine):
    """Of another input size; says when it was closed."""

    def __init__(self, side: int, seconds: float) -> None:
        super().__init__(seconds=seconds)
        self._description = EngineDescription("fake", "fp32", "test", "1", (side, side), 1)
        self.is_closed = False

    def _close(self) -> None:
        self.is_closed = True


class Opener:
    """Opens ``<hash>-<side>``, and takes its time, as compiling does; ``broken`` cannot be opened."""

    def __init__(self, compiling: Callable[[], None] = lambda: None, *, seconds: float = 0.002) -> None:
        self.compiling, self.seconds, self.engines = compiling, seconds, dict[str, Sized]()

    def __call__(self, path: Path) -> OpenBundle:
        if not path.name.startswith("old"):
            self.compiling()
        if path.name == "broken":
            raise BundleError("model.onnx differs from its SHA-256")
        name, _, side = path.name.partition("-")
        engine = self.engines[name] = Sized(int(side), self.seconds)
        facts = BundleFacts(name=name, hash=name, method="m", precision="fp32", backend="fake", threshold=float(side))
        stack = ExitStack()
        stack.enter_context(engine)
        return OpenBundle(JudgingEngine(engine, facts, float(side)), stack)


def _stream(
    opener: Opener,
    sink: ListSink,
    source: FakeSource,
    ask: Callable[[StreamControl], None],
    has_ended: Callable[[], bool] = lambda: True,
) -> Summary:
    """A stream that ends when the sink has an event, and more holds."""
    first = opener(Path("old-32"))
    control = StreamControl(bundle=first.judging.bundle)
    ask(control)

    def stop() -> None:
        try:
            wait_until(lambda: bool(sink.results and sink.events) and has_ended())
        finally:
            control.stop()

    stopping = threading.Thread(target=stop)
    stopping.start()
    with BundleSwapper(opener, first) as swapper:
        summary = run_stream(
            first.judging.engine,
            source,
            threshold=first.judging.threshold,
            sinks=[sink],
            control=control,
            swapper=swapper,
        )
    stopping.join()
    return summary


@pytest.mark.parametrize("is_live", [True, False])
def test_new_bundle_takes_over_between_two_frames_without_a_gap(is_live: bool) -> None:
    sink = ListSink()
    opener = Opener(lambda: wait_until(lambda: len(sink.results) > 20))  # the old one judges while it is opened
    source = NumberedSource(None, is_live=is_live, interval_s=0.004)

    def has_judged() -> bool:
        return sum(result.bundle == "new" for result in sink.results) > 20

    summary = _stream(opener, sink, source, lambda control: control.swap_bundle(Path("new-48"), by="test"), has_judged)
    hashes = [result.bundle for result in sink.results]
    at = hashes.index("new")
    assert set(hashes[:at]) == {"old"}
    assert set(hashes[at:]) == {"new"}
    assert 20 < at < len(hashes) - 20
    assert {result.verdict.threshold for result in sink.results[:at]} == {32.0}
    assert {result.verdict.threshold for result in sink.results[at:]} == {48.0}
    assert {result.prediction.anomaly_map.shape for result in sink.results[at:]} == {(48, 48)}
    if not is_live:
        assert [result.frame.index for result in sink.results] == list(range(len(hashes)))
    assert [event.kind for event in sink.events] == ["bundle swapped"]
    assert sink.events[0].data["new"] == "new"
    assert (summary.swaps, summary.bundle, summary.threshold) == (1, "new", 48.0)
    assert opener.engines["old"].is_closed
    assert opener.engines["new"].is_closed


def test_broken_bundle_is_refused_and_the_old_one_goes_on() -> None:
    opener, sink = Opener(), ListSink()
    source = FakeSource(None, is_live=True, interval_s=0.005)
    summary = _stream(opener, sink, source, lambda control: control.swap_bundle(Path("broken"), by="test"))
    assert {result.bundle for result in sink.results} == {"old"}
    assert [event.kind for event in sink.events] == ["bundle refused"]
    assert "SHA-256" in sink.events[0].text
    assert summary.swaps == 0


def test_bundle_that_crashes_when_it_is_warmed_up_is_refused_and_closed() -> None:
    class Crashing(Opener):
        def __call__(self, path: Path) -> OpenBundle:
            opened = super().__call__(path)
            if path.name.startswith("bad"):
                self.engines["bad"].crash_at = 0
            return opened

    opener, sink = Crashing(), ListSink()
    source = FakeSource(None, is_live=True, interval_s=0.005)
    _stream(opener, sink, source, lambda control: control.swap_bundle(Path("bad-32"), by="test"))
    assert [event.kind for event in sink.events] == ["bundle refused"]
    assert opener.engines["bad"].is_closed


def test_engine_that_fails_to_close_is_told_and_bundles_are_swapped_all_the_same() -> None:
    class Stuck(Sized):
        def _close(self) -> None:
            raise RuntimeError("the device is gone")

    class OneStuck(Opener):
        def __call__(self, path: Path) -> OpenBundle:
            opened = super().__call__(path)
            if path.name.startswith("old"):
                stack = ExitStack()
                stack.enter_context(stuck := Stuck(32, self.seconds))
                return OpenBundle(JudgingEngine(stuck, opened.judging.bundle, 32.0), stack)
            return opened

    opener, sink = OneStuck(), ListSink()
    first = opener(Path("old-32"))
    control = StreamControl(bundle=first.judging.bundle)

    def steer() -> None:
        try:
            for number, name in enumerate(("new-48", "newer-48")):
                control.swap_bundle(Path(name), by="test")
                wait_until(lambda: _kinds(sink).count("bundle swapped") > number)  # noqa: B023
                wait_until(lambda: "alarm" in _kinds(sink))
        finally:
            control.stop()

    steering = threading.Thread(target=steer)
    steering.start()
    with BundleSwapper(opener, first) as swapper:
        source = FakeSource(None, is_live=True, interval_s=0.005)
        run_stream(first.judging.engine, source, threshold=1.0, sinks=[sink], control=control, swapper=swapper)
    steering.join()
    assert sorted(_kinds(sink)) == ["alarm", "bundle swapped", "bundle swapped"]


def _kinds(sink: ListSink) -> list[str]:
    return [event.kind for event in sink.events]


def test_stream_that_ends_before_the_bundle_is_open_closes_it(engine: FakeEngine) -> None:
    control = StreamControl()

    def compile_until_the_end() -> None:
        control.stop()
        assert is_over.wait(PATIENCE_S)

    opener, is_over = Opener(compile_until_the_end), threading.Event()
    first = opener(Path("old-32"))
    control.swap_bundle(Path("late-32"), by="test")
    with BundleSwapper(opener, first, None, is_over.set) as swapper:
        source = FakeSource(None, is_live=True, interval_s=0.005)
        run_stream(first.judging.engine, source, threshold=1.0, control=control, swapper=swapper)
    assert opener.engines["old"].is_closed
    assert opener.engines["late"].is_closed


def _replace(line: Path, change: Callable[[Path], object]) -> None:
    """Put a changed bundle in the place of one, as a deployment does: made beside it, then renamed."""
    beside = line.with_name("next")
    shutil.copytree(line, beside)
    change(beside)
    manifest = beside / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")  # another content hash
    line.rename(line.with_name(f"before {time.monotonic_ns()}"))
    beside.rename(line)


def _tear(root: Path) -> None:
    (root / "model.onnx").write_bytes(b"torn")


def _scale_outputs(root: Path) -> None:
    """Scores and maps a hundredth of what they were, and every hash as it should be."""
    model = onnx.load_from_string(deploy_graph())
    (second,) = (tensor for tensor in model.graph.initializer if tensor.name == "second")
    second.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(second) / np.float32(100), "second"))
    Bundle.open(root).with_graph("fp32", graph_info(), {"model.onnx": model.SerializeToString()})


def _set_threshold(root: Path) -> None:
    manifest = root / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"value": 0.5', '"value": Infinity'))


def _take_outputs_away(root: Path) -> None:
    shutil.rmtree(root)
    tiny_bundle(root, has_reference=False)


def _stream_of(line: Path, sink: ListSink, steer: Callable[[StreamControl], None], *, watched: bool = False) -> Summary:
    """A live stream that goes on until ``steer``, in a thread of its own, has ended it."""
    verification = Verification()

    def opener(path: Path) -> OpenBundle:
        return open_bundle(path, backend="onnxruntime", threads=1, verification=verification)

    first = opener(line)
    control = StreamControl(bundle=first.judging.bundle)

    def run() -> None:
        try:
            steer(control)
        finally:
            control.stop()

    steering = threading.Thread(target=run)
    steering.start()
    with BundleSwapper(opener, first, line if watched else None, verification.cancel) as swapper:
        source = FakeSource(None, is_live=True, interval_s=0.02)
        summary = run_stream(
            first.judging.engine, source, threshold=1.0, sinks=[sink], control=control, swapper=swapper
        )
    steering.join()
    return summary


def _wait_for_events(sink: ListSink, count: int) -> None:
    wait_until(lambda: len(sink.events) >= count, 2 * PATIENCE_S)


def test_watched_folder_that_is_replaced_takes_over_and_a_torn_one_is_refused(tmp_path: Path) -> None:
    line, sink = tmp_path / "line", ListSink()
    before = tiny_bundle(line)

    def deploy(_: StreamControl) -> None:
        wait_until(lambda: bool(sink.results))
        for number, change in enumerate((lambda root: None, _tear)):
            _replace(line, change)
            _wait_for_events(sink, number + 1)

    summary = _stream_of(line, sink, deploy, watched=True)
    assert [event.kind for event in sink.events] == ["bundle swapped", "bundle refused"]
    assert "SHA-256" in sink.events[1].text
    hashes = list(dict.fromkeys(result.bundle for result in sink.results))
    assert hashes == [sink.events[0].data["old"], summary.bundle]
    assert len(summary.bundle) == 64
    assert before.root == line


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_scale_outputs, "does not give the trained numbers"),
        (_set_threshold, "not a finite number"),
        (_take_outputs_away, "no recorded outputs"),
    ],
)
def test_bundle_that_would_judge_otherwise_is_refused_at_a_swap_and_at_the_start(
    tmp_path: Path, change: Callable[[Path], None], why: str
) -> None:
    line, sink = tiny_bundle(tmp_path / "line").root, ListSink()
    change(tiny_bundle(tmp_path / "other").root)

    def ask(control: StreamControl) -> None:
        control.swap_bundle(tmp_path / "other", by="test")
        _wait_for_events(sink, 1)

    summary = _stream_of(line, sink, ask)
    assert [event.kind for event in sink.events] == ["bundle refused"]
    assert why in sink.events[0].text
    assert (summary.swaps, summary.bundle) == (0, sink.events[0].data["bundle"])
    with pytest.raises(BundleError, match=why):
        open_bundle(tmp_path / "other")
