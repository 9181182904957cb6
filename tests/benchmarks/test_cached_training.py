"""What the feature cache saves: the row of a method, and that both ways of training end at the same weights."""

from pathlib import Path

import pytest

from benchmarks.cached_training import measure, summarise
from edge_ad.data.sample_product import render_product
from edge_ad.images import read_resized


def test_a_row_has_medians_and_the_outermost_ratios_of_its_processes() -> None:
    measured = [
        {"loop_seconds": loop, "cached_seconds": 0.1, "ratio": loop / 0.1, "difference": difference}
        for loop, difference in ((3.0, 1e-6), (1.0, 5e-6), (2.0, 1e-6))
    ]
    row = summarise("pbas", 8, measured)
    assert (row["loop_seconds"], row["ratio"], row["lowest"], row["highest"]) == (2.0, 20.0, 10.0, 30.0)
    assert (row["processes"], row["difference"]) == (3, 5e-6)


def test_both_ways_of_training_leave_the_same_weights(tmp_path: Path) -> None:
    product = render_product(tmp_path, good=10, size_hw=(64, 64))
    images = read_resized(product.good[:10], (64, 64))
    measured = measure("boundary-shuffling", images, {"size": 64}, rounds=1)
    assert measured["difference"] < 1e-3
    assert measured["ratio"] == pytest.approx(measured["loop_seconds"] / measured["cached_seconds"])
