"""Engines with one rule of the GPU broken: the doubles must catch each of them, or the other tests prove nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_ad.runtime.cuda.owner_thread import OwnerThread
from edge_ad.runtime.tensorrt.memory import Execution, Slot, TensorMemory
from edge_ad.runtime.tensorrt.pipeline import Pipeline
from tests.runtime.tensorrt.conftest import Gpu, frames
from tests.runtime.tensorrt.cuda_double import FakeCuda
from tests.runtime.tensorrt.cuda_memory_double import Misuse
from tests.runtime.tensorrt.cuda_stream_double import PrimaryContext, Stream
from tests.runtime.tensorrt.tensorrt_double import expected

Mutation = Callable[[pytest.MonkeyPatch], None]


def use(gpu: Gpu, folder: Path) -> None:
    """Everything an engine does, on checked results."""
    images = frames(6)
    scores, _ = expected(images)
    with gpu.engine(folder) as engine:
        for _ in range(2):
            assert [one.score for one in engine.infer(images)] == scores.tolist()
            assert [one.score for one in engine.infer_many(images[:, None])] == scores.tolist()
        for one, score in zip(engine.infer_many(images[:, None]), scores, strict=True):
            assert one.score == score
            assert [one.score for one in engine.infer(images[:3])] == scores[:3].tolist()
        assert engine.timings() is not None
    gpu.cuda.verify()


def no_wait_for_results(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Slot, "wait", lambda self: setattr(self, "batch", 0))


def waiting_for(event: str) -> Mutation:
    """Results taken after another event than the last."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        def wait(self: Slot) -> None:
            getattr(self, event).end.synchronize()
            self.batch = 0

        patch.setattr(Slot, "wait", wait)

    return mutate


def streams_that_do_not_wait(skipped: int) -> Mutation:
    """One of the two waits between the streams left out: 0 upload → compute, 1 compute → download."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        genuine, calls = Stream.wait_for_event, [0]

        def wait(self: Stream, event: Any) -> None:
            calls[0] += 1
            if (calls[0] - 1) % 2 != skipped:
                genuine(self, event)

        patch.setattr(Stream, "wait_for_event", wait)

    return mutate


def work_on_the_callers_thread(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OwnerThread, "call", lambda self, work, *, timeout_s, action: work())


def context_left_pushed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FakeCuda, "pop_context", lambda self: None)


def context_never_released(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PrimaryContext, "detach", lambda self: None)


def memory_never_freed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TensorMemory, "steps", lambda self: [])


def memory_freed_twice(patch: pytest.MonkeyPatch) -> None:
    genuine = TensorMemory.steps
    patch.setattr(TensorMemory, "steps", lambda self: genuine(self) + genuine(self))


def memory_freed_before_the_execution_context(patch: pytest.MonkeyPatch) -> None:
    genuine = Pipeline.close

    def close(self: Pipeline) -> None:
        for stream in self._streams or ():
            stream.synchronize()
        for step in self._slots[0].steps():
            step()
        self._slots = self._slots[1:]
        genuine(self)

    patch.setattr(Pipeline, "close", close)


def graph_never_destroyed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Execution, "_drop_graph", lambda self: setattr(self, "_graph", None))


def captured_at_the_first_run(patch: pytest.MonkeyPatch) -> None:
    def enqueue(self: Execution, batch: int) -> None:
        if batch != self._batch:
            self._reshape(batch)
        assert self._capture is not None
        self._graph = self._graph or self._capture.capture(self._run_plainly)
        self._graph.launch()

    patch.setattr(Execution, "enqueue", enqueue)


def reshaped_while_it_runs(patch: pytest.MonkeyPatch) -> None:
    def reshape(self: Execution, batch: int) -> None:
        self._drop_graph()
        self._context.set_input_shape("image", (batch, *self._size_hw_c))
        self._batch, self._plain_runs = batch, 0

    patch.setattr(Execution, "_reshape", reshape)


def one_slot_for_both_frames(patch: pytest.MonkeyPatch) -> None:
    genuine = Pipeline.take_slots
    patch.setattr(Pipeline, "take_slots", lambda self: genuine(self)[:1] * 2)


def one_address_too_few(patch: pytest.MonkeyPatch) -> None:
    genuine = Execution._require

    def forget(self: Execution, succeeded: bool, action: str) -> None:
        genuine(self, succeeded, action)
        if action == "bind score":
            del self._context.addresses["score"]

    patch.setattr(Execution, "_require", forget)


def a_copy_on_the_device_left_out(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TensorMemory, "copy_to", lambda self, other, batch, stream: None)


def test_the_engine_itself_passes(gpu: Gpu, tmp_path: Path) -> None:
    use(gpu, tmp_path)


@pytest.mark.parametrize(
    "mutate",
    [
        pytest.param(no_wait_for_results, id="no wait for the results"),
        pytest.param(waiting_for("h2d"), id="wait for the upload only"),
        pytest.param(waiting_for("compute"), id="wait for the kernels only"),
        pytest.param(streams_that_do_not_wait(0), id="compute does not wait for the upload"),
        pytest.param(streams_that_do_not_wait(1), id="download does not wait for the kernels"),
        pytest.param(work_on_the_callers_thread, id="work on the caller's thread"),
        pytest.param(context_left_pushed, id="context left pushed"),
        pytest.param(context_never_released, id="context never released"),
        pytest.param(memory_never_freed, id="memory never freed"),
        pytest.param(memory_freed_twice, id="memory freed twice"),
        pytest.param(memory_freed_before_the_execution_context, id="memory freed before the execution context"),
        pytest.param(graph_never_destroyed, id="graph never destroyed"),
        pytest.param(captured_at_the_first_run, id="captured at the first run"),
        pytest.param(reshaped_while_it_runs, id="reshaped while it runs"),
        pytest.param(one_slot_for_both_frames, id="one slot for both frames"),
        pytest.param(one_address_too_few, id="one address too few"),
        pytest.param(a_copy_on_the_device_left_out, id="a copy on the device left out"),
    ],
)
def test_a_broken_engine_is_caught(gpu: Gpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutate: Mutation) -> None:
    mutate(monkeypatch)
    with pytest.raises((Misuse, AssertionError)):
        use(gpu, tmp_path)
