"""The builder against the genuine classes of TensorRT 8.6, 10.3, 10.13 and 11.4: every symbol it touches is there."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tensorrt_contract.bindings import VERSIONS, run_with_bindings

Run = Callable[[str], subprocess.CompletedProcess[str]]
Build = Callable[[str], Any]


@pytest.fixture
def build(version: str, stubs: Path, onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """What happened in a scenario; all of a version run once, in one process."""
    return lambda scenario: _scenarios(version, stubs, onnx, tmp_path_factory)[scenario]


_answers: dict[str, Any] = {}


def _scenarios(version: str, stubs: Path, onnx: Path, folders: pytest.TempPathFactory) -> Any:
    if version not in _answers:
        folder = folders.mktemp("timings")
        code = "from pathlib import Path\nfrom tests.tensorrt_contract.scenarios import main\n"
        done = run_with_bindings(version, f"{code}main(Path({str(onnx)!r}), Path({str(folder)!r}))", stubs / version)
        assert done.returncode == 0, done.stderr
        _answers[version] = json.loads(done.stdout.splitlines()[-1])
    return _answers[version]


def major(version: str) -> int:
    return int(version.split(".")[0])


def test_make_installs_the_versions_that_the_tests_ask_for() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    assert all(f"{version}=tensorrt-" in makefile for version in VERSIONS)


def test_a_factory_without_its_library_says_so(run: Run) -> None:
    done = run("import tensorrt\ntensorrt.Builder(tensorrt.Logger())")
    assert "TypeError" in done.stderr
    assert "factory function returned nullptr" in done.stderr


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_graph_carries_its_precision_where_the_version_lets_it(version: str, build: Build, precision: str) -> None:
    built = build(precision)
    assert built["plan"] == "a plan"
    permissions = {"fp32": [], "fp16": ["FP16"], "int8": ["FP16", "INT8"]}[precision]
    assert built["flags"] == (permissions if major(version) == 8 else [])
    assert built["options"]["strongly_typed"] == ("false" if major(version) == 8 else "true")
    assert (
        built["network"]
        == {
            8: ["EXPLICIT_BATCH"],
            10: ["EXPLICIT_BATCH", "STRONGLY_TYPED"],
            11: ["STRONGLY_TYPED"],
        }[major(version)]
    )


def test_fp32_is_not_computed_in_tensorfloat(build: Build) -> None:
    assert "clear_flag" in build("fp32")["calls"]
    assert "clear_flag" not in build("int8")["calls"]


def test_the_profile_goes_from_one_image_to_the_largest_batch(build: Build) -> None:
    built = build("batch")
    assert built["profile"] == [["image", [1, 24, 32, 3], [4, 24, 32, 3], [16, 24, 32, 3]]]
    assert built["options"]["max_batch"] == "16"


def test_layers_come_from_the_inspector_with_their_types_and_arithmetic(build: Build) -> None:
    (layer,) = build("fp32")["layers"]
    assert layer["inputs"] == layer["outputs"] == ["fp32"]
    assert layer["weights"] == "fp32"
    assert layer["convolutions"] == {"first": 7}


def test_progress_is_shown_where_the_version_reports_it(version: str, build: Build) -> None:
    assert ("progress_monitor" in build("fp32")["values"]) is (major(version) > 8)


def test_every_option_reaches_the_builder(build: Build) -> None:
    built = build("everything")
    assert {"set_memory_pool_limit", "create_timing_cache", "set_timing_cache"} <= set(built["calls"])
    assert "VERSION_COMPATIBLE" in built["flags"]
    assert "hardware_compatibility_level" in built["values"]


def test_the_timing_cache_of_a_build_is_read_by_the_next(build: Build) -> None:
    assert build("everything")["options"]["timing_cache"] == "new"
    assert build("again")["options"]["timing_cache"] == "read"


def test_a_level_that_came_later_is_refused_before(version: str, build: Build) -> None:
    built = build("same")
    if version in ("8.6.1", "10.3.0"):
        assert built["exit"] == 2
        assert "has no hardware compatibility 'same_compute_capability'" in built["error"]
    else:
        assert built["options"]["hardware_compatibility"] == "same_compute_capability"


def test_a_dla_takes_ranges_before_tensorrt_11(version: str, build: Build) -> None:
    built = build("dla")
    if major(version) == 11:
        assert built["exit"] == 2
        assert "takes a DLA's precision from the graph, and edge-ad builds FP16 for it, not INT8" in built["error"]
        return
    assert set(built["flags"]) == {"FP16", "INT8", "GPU_FALLBACK"}
    assert {"int8_calibrator", "default_device_type", "DLA_core"} <= set(built["values"])
    assert built["network"] == ["EXPLICIT_BATCH"]  # typed networks take no permissions
    assert built["profile"] == [["image", *[[1, 24, 32, 3]] * 3]]
    assert built["parser flags"] == []


def test_a_dla_takes_a_typed_fp16_graph_from_tensorrt_11_on(version: str, build: Build) -> None:
    built = build("dla fp16")
    assert {"default_device_type", "DLA_core"} <= set(built["values"])
    assert "int8_calibrator" not in built["values"]
    assert built["profile"] == [["image", *[[1, 24, 32, 3]] * 3]]
    assert built["options"]["dla_core"] == "1"
    if major(version) == 11:
        assert built["flags"] == ["GPU_FALLBACK"]
        assert built["network"] == ["STRONGLY_TYPED"]
        assert built["options"]["strongly_typed"] == "true"
        assert built["parser flags"] == ["ADJUST_FOR_DLA"]
    else:
        assert set(built["flags"]) == {"FP16", "GPU_FALLBACK"}
        assert built["parser flags"] == []


def test_a_machine_without_that_dla_core_is_refused_before_anything_is_parsed(version: str, build: Build) -> None:
    built = build("no dla")
    assert built["exit"] == 3
    assert "finds 0 DLA cores here, and no core 0" in built["error"]
    assert built["network"] == []


def test_the_cache_calibrator_gives_the_cache_and_no_images(version: str, run_json: Callable[[str], Any]) -> None:
    if major(version) == 11:
        pytest.skip("TensorRT 11 has no calibrators")
    code = """
import json, tensorrt
from edge_ad.export.tensorrt.dla import make_calibrator
calibrator = make_calibrator(tensorrt, b"TRT-8601-EntropyCalibration2\\n")
assert isinstance(calibrator, tensorrt.IInt8EntropyCalibrator2)
print(json.dumps([calibrator.get_batch_size(), calibrator.get_batch([]), calibrator.read_calibration_cache().decode()]))
"""
    assert run_json(code) == [1, None, "TRT-8601-EntropyCalibration2\n"]


def test_a_parser_error_names_its_node(version: str, build: Build) -> None:
    built = build("unparsable")
    assert built["exit"] == 1
    named = "node 'head' (Foo): no such operator" if major(version) > 8 else "node 3: no such operator"
    assert named in built["error"]


def test_a_symbol_that_a_version_lacks_fails_with_its_name(version: str, run: Run) -> None:
    code = """
from tests.tensorrt_contract.builder_doubles import install
from tests.tensorrt_contract.spec_double import assert_nothing_missing
import sys
world = install()
trt = sys.modules["tensorrt"]
config = trt.Builder(trt.Logger()).create_builder_config()
try:
    config.int8_calibrator = None
    config.set_flag(trt.BuilderFlag.INT8)
except Exception:
    pass  # code that swallows the error is found as well
assert_nothing_missing()
"""
    done = run(code)
    if major(version) == 11:
        assert done.returncode != 0
        assert "TensorRT 11.4.0.106 has no IBuilderConfig.int8_calibrator" in done.stderr
    else:
        assert done.returncode == 0, done.stderr


def test_a_call_that_no_signature_takes_fails(run: Run) -> None:
    code = """
from tests.tensorrt_contract.builder_doubles import install
world = install()
world.config.set_timing_cache(None, ignore=True)
"""
    done = run(code)
    assert "IBuilderConfig.set_timing_cache does not take this call" in done.stderr
