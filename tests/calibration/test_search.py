from collections.abc import Collection, Sequence

import pytest
from onnx import ModelProto, helper

from edge_ad.calibration.sensitivity import MixedPrecision, search_mixed_precision
from edge_ad.errors import QualityGateError
from edge_ad.manifest import GateReport

LAYERS = [f"layer.{index}" for index in range(20)]


def quantise(layers: Collection[str]) -> ModelProto:
    return helper.make_model(helper.make_graph([], ",".join(layers), [], []))


def search(needed: int, *, ranked: Sequence[str] | None = None) -> MixedPrecision:
    """A gate that passes when at least ``needed`` layers are in float."""

    def judge(graph: ModelProto, quantised: int, returned: Sequence[str]) -> GateReport:
        assert graph.graph.name.split(",") == [layer for layer in LAYERS if layer not in returned]
        assert quantised == len(LAYERS) - len(returned)
        return GateReport(
            passed=len(returned) >= needed,
            checks={"pixel_auroc_drop": 1.0 / (1 + len(returned))},
            limits={"pixel_auroc_drop": 1.0 / (1 + needed)},
            float_layers=list(returned),
        )

    def rank() -> Sequence[str]:
        if ranked is None:
            pytest.fail("the layers were ranked although the gate passed")
        return ranked

    return search_mixed_precision(LAYERS, quantise, judge, rank)


def test_a_gate_that_passes_at_once_needs_no_ranking() -> None:
    found = search(0)
    assert (found.layers, found.returned, len(found.steps)) == (tuple(LAYERS), (), 1)


@pytest.mark.parametrize("needed", range(1, 20))
def test_as_few_layers_go_back_as_are_needed_the_most_sensitive_first(needed: int) -> None:
    ranked = LAYERS[::-1]
    found = search(needed, ranked=ranked)
    assert found.returned == tuple(ranked[:needed])
    assert found.layers == tuple(layer for layer in LAYERS if layer not in ranked[:needed])
    assert found.graph.graph.name.split(",") == list(found.layers)
    assert found.report.float_layers == ranked[:needed]
    assert found.report.passed
    assert len(found.steps) <= 10


def test_a_gate_that_nothing_passes_says_what_failed_last() -> None:
    with pytest.raises(QualityGateError, match=r"pixel_auroc_drop 0\.0500 \(limit 0\.047619\)"):
        search(20, ranked=LAYERS)
