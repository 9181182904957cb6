"""From a bundle to an engine directory with a plan, and what stands in the way."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_ad.bundle import Bundle, EngineKey, find_engine, list_engines, write_engine
from edge_ad.bundle.engines import fits
from edge_ad.bundle.plan_layers import read_layers
from edge_ad.calibration.qdq import insert_qdq, quantisable_layers
from edge_ad.export.tensorrt.calibration_cache import LEVELS, read_cache
from edge_ad.cli import main
from edge_ad.errors import BundleError, DeviceError, MissingDependencyError, StorageError, UsageError
from edge_ad.export.build import build_engines
from edge_ad.export.tensorrt.builder import BuiltPlan, build_plan
from edge_ad.export.tensorrt.capabilities import probe_capabilities
from edge_ad.export.tensorrt.listing import convolution_macs
from edge_ad.export.tensorrt.dla import activation_ranges, ranges_for_dla
from edge_ad.export.tensorrt.engine import build_tensorrt_engine, plan_key
from edge_ad.export.tensorrt.config import PlanOptions, parse_targets
from tests.cli.conftest import bundle as blue_bundle  # noqa: F401  has reference photos
from tests.runtime.tiny_bundle import deploy_graph, graph_info, tiny_bundle

TWO = PlanOptions(("sm86", "sm89"))


def test_a_plan_a_list_of_its_layers_and_a_sidecar_are_written(rtx: str, bundle: Bundle) -> None:
    (built,) = build_engines(bundle.root, backend="tensorrt-rtx", plan=TWO)
    folder = bundle.root / "engines" / "tensorrt-rtx-fp32-sm86+sm89"
    assert built.engine.path == folder
    assert {path.name for path in folder.iterdir()} == {"model.plan", "layers.json", "engine.json"}
    sidecar = built.engine.sidecar
    assert (sidecar.backend, sidecar.target, sidecar.backend_version) == ("tensorrt-rtx", "sm86+sm89", rtx)
    assert sidecar.onnx_sha256 == bundle.graph_sha256("fp32")
    assert sidecar.options["strongly_typed"] == "true"
    assert (sidecar.options["min_batch"], sidecar.options["max_batch"]) == ("1", "8")
    assert sum(layer.macs for layer in read_layers(folder)) == 24 * 32 * 9 * (3 * 16 + 16)


@pytest.mark.usefixtures("rtx")
def test_the_engine_fits_either_gpu_and_no_other(bundle: Bundle) -> None:
    (built,) = build_engines(bundle.root, backend="tensorrt-rtx", plan=TWO)
    version = built.engine.sidecar.backend_version
    for target in ("sm86", "sm89"):
        assert find_engine(bundle, EngineKey("tensorrt-rtx", "fp32", target, version)) is not None
    with pytest.raises(BundleError, match=r"was built for sm86\+sm89, and this machine is sm120"):
        find_engine(bundle, EngineKey("tensorrt-rtx", "fp32", "sm120", version))


@pytest.mark.parametrize(
    ("compatible", "version", "opens"),
    [
        ("true", "10.13.3", True),
        ("true", "11.4.0", True),
        ("true", "8.6.1", False),
        ("false", "10.13.3", False),
        ("false", "10.3.9", True),
    ],
)
def test_a_plan_opens_in_its_own_version_and_a_version_compatible_one_in_later_ones(
    bundle: Bundle, compatible: str, version: str, opens: bool
) -> None:
    def save(folder: Path) -> dict[str, str]:
        (folder / "model.plan").write_bytes(b"plan")
        return {"version_compatible": compatible}

    key = EngineKey("tensorrt", "fp32", "sm87", "10.3.0")
    write_engine(bundle, key, save)
    if opens:
        assert find_engine(bundle, replace(key, version=version)) is not None
    else:
        with pytest.raises(BundleError, match=r"was built by tensorrt 10\.3\.0"):
            find_engine(bundle, replace(key, version=version))


@pytest.mark.parametrize(
    ("built_for", "machine", "answer"),
    [
        ("x86_64-amx", "x86_64-amx", True),
        ("x86_64-amx", "x86_64-avx2", False),
        ("sm86", "sm86", True),
        ("sm86+sm89", "sm89", True),
        ("sm86+sm89", "sm8", False),
        ("sm80plus", "sm87", True),
        ("sm80plus", "sm120", True),
        ("sm80plus", "sm75", False),
        ("sm80plus", "x86_64-amx", False),
    ],
)
def test_an_engine_runs_on_the_targets_it_names(built_for: str, machine: str, answer: bool) -> None:
    assert fits(built_for, machine) is answer


@pytest.mark.usefixtures("rtx")
def test_an_unchanged_plan_is_not_built_again_and_other_options_build_it_anew(bundle: Bundle) -> None:
    def build(options: PlanOptions) -> bool:
        return build_engines(bundle.root, backend="tensorrt-rtx", plan=options)[0].was_current

    assert not build(TWO)
    assert build(TWO)
    assert not build(replace(TWO, max_batch=2))
    assert not build(replace(TWO, targets=("sm86",), max_batch=2))  # one GPU alone is another engine
    assert len(list_engines(bundle)) == 2


@pytest.mark.usefixtures("rtx")
def test_weights_in_a_file_beside_the_graph_are_found(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = onnx.load_from_string(deploy_graph())
    onnx.save(model, str(path), save_as_external_data=True, location="weights", size_threshold=0)
    assert (tmp_path / "weights").stat().st_size > 1000
    built = build_plan(
        path, "tensorrt-rtx", "fp32", PlanOptions(("sm89",)), macs=convolution_macs(onnx.load(str(path)))
    )
    assert built.plan


def test_targets_are_read_in_every_way_people_write_them() -> None:
    assert parse_targets(["sm89,sm86", "8.9", "SM120"]) == ("sm86", "sm89", "sm120")
    assert parse_targets([]) == ()
    for text in ("rtx", "sm", "sm1234", "8.x"):
        with pytest.raises(UsageError, match="no GPU target"):
            parse_targets([text])


@pytest.mark.parametrize("options", [{"max_batch": 0}, {"opt_batch": 9}, {"workspace_mib": -1}])
def test_options_that_make_no_sense_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        PlanOptions(**options)


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize(
    ("options", "words", "hint"),
    [
        (
            PlanOptions(("sm87",)),
            "does not build for sm87; it builds for sm75",
            "--backend tensorrt, which a Jetson needs",
        ),
        (PlanOptions(("sm90", "sm89")), "does not build for sm90;", "--backend tensorrt"),
        (PlanOptions(("sm89",), dla_core=0), "builds for no DLA", "Jetson Orin"),
        (PlanOptions(("sm89",), version_compatible=True), "no version-compatible plans", "--version-compatible"),
        (PlanOptions(("sm89",), hardware_compatibility="ampere_plus"), "no hardware compatibility", "several targets"),
    ],
)
def test_what_this_tensorrt_cannot_build_is_refused_with_the_way_out(
    bundle: Bundle, options: PlanOptions, words: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        build_engines(bundle.root, backend="tensorrt-rtx", plan=options)
    assert hint in caught.value.hint
    assert not (bundle.root / "engines").exists()


@pytest.mark.usefixtures("rtx")
def test_a_gpu_that_cannot_run_the_graph_gets_tensorrts_own_reason(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = [
        onnx.helper.make_node("Cast", ["image"], ["pixels"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("ReduceMean", ["pixels"], ["grey"], axes=[3], keepdims=0),
        onnx.helper.make_node("MatMul", ["grey", "w"], ["anomaly_map"], "product"),
        onnx.helper.make_node("ReduceMax", ["anomaly_map"], ["score"], axes=[1, 2], keepdims=0),
    ]
    model = onnx.load_from_string(deploy_graph())
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.opset_import[0].version = 17
    weight = np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    path = tmp_path / "product.onnx"
    onnx.save(model, str(path))
    with pytest.raises(DeviceError, match=r"'product' for Turing \(SM75\): FP32 GEMM is not supported") as caught:
        build_plan(path, "tensorrt-rtx", "fp32", PlanOptions(("sm75",)), macs={})
    assert "\n" not in caught.value.message


@pytest.mark.usefixtures("rtx")
def test_a_node_that_tensorrt_does_not_know_is_named(tmp_path: Path) -> None:
    model = onnx.load_from_string(deploy_graph())
    model.graph.node[3].op_type = "Foo"
    model.graph.node[3].name = "first"
    path = tmp_path / "foo.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match=r"cannot parse .*foo\.onnx: .*'first' \(Foo\)"):
        build_plan(path, "tensorrt-rtx", "fp32", PlanOptions(("sm89",)), macs={})


@pytest.mark.usefixtures("rtx")
def test_a_graph_with_other_outputs_is_no_deploy_graph(tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(deploy_graph(output="map_of_anomalies"))
    with pytest.raises(BundleError, match="gives score and anomaly_map"):
        build_plan(path, "tensorrt-rtx", "fp32", PlanOptions(("sm89",)), macs={})


@pytest.mark.usefixtures("rtx")
def test_a_corrupt_graph_is_one_clear_line_and_leaves_nothing(bundle: Bundle) -> None:
    key = plan_key("tensorrt-rtx", "fp32", TWO)
    bundle = bundle.with_files({"model.onnx": bundle.graph_bytes("fp32")[:200]})
    with pytest.raises(BundleError, match=r"model\.onnx is not an ONNX graph") as caught:
        build_tensorrt_engine(bundle, key, TWO)
    assert "\n" not in caught.value.message
    assert not (bundle.root / "engines").exists()


def test_an_asymmetric_graph_is_refused_before_a_builder_sees_it(
    rtx: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tiny_bundle(tmp_path / "bundle", {"fp32": graph_info()})
    model = _quantised(bundle)
    zero = next(x for x in model.graph.initializer if x.name.endswith("active.zero_point"))
    zero.CopyFrom(onnx.numpy_helper.from_array(np.array(7, np.int8), zero.name))
    bundle = bundle.with_graph("int8", graph_info("model.int8.onnx"), {"model.int8.onnx": model.SerializeToString()})
    monkeypatch.setattr("edge_ad.export.tensorrt.builder.build_plan", lambda *a, **k: pytest.fail("a builder saw it"))
    with pytest.raises(BundleError, match=r"model\.int8\.onnx .* has the zero point 7, not 0"):
        build_engines(bundle.root, backend="tensorrt-rtx", precisions=("int8",), plan=TWO)


def test_a_missing_package_names_the_command_that_installs_it(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(MissingDependencyError) as caught:
        build_engines(bundle.root, backend="tensorrt-rtx", plan=TWO)
    assert "pip install" in caught.value.hint
    assert "tensorrt-rtx-cu13" in caught.value.hint
    assert main(["build-engine", str(bundle.root), "--backend", "tensorrt-rtx", "--target", "sm89"]) == 3


def test_full_tensorrt_without_it_or_without_a_gpu_ends_with_3(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    if main(["build-engine", str(bundle.root), "--backend", "tensorrt"]) == 0:
        pytest.skip("TensorRT and a GPU are here")
    assert main(["build-engine", str(bundle.root), "--backend", "tensorrt"]) == 3
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("hint: ")
    assert not (bundle.root / "engines").exists()


@pytest.mark.usefixtures("rtx")
def test_without_a_gpu_and_a_target_the_way_out_is_to_name_one(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_gpu() -> str:
        raise DeviceError("No NVIDIA GPU can be used.", "Run: nvidia-smi")

    monkeypatch.setattr("edge_ad.export.tensorrt.engine.device_target", no_gpu)
    with pytest.raises(DeviceError) as caught:
        build_engines(bundle.root, backend="tensorrt-rtx")
    assert "--target sm86,sm89" in caught.value.hint


def test_other_backends_have_no_such_options(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="has none of TensorRT's options"):
        build_engines(bundle.root, backend="onnxruntime", plan=TWO)


@pytest.mark.usefixtures("rtx")
def test_a_full_disk_is_a_storage_error_and_leaves_no_engine(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    engines = bundle.root / "engines"
    engines.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(engines)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs here: {mounted.stderr.decode().strip()}")
    try:
        with pytest.raises(StorageError, match="disk is full"):
            build_engines(bundle.root, backend="tensorrt-rtx", plan=TWO)
        assert list(engines.iterdir()) == []
    finally:
        subprocess.run(["umount", str(engines)], check=True)


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize(("typed", "graph"), [(True, "model.fp16.onnx"), (False, "model.onnx")])
def test_a_dla_is_given_the_fp16_graph_where_it_takes_typed_networks(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, typed: bool, graph: str
) -> None:
    capabilities = replace(
        probe_capabilities("tensorrt-rtx"), compute_capabilities=(), dla=True, dla_typed=typed, calibrator=not typed
    )
    given: dict[str, object] = {}

    def build(onnx: Path, *arguments: object, calibration_cache: bytes, **named: object) -> BuiltPlan:
        given.update(graph=onnx.name, ranges=calibration_cache)
        return BuiltPlan(b"a plan", [], {}, 1.0)

    monkeypatch.setattr("edge_ad.export.tensorrt.engine.probe_capabilities", lambda backend: capabilities)
    monkeypatch.setattr("edge_ad.export.tensorrt.engine.device_target", lambda: "sm87")
    monkeypatch.setattr("edge_ad.export.tensorrt.builder.build_plan", build)
    bundle = bundle.with_graph("fp16", graph_info("model.fp16.onnx"), {"model.fp16.onnx": bundle.graph_bytes("fp32")})
    options = PlanOptions(dla_core=0)
    build_tensorrt_engine(bundle, plan_key("tensorrt-rtx", "fp16", options), options)
    assert given == {"graph": graph, "ranges": b""}
    if typed:
        with pytest.raises(UsageError, match="edge-ad builds FP16 for it, not INT8"):
            plan_key("tensorrt-rtx", "int8", options)


def test_ranges_for_a_dla_cover_every_float_tensor_and_keep_those_that_were_calibrated(
    blue_bundle: Bundle,  # noqa: F811
) -> None:
    model = onnx.load(str(blue_bundle.graph_path("fp32")))
    pixels = blue_bundle.reference().images
    quantised = onnx.load(str(blue_bundle.graph_path("fp32")))
    quantised.graph.node.append(onnx.helper.make_node("QuantizeLinear", ["channel", "s", "z"], ["levels"], "q"))
    quantised.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0.5, np.float32), "s"))
    bundle = blue_bundle.with_graph(
        "int8", graph_info("model.int8.onnx"), {"model.int8.onnx": quantised.SerializeToString()}
    )
    cache = read_cache(ranges_for_dla(bundle, model, "10.3.0"))
    assert cache.version == 100300
    assert set(cache.scales) == {"pixels", "channel", "anomaly_map", "score"}
    assert cache.scales["channel"] == 0.5
    assert cache.scales["pixels"] * LEVELS == pytest.approx(float(pixels.max()), rel=0.05)


def test_ranges_of_a_quantised_graph_are_read_from_its_scales(bundle: Bundle) -> None:
    assert activation_ranges(_quantised(bundle)) == pytest.approx({"unit": 3.0, "active": 3.0})


@pytest.mark.usefixtures("rtx")
def test_inspect_shows_the_types_of_a_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    model = _quantised(bundle, layers=1)
    bundle = bundle.with_graph("int8", graph_info("model.int8.onnx"), {"model.int8.onnx": model.SerializeToString()})
    build = [
        "build-engine",
        str(bundle.root),
        "--backend",
        "tensorrt-rtx",
        "--precision",
        "int8",
        "--target",
        "sm86,sm89",
    ]
    assert main([*build, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["target"] == "sm86+sm89"
    assert main(["inspect", str(bundle.root)]) == 0
    shown = capsys.readouterr().out
    assert "Plan tensorrt-rtx-int8-sm86+sm89" in shown
    assert "convolution not in INT8" in shown
    assert main(["inspect", str(bundle.root), "--layers", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["engines"][0]["plan"]
    assert plan["int8_share"] == pytest.approx(3 / 4)  # 3 x 16 channels of the first, 16 of the second
    assert list(plan["not_int8"]) == ["second"]
    assert len(plan["layer_list"]) == plan["layers"]


def _quantised(bundle: Bundle, layers: int = 2) -> onnx.ModelProto:
    model = onnx.load(str(bundle.graph_path("fp32")))
    for node, name in zip(
        [node for node in model.graph.node if node.op_type == "Conv"], ("first", "second"), strict=True
    ):
        node.name = name
    inputs = {node.name: node.input[0] for node in quantisable_layers(model)}
    chosen = list(inputs)[:layers]
    return insert_qdq(model, chosen, {inputs[name]: 3.0 for name in chosen})
