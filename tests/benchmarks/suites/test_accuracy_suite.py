"""One row of the suite of methods, measured for real."""

from pathlib import Path

from benchmarks.report.rows import AccuracyRow
from benchmarks.suites.accuracy_suite import measure
from edge_ad.data.sample_product import render_product
from edge_ad.training.runs import load_run


def test_a_row_is_of_the_run_that_is_kept(tmp_path: Path) -> None:
    render_product(tmp_path / "parts", good=10, test_good=2, defects_per_kind=1, size_hw=(64, 64))
    row = measure("draem:epochs=1,clean_share=0.25", tmp_path / "parts", 32, 3, tmp_path / "runs")
    known = AccuracyRow.model_validate(row)
    assert (known.product, known.size, known.seed) == ("parts", 32, 3)
    assert 0 <= known.image_auroc <= 1
    run = load_run(tmp_path / "runs" / "parts-draem-epochs1-clean_share0.25-3")
    assert (run.parameters["seed"], run.parameters["clean_share"], run.split.seed) == (3, 0.25, 3)
