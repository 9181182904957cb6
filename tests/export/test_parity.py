import numpy as np
import pytest

from edge_ad.export.parity import compare, tolerance_of
from edge_ad.prediction import Prediction


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


def test_openvino_has_more_room_than_onnx_runtime() -> None:
    assert tolerance_of("onnxruntime") < tolerance_of("openvino") == 1e-3
