"""The tables of benchmarks/notes/discriminators.md and the recorded rows they come from."""

from benchmarks.discriminator_markdown import (
    DOCUMENT,
    TABLES,
    accuracy_table,
    engine_table,
    latency_table,
    read_rows,
    rewrite,
)

ROW = {
    "method": "pbas",
    "image_auroc": 0.9,
    "pixel_auroc": 0.8,
    "pixel_ap": 0.5,
    "pro": 0.7,
    "held_out": 0.6,
    "unseen": 0.5,
}


def test_the_page_shows_the_recorded_rows() -> None:
    page = DOCUMENT.read_text(encoding="utf-8")
    assert rewrite(page) == page, "run python -m benchmarks.discriminator_markdown"
    for name, (file, table) in TABLES.items():
        assert f"<!-- {name} -->\n{table(read_rows(file))}<!-- end of {name} -->" in page


def test_a_mean_is_given_only_over_as_many_products_as_the_most_have() -> None:
    rows = [{**ROW, "product": "a", "seed": seed, "image_auroc": 0.8 + seed / 10} for seed in (0, 1)]
    rows += [{**ROW, "product": "b", "seed": 0}, {**ROW, "product": "a", "method": "simplenet", "seed": 0}]
    table = accuracy_table(rows)
    assert "| a | pbas | 2 | 0.850 ± 0.071 |" in table
    assert "| mean of 2 | pbas |  | 0.875 |" in table
    assert "| mean of 2 | simplenet" not in table


def test_an_engine_is_told_as_a_mean_difference_and_its_largest_and_a_refusal_as_one() -> None:
    figures = {"image_auroc": 0.9, "pixel_auroc": 0.8, "pixel_ap": 0.5, "pro": 0.7}
    made = {"product": "a", "method": "pbas", "precision": "int8", "fp32": figures}
    rows = [made | {"seed": seed, "int8": {**figures, "image_auroc": 0.9 - seed / 100}} for seed in (0, 1)]
    table = engine_table([*rows, {"product": "b", "method": "pbas", "seed": 0, "refused": "error: no"}])
    assert "| a | pbas | 2 | -0.0050 | +0.0000 | +0.0000 | +0.0000 | -0.0100 |" in table
    assert "| b | pbas | 0 | refused by the gate |" in table


def test_latency_rows_have_both_sides_of_the_ratio() -> None:
    times = {"engine_ms": 5.0, "end_to_end_ms": 6.0, "torch_ms": 30.0}
    row = {"method": "pbas", "precision": "int8", **times, "ratio": 5.0, "ratio_per_round": [5.0, 4.0, 6.0]}
    table = latency_table([row | {"engine_ms": 7.0, "ratio": 4.5}, row, row | {"engine_ms": 9.0, "ratio": 5.5}])
    assert table.count("pbas") == 1
    assert "| pbas | int8 | 5.0 | 6.0 | 30.0 | 5.00 × | 4.0–6.0 | 3: 4.50–5.50 |" in table
