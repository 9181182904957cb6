from typing import Any

from matplotlib.colors import to_hex

from edge_ad.calibration.sensitivity import LayerSensitivity
from edge_ad.evaluation.charts import DEFECTIVE, GOOD, svg
from edge_ad.export.precision_page import render_precision_page, sensitivity_chart
from edge_ad.manifest import Manifest, SplitInfo

MANIFEST = Manifest(
    method="ear",
    parameters={},
    product="<plate> & co",
    input_size_hw=(64, 64),
    graphs={},
    split=SplitInfo(seed=0, fit=[], calibrate=[], threshold=[]),
    created="2026-01-01T00:00:00+00:00",
)
MEDIAN = {"median_ms": 5.0, "error_ms": 0.1, "runs": 24}


def document(**changes: Any) -> dict[str, Any]:
    """A report in which ``a`` went back to float and was not timed."""
    return {
        "engine": "openvino 1, CPU",
        "calibration": {"images": 8, "chosen": "8 images", "ranges": "mse"},
        "int8_layers": ["b"],
        "float_layers": {"c": "depthwise"},
        "macs": {"total": 100, "int8_share": 0.6, "layers": {"a": 30, "b": 60, "c": 10}},
        "gate": {"checks": {"pro_drop": 0.001}, "limits": {"pro_drop": 0.005}},
        "gate_images": {"good": 8, "pseudo_defects": 64},
        "fp32_on_gate_images": {"image_auroc": 0.9, "pixel_auroc": 0.8, "pro": 0.7, "score_deviation": 1.0},
        "steps": [{"returned": [], "passed": False, "failed": "pro_drop 0.2 (limit 0.005)"}],
        "returned_layers": {"a": "number 1 by noise"},
        "latency": {"machine": "CPU, 2 cores", "fp32": MEDIAN, "int8": MEDIAN, "all_int8": MEDIAN, "layers": {}},
        "sensitivity": [{"layer": name, "sqnr_db": 9.0, "score_drift": 0.5} for name in "ab"],
        **changes,
    }


def test_text_from_outside_is_escaped() -> None:
    page = render_precision_page(MANIFEST, document(returned_layers={"a": "<script>"}))
    assert "<plate>" not in page
    assert "&lt;plate&gt; &amp; co" in page
    assert "<script" not in page


def test_the_cost_of_a_layer_is_shown_with_its_spread_or_as_not_timed() -> None:
    timed = {**document()["latency"], "layers": {"a": {"cost_ms": 1.25, "error_ms": 0.1, "int8_median_ms": 3.75}}}
    assert "+1.25 ± 0.10 ms" in render_precision_page(MANIFEST, document(latency=timed))
    assert "not timed" in render_precision_page(MANIFEST, document())


def test_a_report_without_returned_layers_and_without_sensitivity_says_so() -> None:
    page = render_precision_page(MANIFEST, document(returned_layers={}, latency={}, sensitivity=[]))
    assert "nothing was lost in latency" in page
    assert "<svg" not in page


def test_more_noise_is_a_longer_bar_and_returned_layers_have_their_own_colour() -> None:
    levels = [-120.0, 0.0, 30.0, 60.0, 120.0]
    items = [LayerSensitivity(f"layer.{level}", level, 0.1) for level in levels]
    (axes,) = sensitivity_chart(items, {"layer.30.0"}).axes
    widths = [bar.get_width() for bar in axes.patches]
    assert widths[0] == widths[1] == 2 * widths[2]
    assert 0 < widths[3] == widths[4] < widths[2]
    colours = [to_hex(bar.get_facecolor()) for bar in axes.patches]
    assert colours == [GOOD, GOOD, DEFECTIVE, GOOD, GOOD]


def test_the_same_layers_give_the_same_drawing_and_their_names_are_escaped() -> None:
    items = [LayerSensitivity("a<b>&$x$", 20.0, 0.1)]
    first, second = (svg(sensitivity_chart(items, ()), "<noise>") for _ in range(2))
    assert first == second
    assert "a&lt;b&gt;&amp;$x$" in first
    assert 'aria-label="&lt;noise&gt;"' in first
