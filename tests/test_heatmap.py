"""Heat maps: the scale is tied to the threshold, the image shows through where nothing is wrong."""

import numpy as np
import pytest

from edge_ad.heatmap import CONTOUR_BGR, blend, colour_map, contour

GREY = np.full((40, 60, 3), 120, np.uint8)


def spot(height: int = 40, width: int = 60, *, peak: float = 4.0) -> np.ndarray:
    anomaly_map = np.zeros((height, width), np.float32)
    anomaly_map[height // 4 : height // 2, width // 4 : width // 2] = peak
    return anomaly_map


def test_the_colour_of_a_pixel_depends_on_value_over_threshold_only():
    values = np.linspace(0, 2, 60, dtype=np.float32)[None]
    np.testing.assert_array_equal(colour_map(values, 1.0), colour_map(values * 1000, 1000.0))


def test_values_below_half_the_threshold_are_blue_and_above_twice_are_red():
    blue, green, red = colour_map(np.array([[0.4, 1.0, 2.5]], np.float32), 1.0)[0].astype(int)
    assert blue[0] > blue[2]
    assert green[1] > max(green[0], green[2])
    assert red[2] > max(red[0], red[1])


def test_a_non_finite_map_is_painted_hot_instead_of_failing():
    painted = colour_map(np.array([[np.nan, np.inf, 1e38, 9.0, -np.inf, 0.0]], np.float32), 1.0)[0]
    assert (painted[:4] == painted[3]).all()
    assert (painted[4] == painted[5]).all()


@pytest.mark.parametrize("map_threshold", [0.0, -3.0])
def test_with_a_non_positive_threshold_every_positive_value_is_hottest(map_threshold):
    painted = colour_map(np.array([[1e-6, 5.0, -1.0, 0.0]], np.float32), map_threshold)[0]
    assert (painted[0] == painted[1]).all()
    assert (painted[2] == painted[3]).all()
    assert (painted[0] != painted[2]).any()


def test_blend_leaves_the_image_where_the_map_is_zero_and_colours_it_where_it_is_hot():
    picture = blend(GREY, spot(), 1.0)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[30:, 40:], GREY[30:, 40:])
    assert int(picture[15, 20, 2]) - int(picture[15, 20, 0]) > 50


def test_blend_and_contour_take_a_map_smaller_than_the_frame():
    assert blend(GREY, spot(10, 15), 1.0).shape == GREY.shape
    assert contour(GREY, spot(10, 15), 1.0).shape == GREY.shape


def test_contour_is_drawn_around_what_is_above_the_threshold_and_nowhere_else():
    picture = contour(GREY, spot(), 1.0)
    # Antialiased: nearly the full colour.
    np.testing.assert_allclose(picture[10, 20].astype(int), CONTOUR_BGR, atol=60)
    np.testing.assert_array_equal(picture[14:16, 20:24], GREY[14:16, 20:24])
    np.testing.assert_array_equal(picture[30:, 40:], GREY[30:, 40:])


def test_contour_of_a_map_below_the_threshold_is_the_image_itself_in_a_new_array():
    picture = contour(GREY, spot(), 5.0)
    np.testing.assert_array_equal(picture, GREY)
    assert not np.shares_memory(picture, GREY)
