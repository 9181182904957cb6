"""What a person sees when the GPU, its memory or a plan fails: one line and the way out, never a hang or a leak."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from edge_ad.bundle import list_engines
from edge_ad.cli import main
from edge_ad.errors import BundleError, DeviceError, UsageError
from edge_ad.runtime import build_engine, open_engine
from edge_ad.runtime.cuda.calls import CudaCallError
from edge_ad.runtime.cuda.owner_thread import OwnerThread
from edge_ad.runtime.tensorrt import engine as engine_module
from tests.runtime.tensorrt.conftest import Gpu, frames, planned_bundle
from tests.runtime.tensorrt.cuda_memory_double import CudaLaunchError, CudaMemoryError
from tests.runtime.tensorrt.graph_double import CUresult
from tests.runtime.tiny_bundle import SIZE_HW, tiny_bundle

NO_MEMORY = CudaMemoryError("cuMemAlloc failed: out of memory")


class LaunchError(CudaLaunchError, CudaCallError):
    """What TensorRT's double raises by itself is an error of either package."""


LOST = LaunchError("cuEventSynchronize failed: unspecified launch failure")


@pytest.mark.parametrize(
    ("call", "nth"),
    [
        ("create_execution_context", 0),
        ("Runtime", 0),
        *((call, nth) for call in ("mem_alloc", "pagelocked_empty", "Stream", "Event") for nth in range(3)),
    ],
)
def test_an_opening_that_runs_out_of_memory_frees_what_it_had(gpu: Gpu, tmp_path: Path, call: str, nth: int) -> None:
    gpu.cuda.fail_on(call, nth, NO_MEMORY)
    engine = gpu.engine(tmp_path)
    with pytest.raises(DeviceError, match="out of memory") as caught, engine:
        pass
    assert "\n" not in str(caught.value)
    gpu.cuda.verify()
    with engine:
        assert len(engine.infer(frames(1))) == 1
    gpu.cuda.verify()


@pytest.mark.parametrize("call", ["retain_primary_context", "push"])
def test_a_context_that_cannot_be_made_is_one_line(gpu: Gpu, tmp_path: Path, call: str) -> None:
    gpu.cuda.fail_on(call, 0, CudaLaunchError("cuDevicePrimaryCtxRetain failed: device is busy"))
    with pytest.raises(DeviceError, match="device is busy"), gpu.engine(tmp_path):
        pass
    gpu.cuda.verify()


def test_more_memory_for_a_video_than_there_is_leaves_the_engine_usable(gpu: Gpu, tmp_path: Path) -> None:
    with gpu.engine(tmp_path) as engine:
        gpu.cuda.fail_on("mem_alloc", 2, NO_MEMORY)
        with pytest.raises(DeviceError, match="too little free memory"):
            list(engine.infer_many(frames(3)[:, None]))
        assert len(engine.infer(frames(3))) == 3
        assert len(list(engine.infer_many(frames(3)[:, None]))) == 3
    gpu.cuda.verify()


@pytest.mark.parametrize(
    "call", ["memcpy_htod_async", "execute_async_v3", "record", "synchronize", "memcpy_dtoh_async", "wait_for_event"]
)
@pytest.mark.parametrize("as_video", [False, True])
def test_a_device_lost_mid_run_is_said_once_and_later_calls_refuse_at_once(
    gpu: Gpu, tmp_path: Path, call: str, as_video: bool
) -> None:
    with gpu.engine(tmp_path) as engine:
        engine.infer(frames(2))
        gpu.cuda.fail_on(call, 0, LOST)
        with pytest.raises(DeviceError, match=r"stopped working .*unspecified launch failure.*nvidia-smi") as caught:
            list(engine.infer_many(frames(4)[:, None])) if as_video else engine.infer(frames(1))
        assert caught.value.exit_code == 3
        calls = len(gpu.cuda.history)
        for _ in range(2):
            with pytest.raises(DeviceError, match="unspecified launch failure"):
                engine.infer(frames(1))
            with pytest.raises(DeviceError, match="unspecified launch failure"):
                next(engine.infer_many(frames(1)[:, None]))
        assert len(gpu.cuda.history) == calls
    assert gpu.cuda.alive() == {}
    assert gpu.cuda.retained == 0


def test_a_device_lost_in_a_graph_launch_is_said(gpu: Gpu, tmp_path: Path) -> None:
    with gpu.engine(tmp_path) as engine:
        for _ in range(3):
            engine.infer(frames(1))
        gpu.graphs.launch_result = CUresult.CUDA_ERROR_LAUNCH_FAILED
        with pytest.raises(DeviceError, match="cuGraphLaunch failed: CUDA_ERROR_LAUNCH_FAILED"):
            engine.infer(frames(1))
    gpu.cuda.verify()


def test_a_device_lost_at_the_very_end_is_said_by_the_close(gpu: Gpu, tmp_path: Path) -> None:
    engine = gpu.engine(tmp_path)
    engine.__enter__()
    engine.infer(frames(1))
    gpu.cuda.fail_on("synchronize", 0, LOST)
    with pytest.raises(DeviceError, match="unspecified launch failure"):
        engine.__exit__(None, None, None)
    assert gpu.cuda.retained == 0


def test_a_gpu_that_never_answers_is_lost_after_the_time_limit_and_closing_does_not_hang(
    gpu: Gpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_CLOSE_LOST_TIMEOUT_S", 0.2)
    engine = gpu.engine(tmp_path)
    engine._run_timeout_s = 0.2
    released = threading.Event()
    start = time.monotonic()
    with engine:
        gpu.cuda.hang = released
        with pytest.raises(DeviceError, match=r"it did not run the plan within 0\.2 s"):
            engine.infer(frames(1))
        with pytest.raises(DeviceError, match="did not run the plan"):
            engine.infer(frames(1))
    assert time.monotonic() - start < 30
    gpu.cuda.hang = None
    released.set()  # a driver that comes back finds its work: everything is freed after all
    for thread in threading.enumerate():
        if thread.name == "edge-ad-gpu":
            thread.join(60)
    gpu.cuda.verify()


def test_a_gpu_that_hangs_while_it_closes_is_said(gpu: Gpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "_CLOSE_TIMEOUT_S", 0.2)
    engine = gpu.engine(tmp_path)
    engine.__enter__()
    video = engine.infer_many(frames(4)[:, None])
    next(video)
    released = gpu.cuda.hang = threading.Event()
    with pytest.raises(DeviceError, match="did not answer while the engine was closed"):
        engine.__exit__(None, None, None)
    released.set()


def test_a_run_that_tensorrt_refuses_names_its_reason_and_the_engine_stays_usable(gpu: Gpu, tmp_path: Path) -> None:
    with gpu.engine(tmp_path) as engine:
        gpu.trt.refuses_to_run = True
        with pytest.raises(DeviceError, match=r"could not run the plan: Cuda Runtime \(invalid argument\)\."):
            engine.infer(frames(1))
        with pytest.raises(DeviceError, match="could not run the plan"):
            list(engine.infer_many(frames(3)[:, None]))
        gpu.trt.refuses_to_run = False
        assert len(list(engine.infer_many(frames(3)[:, None]))) == 3  # on slots that were half-way filled
        assert len(engine.infer(frames(3))) == 3
    gpu.cuda.verify()


def test_ctrl_c_while_it_opens_leaves_nothing(gpu: Gpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = OwnerThread._wait

    def interrupted(self: OwnerThread, done: Any, timeout_s: float, action: str) -> Any:
        if action == "load the plan":
            raise KeyboardInterrupt
        return genuine(self, done, timeout_s, action)

    monkeypatch.setattr(OwnerThread, "_wait", interrupted)
    with pytest.raises(KeyboardInterrupt), gpu.engine(tmp_path):
        pass
    gpu.cuda.verify()


def test_a_plan_for_a_dla_is_loaded_for_its_core_and_a_portable_one_with_its_own_runtime(
    gpu: Gpu, tmp_path: Path
) -> None:
    engine = gpu.engine(tmp_path, options={"dla_core": "1", "version_compatible": "true"})
    with engine:
        assert len(engine.infer(frames(1))) == 1
    assert gpu.trt.runtime_settings == {"DLA_core": 1, "engine_host_code_allowed": True}
    with gpu.engine(tmp_path / "plain"):
        assert gpu.trt.runtime_settings == {}


def test_no_execution_context_is_one_line(gpu: Gpu, tmp_path: Path) -> None:
    gpu.trt.gives_no_context = True
    with pytest.raises(DeviceError, match="could not make an execution context"), gpu.engine(tmp_path):
        pass
    gpu.cuda.verify()


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (
            {"data": b"garbage"},
            r"built by TensorRT 10\.3\.0, cannot be loaded by TensorRT 10\.3\.0 here: Serialization",
        ),
        (
            {"version": "10.1.0", "data": b'{"version": "10.1.0"}'},
            "was built by tensorrt 10.1.0, and 10.3.0 is installed",
        ),
        ({"target": "sm86"}, "was built for sm86, and this machine is sm87"),
        ({"changes": {"score": {"dtype": "HALF"}}}, "has score as DataType.HALF"),
        ({"changes": {"image": {"dtype": "FLOAT"}}}, "has image as DataType.FLOAT"),
        ({"changes": {"image": {"shape": [-1, 8, 8, 3]}}}, r"takes images of shape \[-1, 8, 8, 3\]"),
        ({"changes": {"anomaly_map": {"shape": [-1, 8, 8]}}}, r"maps of shape \(-1, 8, 8\)"),
        ({"renamed": "map"}, "gives score, map; a deploy graph"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused_with_the_rebuild_command(
    gpu: Gpu, tmp_path: Path, plan: dict[str, Any], reason: str
) -> None:
    bundle = planned_bundle(tmp_path / "bundle", **with_tensors(plan))
    with pytest.raises(BundleError, match=reason) as caught, open_engine(bundle, backend="tensorrt"):
        pass
    assert "\n" not in str(caught.value)
    assert "edge-ad" in caught.value.hint
    gpu.cuda.verify()


def with_tensors(plan: dict[str, Any]) -> dict[str, Any]:
    """A plan's properties, with the tensors of the double's plan changed as asked."""
    from tests.runtime.tensorrt.tensorrt_double import plan_bytes

    plan = dict(plan)  # the parameters are those of another run too
    changes, renamed = plan.pop("changes", {}), plan.pop("renamed", None)
    if changes or renamed:
        import json

        tensors = json.loads(plan_bytes(SIZE_HW))["tensors"]
        for name, change in changes.items():
            tensors[name].update(change)
        if renamed:
            tensors[renamed] = tensors.pop("anomaly_map")
        return {**plan, "tensors": tensors}
    return plan


def test_a_plan_changed_after_its_build_is_refused_by_its_hash(gpu: Gpu, tmp_path: Path) -> None:
    bundle = planned_bundle(tmp_path / "bundle")
    (engine,) = list_engines(bundle)
    with (engine.path / "model.plan").open("ab") as plan:
        plan.write(b"x")
    with pytest.raises(BundleError, match=r"model\.plan.*--backend tensorrt"):
        open_engine(bundle, backend="tensorrt")


def test_no_plan_at_all_names_the_command_and_nothing_is_built_in_memory(gpu: Gpu, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    with pytest.raises(
        BundleError, match=r"has no engine for tensorrt in fp32 on sm87\. Build it: edge-ad build-engine .*tensorrt"
    ):
        open_engine(bundle, backend="tensorrt")
    with pytest.raises(UsageError, match="edge-ad build-engine"):
        build_engine(bundle, backend="tensorrt")
    assert list_engines(bundle) == []


def test_a_person_sees_one_line_and_the_right_exit_code(
    gpu: Gpu, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = planned_bundle(tmp_path / "corrupt", data=b"garbage")
    assert main(["benchmark", str(bundle.root), "--backend", "tensorrt"]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    errors = [line for line in lines if not line.startswith("Measuring")]
    assert len(errors) == 2  # the error and its hint
    assert "cannot be loaded by TensorRT 10.3.0" in errors[0]
    assert "edge-ad build-engine" in errors[1]


def test_benchmark_shows_the_times_on_the_gpu(gpu: Gpu, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = planned_bundle(tmp_path / "bundle")
    assert main(["benchmark", str(bundle.root), "--seconds", "0.1"]) == 0
    assert "on the GPU: upload 2 ms, plan 5 ms, download 2 ms" in capsys.readouterr().out
    gpu.cuda.verify()
