"""The page of DSR shows what was recorded."""

from benchmarks.dsr_markdown import PAGE, made, table
from benchmarks.write_tables import rewrite


def test_the_page_has_the_recorded_figures() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert rewrite(text, made()) == text, "run python -m benchmarks.dsr_markdown"


def test_a_refused_precision_is_shown_with_its_reason() -> None:
    metrics = {"image_auroc": 0.9, "pixel_auroc": 0.8, "pixel_ap": 0.75, "pro": 0.7}
    trained = [
        {"product": "plate", "method": "patch-gaussian", "cpu_seconds": 2.2, **metrics},
        {"product": "plate", "method": "dsr:textures=PHOTOS", "cpu_seconds": 155.4, **metrics},
    ]
    int8 = [
        {"product": "plate", "method": "dsr", "refused": "the gate says no"},
        {"product": "plate", "method": "patch-gaussian", "int8": {**metrics, "pro": 0.6}},
    ]
    lines = table(trained, int8).splitlines()
    assert lines[2] == "| `plate` | `dsr` | 0.900 / 0.800 / 0.750 / 0.700 | the gate says no | 155 |"
    assert (
        lines[3] == "| `plate` | `patch-gaussian` | 0.900 / 0.800 / 0.750 / 0.700 | 0.900 / 0.800 / 0.750 / 0.600 | 2 |"
    )
    assert table(trained[:1], []).splitlines()[2].endswith("| not measured | 2 |")
