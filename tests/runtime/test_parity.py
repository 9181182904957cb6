import numpy as np
import pytest

from edge_ad.prediction import Prediction
from edge_ad.runtime.backend import get_backend
from edge_ad.runtime.parity import compare, map_correlation


def predictions(maps: np.ndarray) -> list[Prediction]:
    return [Prediction(float(item.max()), item) for item in maps.astype(np.float32)]


def test_equal_predictions_are_within_any_tolerance() -> None:
    maps = np.random.default_rng(0).random((3, 8, 8))
    deviation = compare(predictions(maps), predictions(maps), 0.0)
    assert deviation.is_within
    assert deviation.outliers == 0


def test_one_pixel_out_of_tolerance_fails_and_is_told_from_a_general_difference() -> None:
    maps = np.full((2, 64, 64), 0.5)
    off = maps.copy()
    off[1, 3, 3] += 0.1
    deviation = compare(predictions(off), predictions(maps), 1e-3)
    assert not deviation.is_within
    assert deviation.map == pytest.approx(0.1, abs=1e-6)
    assert deviation.map_typical == 0.0
    assert (deviation.outliers, deviation.images) == (1, 2)


def test_large_maps_are_compared_relative_to_their_scale() -> None:
    maps = np.full((1, 4, 4), 200.0)
    assert compare(predictions(maps + 0.02), predictions(maps), 1e-3).map == pytest.approx(1e-4, rel=1e-2)


def test_nan_is_never_within_tolerance() -> None:
    maps = np.zeros((1, 4, 4))
    broken = maps.copy()
    broken[0, 0, 0] = np.nan
    assert not compare(predictions(broken), predictions(maps), 1.0).is_within
    sound = Prediction(0.0, maps[0].astype(np.float32))
    for score, values in ((0.0, broken), (np.nan, maps), (np.inf, maps)):  # only the map, only the score
        one = Prediction(float(score), values[0].astype(np.float32))
        assert not compare([one], [sound], 1.0).is_within


def test_openvino_has_more_room_than_onnx_runtime() -> None:
    assert get_backend("onnxruntime").tolerance < get_backend("openvino").tolerance == 1e-3


def test_the_correlation_of_flat_maps_is_defined() -> None:
    flat, slope = np.ones((4, 4), np.float32), np.arange(16, dtype=np.float32).reshape(4, 4)
    assert map_correlation(flat, flat * 2) == 1.0
    assert map_correlation(flat, slope) == 0.0
    assert map_correlation(slope, slope * 3 + 1) == pytest.approx(1.0)
    assert map_correlation(slope, -slope) == pytest.approx(-1.0)


def test_single_pixels_may_differ_where_the_network_sorts_and_no_score_and_no_part_of_the_map() -> None:
    maps = np.random.default_rng(1).random((2, 64, 64), dtype=np.float32)
    off = maps.copy()
    off[0, 0, 0] -= 0.5  # never the highest: the score stays
    found = [Prediction(float(whole.max()), values) for whole, values in zip(maps, off, strict=True)]
    assert not compare(found, predictions(maps), 1e-3).is_within
    assert compare(found, predictions(maps), 1e-3, is_sorted=True).is_within
    off[0, 0] -= 0.5
    assert not compare(found, predictions(maps), 1e-3, is_sorted=True).is_within
    scores = [Prediction(item.score + 1, item.anomaly_map) for item in predictions(maps)]
    assert not compare(scores, predictions(maps), 1e-3, is_sorted=True).is_within
