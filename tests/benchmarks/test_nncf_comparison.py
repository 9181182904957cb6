"""What is handed to the environment of NNCF, and what comes back."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from benchmarks.nncf_comparison import quantise

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a script stands for the interpreter")

# Instead of quantising, names the graph after what it was given.
_INTERPRETER = f"""#!{sys.executable}
import json, sys
from pathlib import Path
import numpy as np, onnx
assert sys.argv[1].endswith("nncf_comparison.py") and sys.argv[2] == "--quantise"
folder = Path(sys.argv[3])
model = onnx.load(folder / "float.onnx")
given = [json.loads((folder / "layers.json").read_text()), list(np.load(folder / "frames.npy").shape), sys.argv[4:]]
model.graph.name = json.dumps(given)
onnx.save(model, folder / "int8.onnx")
"""


def _interpreter(folder: Path, text: str) -> Path:
    path = folder / "python"
    path.write_text(text)
    path.chmod(0o755)
    return path


def _model() -> onnx.ModelProto:
    value = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1])
    node = helper.make_node("Identity", ["image"], ["score"], "layer")
    out = helper.make_tensor_value_info("score", TensorProto.FLOAT, [1])
    return helper.make_model(helper.make_graph([node], "plain", [value], [out]))


def test_the_other_environment_gets_graph_layers_and_images(tmp_path: Path) -> None:
    python, frames = _interpreter(tmp_path, _INTERPRETER), np.zeros((2, 4, 5, 3), np.uint8)
    made = quantise(python, _model(), ["layer"], frames)
    assert json.loads(made.graph.name) == [["layer"], [2, 4, 5, 3], []]
    assert [node.name for node in made.graph.node] == ["layer"]
    exact = quantise(python, _model(), ["layer"], frames, exact_bias=True)
    assert json.loads(exact.graph.name)[2] == ["--exact-bias"]


def test_a_failure_there_is_a_failure_here(tmp_path: Path) -> None:
    python = _interpreter(tmp_path, "#!/bin/sh\necho no nncf >&2\nexit 1\n")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        quantise(python, _model(), [], np.zeros((1, 4, 4, 3), np.uint8))
    assert caught.value.stderr == "no nncf\n"
