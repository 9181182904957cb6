from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from benchmarks.position_products import forms, main
from edge_ad.errors import UsageError
from tests.export.graphs import graph, run


def product(*shape: int) -> onnx.ModelProto:
    weights = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "head/MatMul")
    return graph([node], {"x": [6, "batch", 5]}, {"y": [6, "batch", 3]}, {"w": weights})


def test_both_forms_do_the_same_and_only_one_has_groups() -> None:
    model = product(6, 5, 3)
    before = model.SerializeToString()
    made = forms(model)
    kinds = {
        name: [node.op_type for node in form.graph.node if node.name == "head/MatMul"] for name, form in made.items()
    }
    assert kinds == {"products": ["MatMul"], "groups": ["Conv"]}
    assert model.SerializeToString() == before
    vectors = np.ones((6, 2, 5), np.float32)
    np.testing.assert_allclose(run(made["groups"], vectors), run(made["products"], vectors), rtol=1e-5)


def test_a_graph_without_such_a_product_is_refused() -> None:
    with pytest.raises(UsageError, match="no product by position"):
        forms(product(5, 3))


def test_what_is_no_bundle_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nothing")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
