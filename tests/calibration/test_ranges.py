import numpy as np
import pytest
from onnx import helper

from edge_ad.calibration.ranges import Histogram, measure_histograms
from tests.export.graphs import graph


def histogram(*parts: np.ndarray) -> Histogram:
    result = Histogram()
    for part in parts:
        result.update(part)
    return result


def test_the_largest_magnitude_is_kept_whatever_the_order_and_sign() -> None:
    small, large = np.array([0.1, -0.2]), np.array([3.0, -7.5])
    assert histogram(small, large).clip("minmax") == histogram(large, small).clip("minmax") == 7.5


def test_a_histogram_that_grew_counts_every_value() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(0, scale, 1000) for scale in (0.01, 1.0, 40.0)]
    grown = histogram(*parts)
    assert grown.counts.sum() == 3000
    below = np.cumsum(grown.counts)[1023] / 3000
    assert below == pytest.approx(np.mean(np.abs(np.concatenate(parts)) < grown.limit / 2), abs=1e-3)


def test_the_percentile_leaves_a_lone_outlier_out() -> None:
    values = np.concatenate([np.linspace(0, 1, 100_000), [50.0]])
    assert histogram(values).clip("percentile") == pytest.approx(1.0, abs=0.05)
    assert histogram(values).clip("minmax") == 50.0


def test_the_least_error_clips_a_heavy_tail_but_not_a_flat_range() -> None:
    rng = np.random.default_rng(0)
    assert histogram(rng.uniform(-1, 1, 20_000)).clip("mse") == pytest.approx(1.0, abs=0.05)
    heavy = rng.laplace(0, 1, 200_000)
    clip = histogram(heavy).clip("mse")
    assert 3 < clip < np.abs(heavy).max()


def test_a_tensor_of_zeros_has_a_usable_range() -> None:
    assert histogram(np.zeros(5)).clip("percentile") == 1.0


def test_tensors_inside_a_graph_are_measured_over_all_frames() -> None:
    nodes = [helper.make_node("Neg", ["x"], ["inner"]), helper.make_node("Relu", ["inner"], ["y"])]
    model = graph(nodes, {"x": ["N", 2]}, {"y": ["N", 2]}, {})
    frames = [np.array([[1.0, -2.0]], np.float32), np.array([[0.0, -9.0]], np.float32)]
    measured = measure_histograms(model, ["inner", "y"], frames)  # type: ignore[arg-type]
    assert {name: item.largest for name, item in measured.items()} == {"inner": 9.0, "y": 9.0}
    assert measure_histograms(model, [], frames) == {}  # type: ignore[arg-type]
