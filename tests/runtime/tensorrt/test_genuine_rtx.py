"""The genuine TensorRT for RTX without a GPU: it builds a plan, and our loader says why it does not run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_ad.bundle import Reference
from edge_ad.cli import main
from edge_ad.errors import BundleError, DeviceError
from edge_ad.manifest import Threshold
from edge_ad.runtime.cuda.device import has_gpu
from edge_ad.runtime.engine_source import EngineSource
from edge_ad.runtime.tensorrt.plan import load_plan
from tests.runtime.tiny_bundle import SIZE_HW, deploy_graph, threshold, tiny_bundle


@pytest.fixture(scope="module")
def rtx() -> Any:
    if has_gpu():
        pytest.skip("there is a GPU here, where the plan would run")
    return pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")


@pytest.fixture(scope="module")
def plan(rtx: Any) -> bytes:
    log = rtx.Logger(rtx.Logger.ERROR)
    builder = rtx.Builder(log)
    network = builder.create_network(0)
    parser = rtx.OnnxParser(network, log)
    assert parser.parse(deploy_graph())
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    profile.set_shape("image", *((batch, *SIZE_HW, 3) for batch in (1, 1, 4)))
    config.add_optimization_profile(profile)
    return bytes(builder.build_serialized_network(network, config))


def source(folder: Path, limit: Threshold) -> EngineSource:
    return EngineSource(folder / "model.onnx", "fp32", SIZE_HW, limit, folder, "1.7", "test", "edge-ad build-engine B")


def test_a_person_is_told_that_it_builds_and_does_not_run_here(
    rtx: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tiny_bundle(tmp_path / "bundle", reference=reference())
    assert main(["benchmark", str(bundle.root), "--backend", "tensorrt-rtx"]) == 3
    errors = capsys.readouterr().err.strip().splitlines()
    assert errors[0].endswith("tensorrt-rtx cannot be used: can build plans, cannot run here: no NVIDIA driver.")
    assert len(errors) == 2


def reference() -> Reference:
    images = np.zeros((1, *SIZE_HW, 3), np.uint8)
    return Reference(images, np.zeros(1, np.float32), np.zeros((1, *SIZE_HW), np.float32))


def test_a_plan_without_a_gpu_is_refused_in_tensorrts_own_words(
    rtx: Any, plan: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.plan").write_bytes(plan)
    with pytest.raises((BundleError, DeviceError), match="TensorRT") as caught:
        load_plan(rtx, source(tmp_path, threshold()), rtx.__version__)
    assert "\n" not in str(caught.value)
    assert "CUDA" in caught.value.message.upper()  # the reason is TensorRT's own
    assert capfd.readouterr() == ("", "")
