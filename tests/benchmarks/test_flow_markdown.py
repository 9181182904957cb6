"""The tables of docs/results/flows.md and the recorded rows they come from."""

from benchmarks.flow_markdown import PAGE, made, table
from benchmarks.write_tables import rewrite


def test_the_page_shows_the_recorded_rows() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count("<!-- table: flows") == 2
    assert rewrite(text, made()) == text, "run python -m benchmarks.flow_markdown"


def test_a_precision_that_was_refused_has_no_figures() -> None:
    metrics = {"image_auroc": 0.9, "pixel_auroc": 0.8, "pixel_ap": 0.5, "pro": 0.7}
    refused = {"product": "a", "method": "msflow", "seed": 1, "fp32": metrics, "refused": "error: INT8 fails."}
    passed = {
        "product": "a",
        "method": "patch-gaussian",
        "seed": 0,
        "fp32": metrics,
        "int8": metrics,
        "int8_layers": 9,
        "returned": 2,
    }
    lines = table([refused, passed]).splitlines()
    assert lines[2] == "| `a` | `patch-gaussian` | 0 | 0.900 / 0.800 / 0.700 | 0.900 / 0.800 / 0.700 | 9 of 11 |"
    assert lines[3] == "| `a` | `msflow` | 1 | 0.900 / 0.800 / 0.700 | refused by the gate | – |"
