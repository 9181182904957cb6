"""The C++ program of the documentation gives the score and the verdict that Python gives."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from tests.docs.pages import DOCS

_HEADER = "onnxruntime_cxx_api.h"
_INSTALLED = ("/usr/include/onnxruntime", "/usr/local/include/onnxruntime")
_PLACES = [Path(place) for place in (os.environ.get("EDGE_AD_ORT_HEADERS", ""), *_INSTALLED) if place]


@pytest.fixture(scope="module")
def headers() -> Path:
    found = next((place for place in _PLACES if (place / _HEADER).is_file()), None)
    if found is None or shutil.which("g++") is None:
        pytest.skip(f"needs g++ and {_HEADER}; name its folder in EDGE_AD_ORT_HEADERS")
    return found


@pytest.fixture(scope="module")
def program(headers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, with the library of the Python package."""
    folder = tmp_path_factory.mktemp("cpp")
    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*.*")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(library)
    source, out = DOCS / "reference" / "onnx_verdict.cpp", folder / "onnx_verdict"
    flags = ["-std=c++17", f"-I{headers}", f"-L{folder}", f"-Wl,-rpath,{folder}"]
    built = subprocess.run(
        ["g++", *flags, str(source), "-lonnxruntime", "-o", str(out)], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return out


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph with the inputs and outputs of a deploy graph: the map is the blue channel, the score its maximum."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Split", ["float"], ["blue", "green", "red"], axis=3, num_outputs=3),
        helper.make_node("Squeeze", ["blue", "last"], ["anomaly_map"]),
        helper.make_node("ReduceMax", ["anomaly_map", "sides"], ["score"], keepdims=0),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 4, 6, 3])
    outputs = [
        helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"]),
        helper.make_tensor_value_info("anomaly_map", TensorProto.FLOAT, ["N", 4, 6]),
    ]
    constants = [
        helper.make_tensor("last", TensorProto.INT64, [1], [3]),
        helper.make_tensor("sides", TensorProto.INT64, [2], [1, 2]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [image], outputs, constants), opset_imports=[helper.make_opsetid("", 18)]
    )
    model.ir_version = 8
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(("threshold", "verdict"), [("199.5", "NG"), ("200", "OK"), ("250", "OK")])
def test_program_judges_like_python(program: Path, graph: Path, tmp_path: Path, threshold: str, verdict: str) -> None:
    photo = np.zeros((4, 6, 3), np.uint8)
    photo[2, 3] = (200, 255, 255)
    (tmp_path / "photo.bgr").write_bytes(photo.tobytes())
    score, _ = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, {"image": photo[None]})
    command = [str(program), str(graph), str(tmp_path / "photo.bgr"), threshold]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [verdict, f"{score[0]:.6g}"]


def test_program_refuses_a_photo_of_another_size(program: Path, graph: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.bgr").write_bytes(bytes(7))
    done = subprocess.run([str(program), str(graph), str(tmp_path / "photo.bgr"), "1"], check=False)
    assert done.returncode == 2
