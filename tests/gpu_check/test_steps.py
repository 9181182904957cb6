"""What each step of a GPU check does and refuses, on doubles of the GPU."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_ad.errors import DeviceError
from edge_ad.gpu_check import cuda_step, engine_step, stream_step, training_step, trtexec
from edge_ad.gpu_check.report import Check
from edge_ad.gpu_check.stand_in import expected_results
from edge_ad.gpu_check.steps import CannotRunError, Findings, Work
from edge_ad.gpu_check.training_step import check_curves
from edge_ad.runtime.cuda.device import cuda_driver
from edge_ad.runtime.tensorrt.backend import TensorRtRtxBackend
from tests.runtime.tensorrt import cuda_double
from tests.runtime.tensorrt.conftest import Gpu, gpu, planned_bundle
from tests.runtime.tensorrt.cuda_double import COMPUTE_MS
from tests.runtime.tiny_bundle import tiny_bundle

__all__ = ["gpu"]

TRTEXEC = """\
[11/29/2026-10:00:01] [I] === Performance summary ===
[11/29/2026-10:00:01] [I] Throughput: 180.5 qps
[11/29/2026-10:00:01] [I] Latency: min = 4.1 ms, max = 4.9 ms, mean = 4.4 ms, median = 4.5 ms, percentile(99%) = 4.8 ms
[11/29/2026-10:00:01] [I] Enqueue Time: min = 0.1 ms, max = 0.2 ms, mean = 0.15 ms, median = 0.15 ms
[11/29/2026-10:00:01] [I] H2D Latency: min = 0.2 ms, max = 0.4 ms, mean = 0.3 ms, median = 0.25 ms
[11/29/2026-10:00:01] [I] GPU Compute Time: min = 3.9 ms, max = 4.2 ms, mean = 4.05 ms, median = 4 ms
[11/29/2026-10:00:01] [I] D2H Latency: min = 0.1 ms, max = 0.3 ms, mean = 0.2 ms, median = 0.25 ms
"""


@pytest.fixture(autouse=True)
def copies_that_take_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in for a plan is made of copies on the device."""
    monkeypatch.setattr(cuda_double, "DEVICE_COPY_MS", 0.5)


def work_of(folder: Path) -> Work:
    return Work(folder, folder / "bundle")


def failed(findings: Findings) -> list[str]:
    return [check.name for check in findings.checks if not check.passed]


SMALL = {"frames": 9, "repeats": 1, "timed_runs": 5}


def test_cuda_is_checked_through_each_package(gpu: Gpu, tmp_path: Path) -> None:
    device, findings = cuda_step.check_device(work_of(tmp_path)), Findings()
    assert device.checks == [Check("CUDA finds a device", True, "Test GPU, compute capability 8.7")]
    assert device.facts["CUDA through"].startswith(gpu.package)
    cuda_step.check_package(cuda_driver(), findings, **SMALL)
    assert failed(findings) == []
    assert len(findings.checks) == (5 if gpu.package == "cuda-bindings" else 4)
    times = findings.facts[f"{gpu.package}: one frame, ms"]
    assert times["runs"] == 5
    assert times["uses_cuda_graph"]
    gpu.cuda.verify()


def test_other_bytes_than_expected_fail_the_step(
    gpu: Gpu,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cuda_step, "expected_results", lambda frames: expected_results(frames // 2))
    findings = Findings()
    cuda_step.check_package(cuda_driver(), findings, **SMALL)
    assert failed(findings) == [
        f"{gpu.package}: batches of 4, 4 and 1",
        f"{gpu.package}: a video, two frames at a time, in order",
    ]


def test_without_any_package_for_cuda_the_step_cannot_run(gpu: Gpu, tmp_path: Path) -> None:
    for module in ("pycuda.driver", "cuda.bindings.driver"):
        gpu.install(module, None)
    with pytest.raises(CannotRunError, match=r"pycuda is not installed\. cuda-bindings is not installed\."):
        cuda_step.check_cuda(work_of(tmp_path))


def test_a_plan_is_built_held_against_the_bundle_and_measured_beside_trtexec(
    gpu: Gpu,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    bundle = planned_bundle(tmp_path / "bundle")
    monkeypatch.setattr(engine_step, "build_engines", lambda path, **asked: list(asked["precisions"]))
    program = tmp_path / "bin" / "trtexec"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\ncase \"$1\" in --loadEngine=*model.plan) cat <<'END'\n{TRTEXEC}END\n;; *) exit 1; esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    findings = engine_step.check_tensorrt(work_of(tmp_path))
    assert failed(findings) == []
    assert [check.name for check in findings.checks] == [
        "every precision is built",
        "fp32 gives the trained numbers",
    ]
    assert findings.facts["fp32: by trtexec, ms"] == {
        "h2d_ms": 0.25,
        "compute_ms": 4.0,
        "d2h_ms": 0.25,
        "latency_ms": 4.5,
    }
    assert findings.facts["fp32: our time of the plan over theirs"] == COMPUTE_MS / 4.0
    assert bundle.root == tmp_path / "bundle"
    gpu.cuda.verify()


@pytest.mark.parametrize(("typed", "precision"), [(True, "fp16"), (False, "int8")])
def test_a_dla_is_given_what_it_takes(
    gpu: Gpu,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    typed: bool,
    precision: str,
) -> None:
    planned_bundle(tmp_path / "bundle")
    asked: dict[str, Any] = {}

    def build(path: Path, **named: Any) -> list[Any]:
        asked.update(named)
        return [SimpleNamespace(engine=SimpleNamespace(sidecar=SimpleNamespace(options={"dla_core": "0"})))]

    genuine = engine_step.open_engine
    monkeypatch.setattr(engine_step, "build_engines", build)
    monkeypatch.setattr(engine_step, "count_dla_cores", lambda backend: 2)
    monkeypatch.setattr(engine_step, "probe_capabilities", lambda backend: None)
    monkeypatch.setattr(engine_step, "is_typed_for_dla", lambda capabilities, options: typed)
    # The double's plan is of the FP32 graph.
    monkeypatch.setattr(engine_step, "open_engine", lambda bundle, **named: genuine(bundle, backend="tensorrt"))
    findings = engine_step.check_dla(work_of(tmp_path))
    assert failed(findings) == []
    assert (asked["precisions"], asked["plan"].dla_core) == ([precision], 0)
    assert findings.facts["DLA cores"] == 2


def test_a_machine_without_a_dla_cannot_run_it(
    gpu: Gpu,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(engine_step, "count_dla_cores", lambda backend: 0)
    with pytest.raises(CannotRunError, match=r"TensorRT 10\.3\.0 finds no DLA here"):
        engine_step.check_dla(work_of(tmp_path))


def test_other_numbers_than_the_bundles_fail_the_step(
    gpu: Gpu,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    planned_bundle(tmp_path / "bundle")
    monkeypatch.setattr(engine_step, "build_engines", lambda path, **asked: list(asked["precisions"]))
    monkeypatch.setattr(engine_step, "find_trtexec", lambda backend: None)
    genuine = engine_step.recorded_predictions
    monkeypatch.setattr(
        engine_step,
        "recorded_predictions",
        lambda reference: [dataclasses.replace(one, score=one.score + 500) for one in genuine(reference)],
    )
    findings = engine_step.check_tensorrt(work_of(tmp_path))
    assert failed(findings) == ["fp32 gives the trained numbers"]
    assert findings.facts["trtexec"] == "not installed"


@pytest.mark.parametrize(
    ("cpu", "cuda", "expected"),
    [
        ([1.3, 1.0, 0.9], [1.31, 1.02, 0.88], []),
        ([1.3, 1.0, 0.9], [1.4, 1.02, 0.88], ["the first epoch's loss is that of the CPU"]),
        ([1.3, 1.0, 0.9], [1.3, 1.2, 0.9], ["every epoch's loss is near that of the CPU"]),
        ([1.3, 1.3], [1.3, 1.31], ["the loss falls on CUDA"]),
        ([1.3, 1.0], [1.3], ["as many epochs on CUDA as on the CPU"]),
        ([1.3, 1.0], [1.3, float("nan")], ["every epoch's loss is near that of the CPU", "the loss falls on CUDA"]),
    ],
)
def test_loss_curves_must_begin_alike_and_fall(cpu: list[float], cuda: list[float], expected: list[str]) -> None:
    findings = Findings()
    check_curves(cpu, cuda, findings)
    assert failed(findings) == expected


class FakeTorch(SimpleNamespace):
    """torch with or without CUDA."""

    def __init__(self, cuda: str | None, *, has_device: bool) -> None:
        super().__init__(
            __version__="2.13.0",
            version=SimpleNamespace(cuda=cuda),
            cuda=SimpleNamespace(is_available=lambda: has_device),
        )


def test_the_same_is_trained_on_both_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def train(request: Any, report: Any) -> None:
        asked.append(request)
        for epoch in range(3):
            off = 0.001 if request.device == "cuda" else 0.0
            report(SimpleNamespace(losses={"l2": 1.0 / (epoch + 1) + off, "ssim": 0.5}, seconds=2.0))

    monkeypatch.setattr(training_step, "require", lambda name, extra: FakeTorch("13.0", has_device=True))
    monkeypatch.setattr(training_step, "train", train)
    monkeypatch.setattr(training_step, "render_product", lambda root, **settings: root.mkdir())
    findings = training_step.check_training(work_of(tmp_path))
    assert failed(findings) == []
    assert findings.facts["loss per epoch, CUDA"] == pytest.approx([1.501, 1.001, 0.5 + 1 / 3 + 0.001])
    first, second = asked
    assert (first.device, second.device) == ("cpu", "cuda")
    assert first.root == tmp_path  # the bundle's run
    assert (first.values, first.batch_size, first.mixed_precision) == (second.values, second.batch_size, False)


@pytest.mark.parametrize(
    ("torch", "why"),
    [
        (FakeTorch(None, has_device=False), r"torch 2\.13\.0 is built without CUDA"),
        (FakeTorch("13.0", has_device=False), "torch finds no CUDA device"),
    ],
)
def test_a_torch_without_cuda_cannot_train_on_it(monkeypatch: pytest.MonkeyPatch, torch: FakeTorch, why: str) -> None:
    monkeypatch.setattr(training_step, "require", lambda name, extra: torch)
    with pytest.raises(CannotRunError, match=why):
        training_step.check_training(Work(Path(), Path()))


def test_trtexec_is_asked_again_without_the_option_that_it_does_not_know(tmp_path: Path) -> None:
    program = tmp_path / "tensorrt_rtx"
    program.write_text(f"#!/bin/sh\ncase \"$*\" in *CudaGraph*) exit 1;; esac\ncat <<'END'\n{TRTEXEC}END\n")
    program.chmod(0o755)
    found = trtexec.measure_with_trtexec(TensorRtRtxBackend(), program, tmp_path / "model.plan", (24, 32))
    assert found["compute_ms"] == 4.0
    program.write_text("#!/bin/sh\nexit 1\n")
    assert trtexec.measure_with_trtexec(TensorRtRtxBackend(), program, tmp_path / "model.plan", (24, 32)) == {}


def test_what_trtexec_does_not_print_is_left_out() -> None:
    assert trtexec.parse_trtexec("&&&& FAILED TensorRT.trtexec") == {}


def test_a_stream_is_counted_and_held_against_the_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "bundle")
    monkeypatch.setattr(stream_step, "gpu_backends", lambda: ["openvino"])
    findings = stream_step.check_stream(work_of(tmp_path))
    assert failed(findings) == []
    assert findings.facts["streamed on"] == "openvino"
    assert findings.checks[0] == Check("every frame has one verdict", True, "120")


def test_a_stream_cannot_run_without_a_gpu_and_fails_where_nothing_opens(
    gpu: Gpu,
    tmp_path: Path,
) -> None:
    planned_bundle(tmp_path / "bundle", data=b"garbage")
    with pytest.raises(DeviceError, match="No backend opens the bundle on the GPU: tensorrt: The plan"):
        stream_step.check_stream(work_of(tmp_path))
    gpu.install("tensorrt", None)
    gpu.install("tensorrt_rtx", None)
    with pytest.raises(CannotRunError, match="No backend runs on a GPU here: tensorrt: "):
        stream_step.check_stream(work_of(tmp_path))


def test_without_a_bundle_a_step_cannot_run(tmp_path: Path) -> None:
    with pytest.raises(CannotRunError, match="There is no bundle to run"):
        engine_step.check_backend("onnxruntime", work_of(tmp_path))
