import math

import numpy as np
import pytest
from onnx import helper
from onnxruntime.quantization.calibrate import HistogramCollector

from edge_ad.calibration.ranges import RangeChoice, backbone_rule, describe_choice, other_rule
from edge_ad.calibration.ranges import Histogram, RangeRule, measure_histograms
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


def mirrored(values: np.ndarray, limit: float, bins: int) -> tuple[np.ndarray, np.ndarray]:
    return np.histogram(np.concatenate([values, -values]), bins, (-limit, limit))


def onnx_runtimes(values: np.ndarray, found: Histogram) -> float:
    counts, edges = mirrored(values, found.limit, 1021)
    largest = np.array(found.largest)
    # The method uses nothing of its object.
    return float(HistogramCollector.get_entropy_threshold(None, (counts, edges, -largest, largest), 255)[1])


def test_the_least_divergence_of_a_flat_range_is_onnx_runtimes_within_a_bin() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, 100_000)
    found = histogram(values)
    assert found.clip("entropy") == pytest.approx(onnx_runtimes(values, found), abs=2 * 2 / 1021)


@pytest.mark.parametrize("shape", ["normal", "laplace", "standard_t"])
def test_the_divergence_is_no_larger_than_at_the_range_that_onnx_runtime_takes(shape: str) -> None:
    """Its merge leaves a rest in the last level, so that it only finds ranges where the bins divide evenly."""
    rng = np.random.default_rng(0)
    values = rng.standard_t(3, 100_000) if shape == "standard_t" else getattr(rng, shape)(0, 1, 100_000)
    found = histogram(values)
    counts = found.counts.astype(float)
    counts[0] = min(counts[0], counts[1])
    ours, theirs = (
        divergence_written_out(counts, math.ceil(clip / found.limit * len(counts) - 1e-6))
        for clip in (found.clip("entropy"), onnx_runtimes(values, found))
    )
    assert ours <= theirs


def test_the_least_divergence_cuts_an_outlier_off_and_does_not_mind_the_zeros_of_a_relu() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, 200_000)
    with_outlier = histogram(np.append(values, 40.0)).clip("entropy")
    assert 3.5 < with_outlier < 6
    assert histogram(np.maximum(values, 0)).clip("entropy") == pytest.approx(histogram(values).clip("entropy"), rel=0.1)


def test_the_least_divergence_is_that_of_the_algorithm_written_out() -> None:
    values = np.random.default_rng(1).laplace(0, 1, 20_000)
    found = histogram(values)
    counts = found.counts.astype(float)
    counts[0] = min(counts[0], counts[1])
    used = math.ceil(found.largest / found.limit * len(counts))
    candidates = [*range(128, used, 8), used]
    best = min(candidates, key=lambda bins: divergence_written_out(counts, bins))
    assert found.clip("entropy") == pytest.approx(min(best * found.limit / len(counts), found.largest))


def divergence_written_out(counts: np.ndarray, bins: int) -> float:
    reference = [*counts[:bins]]
    reference[-1] += counts[bins:].sum()
    rounded = [0.0] * bins
    for level in range(128):
        members = range(-(-level * bins // 128), -(-(level + 1) * bins // 128))
        occupied = [index for index in members if reference[index] > 0]
        for index in occupied:
            rounded[index] = sum(counts[member] for member in members) / len(occupied)
    p, q = (np.maximum(values, 1e-4) / np.maximum(values, 1e-4).sum() for values in (reference, rounded))
    return float((p * np.log(p / q)).sum())


@pytest.mark.parametrize("rule", ["percentile", "mse", "entropy", "minmax"])
def test_every_rule_gives_a_range_above_0_that_was_seen(rule: RangeRule) -> None:
    rng = np.random.default_rng(0)
    for values in (np.zeros(5), np.full(9, 0.3), rng.normal(0, 1e-6, 100), rng.normal(0, 1e4, 100)):
        clip = histogram(values).clip(rule)
        assert 0 < clip <= max(float(np.abs(values).max()), 1.0)


@pytest.mark.parametrize(
    ("choice", "backbone", "other", "words"),
    [
        ("auto", "minmax", "percentile", "minmax in the backbone, percentile elsewhere"),
        ("mse", "mse", "mse", "mse"),
    ],
)
def test_a_choice_is_a_rule_for_the_backbone_and_one_for_all_else(
    choice: RangeChoice, backbone: str, other: str, words: str
) -> None:
    assert (backbone_rule(choice), other_rule(choice)) == (backbone, other)
    assert describe_choice(choice, has_backbone=True) == words
    assert describe_choice(choice, has_backbone=False) == other
