"""Real plans of every shipped method, compiled without a GPU, and what TensorRT lists of them."""

from collections.abc import Callable

import pytest

from edge_ad.bundle.plan_layers import PlanLayer, convolution_share
from edge_ad.export.tensorrt.builder import BuiltPlan, build_plan
from edge_ad.export.tensorrt.listing import convolution_macs
from edge_ad.export.tensorrt.config import PlanOptions
from edge_ad.export.tensorrt.qdq_check import check_qdq
from edge_ad.manifest import Precision
from tests.export.tensorrt.conftest import Graphs

pytestmark = pytest.mark.usefixtures("rtx")

METHODS = ["patch-gaussian", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ear", "fader"))]
ALL_TARGETS = ("sm86", "sm89", "sm120")

MakeGraphs = Callable[[str], Graphs]


def build(graphs: Graphs, name: str, targets: tuple[str, ...]) -> BuiltPlan:
    precision: Precision = "fp32" if name == "fp32" else "fp16" if name == "fp16" else "int8"
    model = graphs.models[name]
    check_qdq(model)
    macs = convolution_macs(model)
    return build_plan(graphs.folder / f"{name}.onnx", "tensorrt-rtx", precision, PlanOptions(targets), macs=macs)


def int8_part(layers: list[PlanLayer], meant: set[str]) -> float:
    """Share of the arithmetic of the convolutions that were given Q/DQ that is INT8 in the plan."""
    int8 = sum(macs for x in layers if x.is_int8 for name, macs in x.convolutions.items() if name in meant)
    return int8 / sum(macs for x in layers for name, macs in x.convolutions.items() if name in meant)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["fp32", "fp16", "int8", "mixed"])
def test_every_precision_of_a_method_becomes_one_plan_for_three_gpus(
    graphs: MakeGraphs, method: str, name: str
) -> None:
    made = graphs(method)
    built = build(made, name, ALL_TARGETS)
    assert len(built.plan) > 100_000
    assert built.options["compute_capabilities"] == "sm86 sm89 sm120"
    placed = [node for layer in built.layers if layer.type != "not listed" for node in layer.convolutions]
    assert sorted(placed) == sorted(convolution_macs(made.models[name]))  # each convolution in one layer
    share = convolution_share(built.layers)
    if name in made.quantised:
        meant = set(made.quantised[name]) & set(placed)
        assert int8_part(built.layers, meant) >= 0.95
        assert set(share.floats) >= set(placed) - meant  # what nobody quantised is named as what it is
    else:
        assert share.int8 == 0.0


@pytest.mark.parametrize("name", ["fp16", "int8"])
@pytest.mark.parametrize(
    "method",
    [
        "patch-metric",
        "patch-nearest",
        "simplenet",
        "supersimplenet",
        "pbas",
        "boundary-shuffling",
        "draem",
        "dsr",
        "cutpaste",
        "reverse-distillation",
        "gnl",
        "fico",
        "msflow",
    ],
)
def test_a_learned_boundary_becomes_a_plan(graphs: MakeGraphs, method: str, name: str) -> None:
    made = graphs(method)
    built = build(made, name, ("sm89",))
    types = {layer.weights for layer in built.layers if layer.macs}
    assert name in types
    if name == "int8":
        meant = set(made.quantised["int8"]) & set(convolution_macs(made.models["int8"]))
        assert int8_part(built.layers, meant) >= 0.95


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", ALL_TARGETS)
def test_convolutions_meant_to_be_int8_are_int8_on_each_gpu(graphs: MakeGraphs, method: str, target: str) -> None:
    made = graphs(method)
    built = build(made, "int8", (target,))
    meant = set(made.quantised["int8"]) & set(convolution_macs(made.models["int8"]))
    assert int8_part(built.layers, meant) >= 0.95
    assert built.options["compute_capabilities"] == target


def test_half_precision_convolutions_are_half_precision(graphs: MakeGraphs) -> None:
    built = build(graphs("patch-gaussian"), "fp16", ("sm89",))
    half = sum(layer.macs for layer in built.layers if layer.weights == "fp16" and "fp16" in layer.inputs)
    assert half / convolution_share(built.layers).macs > 0.8


def test_a_build_lists_the_same_layers_every_time(graphs: MakeGraphs) -> None:
    first, second = (build(graphs("patch-gaussian"), "int8", ("sm89",)) for _ in range(2))
    assert len(first.plan) == pytest.approx(len(second.plan), abs=64)  # the bytes differ in a few places
    assert first.layers == second.layers
