"""The table of docs/results/default_method.md and the recorded rows it comes from."""

from benchmarks.default_method_markdown import PAGE, made, table
from benchmarks.write_tables import rewrite


def test_the_page_shows_the_recorded_rows() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count("<!-- table: ") == 2
    assert rewrite(text, made()) == text, "run python -m benchmarks.default_method_markdown"


def test_seeds_and_products_are_averaged_and_a_mean_of_some_products_is_none() -> None:
    def row(product: str, method: str, value: float) -> dict[str, object]:
        return {"product": product, "method": method, "image_auroc": value, "pixel_auroc": 0.5, "pro": 0.25}

    rows = [row("a", "x", 0.9), row("a", "x", 0.7), row("b", "x", 1.0), row("a", "y", 0.6)]
    times = [{"method": "x", "ratio": 1.0}, {"method": "x", "ratio": 0.5, "precision": "int8"}]
    lines = table(rows, times).splitlines()
    assert lines[0].endswith("| mean | CPU time, FP32 | CPU time, INT8 |")
    assert lines[2] == "| `x` | 0.800 / 0.500 / 0.250 | 1.000 / 0.500 / 0.250 | 0.900 / 0.500 / 0.250 | 1.00 | 0.50 |"
    assert lines[3] == "| `y` | 0.600 / 0.500 / 0.250 | – | – | – | – |"
