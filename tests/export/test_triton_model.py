"""A bundle as a model of a Triton repository, read back by Triton's own schema."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from edge_ad.bundle import Bundle, EngineKey, write_engine
from edge_ad.cli import main
from edge_ad.errors import BundleError, StorageError, UsageError
from edge_ad.export.triton import TritonOptions, write_triton_model
from tests.runtime.tiny_bundle import SIZE_HW, tiny_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "plate")


def _config(model: Path) -> model_config_pb2.ModelConfig:
    return text_format.Parse((model / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def test_the_description_holds_to_the_graph(bundle: Bundle, tmp_path: Path) -> None:
    options = TritonOptions(most_images=4, longest_wait_us=100, instances=2)
    version = write_triton_model(bundle, "fp32", tmp_path / "models", options)
    assert version == tmp_path / "models" / "test" / "1"
    assert (version / "model.onnx").read_bytes() == bundle.graph_path("fp32").read_bytes()
    config = _config(version.parent)
    assert (config.name, config.platform, config.max_batch_size) == ("test", "onnxruntime_onnx", 4)
    assert [(item.name, list(item.dims)) for item in config.input] == [("image", [*SIZE_HW, 3])]
    assert [(item.name, list(item.dims)) for item in config.output] == [("score", [1]), ("anomaly_map", [*SIZE_HW])]
    assert config.output[0].HasField("reshape")
    assert not config.output[0].reshape.shape  # the graph's own has no such dimension
    assert config.dynamic_batching.max_queue_delay_microseconds == 100
    assert [group.count for group in config.instance_group] == [2]
    assert config.parameters["edge_ad.graph"].string_value == bundle.graph_sha256("fp32")


def test_a_server_warms_up_on_a_reference_photo(bundle: Bundle, tmp_path: Path) -> None:
    model = write_triton_model(bundle, "fp32", tmp_path, TritonOptions(name="m")).parent
    (warm_up,) = _config(model).model_warmup
    file = model / "warmup" / warm_up.inputs["image"].input_data_file
    shape = tuple(warm_up.inputs["image"].dims)
    image = np.frombuffer(file.read_bytes(), np.uint8).reshape(shape)
    np.testing.assert_array_equal(image, bundle.reference().images[0])


def test_a_client_finds_the_threshold_and_how_photos_are_fitted(bundle: Bundle, tmp_path: Path) -> None:
    model = write_triton_model(bundle, "fp32", tmp_path, TritonOptions(name="m")).parent
    said = json.loads((model / "edge_ad.json").read_text())
    assert said["threshold"]["value"] == bundle.graph("fp32").threshold.value
    assert (said["product"], said["input_size_hw"]) == ("test", list(SIZE_HW))
    assert said["photos"] == bundle.manifest.photos.model_dump(mode="json")


def test_only_another_graph_is_another_version(bundle: Bundle, tmp_path: Path) -> None:
    folder, options = tmp_path / "models", TritonOptions(name="m")
    other = tiny_bundle(tmp_path / "other", seed=1)
    versions = [write_triton_model(each, "fp32", folder, options).name for each in (bundle, bundle, other, other)]
    assert versions == ["1", "1", "2", "2"]
    assert _config(folder / "m").parameters["edge_ad.graph"].string_value == other.graph_sha256("fp32")


def test_a_plan_is_served_as_it_was_built(bundle: Bundle, tmp_path: Path) -> None:
    def save(folder: Path) -> dict[str, str]:
        (folder / "model.plan").write_bytes(b"plan")
        return {"max_batch": "4"}

    options = TritonOptions(name="m", backend="tensorrt", most_images=4)
    with pytest.raises(BundleError, match="no tensorrt plan"):
        write_triton_model(bundle, "fp32", tmp_path / "models", options)
    write_engine(bundle, EngineKey("tensorrt", "fp32", "sm87", "10.3.0"), save)
    version = write_triton_model(bundle, "fp32", tmp_path / "models", options)
    assert (version / "model.plan").read_bytes() == b"plan"
    assert _config(version.parent).platform == "tensorrt_plan"
    with pytest.raises(UsageError, match="up to 4 images, not 8"):
        write_triton_model(bundle, "fp32", tmp_path / "models", TritonOptions(name="m", backend="tensorrt"))
    write_engine(bundle, EngineKey("tensorrt", "fp32", "sm101", "10.3.0"), save)
    with pytest.raises(UsageError, match="There are plans for sm101, sm87"):
        write_triton_model(bundle, "fp32", tmp_path / "models", options)


def test_a_backend_that_triton_does_not_have_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no platform for openvino"):
        write_triton_model(bundle, "fp32", tmp_path / "models", TritonOptions(backend="openvino"))


def test_a_damaged_bundle_leaves_no_model(bundle: Bundle, tmp_path: Path) -> None:
    bundle.graph_path("fp32").write_bytes(b"damaged")
    with pytest.raises(BundleError):
        write_triton_model(bundle, "fp32", tmp_path / "models", TritonOptions())
    assert not (tmp_path / "models").exists()


def test_a_model_of_another_product_is_not_written_over(bundle: Bundle, tmp_path: Path) -> None:
    written = write_triton_model(bundle, "fp32", tmp_path / "models", TritonOptions(name="m")).parent
    said = json.loads((written / "edge_ad.json").read_text())
    (written / "edge_ad.json").write_text(json.dumps(said | {"product": "rod"}))
    before = {path: path.read_bytes() for path in written.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="serves rod, not test"):
        write_triton_model(bundle, "fp32", tmp_path / "models", TritonOptions(name="m"))
    assert {path: path.read_bytes() for path in written.rglob("*") if path.is_file()} == before


def test_a_repository_that_is_a_file_is_one_line(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "models").touch()
    with pytest.raises(StorageError, match="models"):
        write_triton_model(bundle, "fp32", tmp_path / "models", TritonOptions())


def test_the_command_says_how_a_stream_reaches_the_model(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(bundle.root), "--triton", str(tmp_path / "models"), "--model", "line 3"]) == 2
    assert main(["export", str(bundle.root), "--max-batch", "4"]) == 2
    capsys.readouterr()
    assert main(["export", str(bundle.root), "--triton", str(tmp_path / "models"), "--model", "line-3"]) == 0
    assert "--server grpc://HOST:8001/line-3" in capsys.readouterr().err
