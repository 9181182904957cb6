"""Regions of an anomaly map: boxes, areas and peaks in pixels of the photo."""

import cv2
import numpy as np
import pytest

from edge_ad.regions import MOST_REGIONS, Region, find_regions


def _map(*spots: tuple[int, int, float], size: int = 8) -> np.ndarray:
    values = np.zeros((size, size), np.float32)
    for row, column, value in spots:
        values[row, column] = value
    return values


def test_touching_pixels_are_one_region_and_corners_touch() -> None:
    found = find_regions(_map((1, 2, 3.0), (2, 3, 5.0), (6, 6, 2.0)), 1.0, (8, 8))
    assert found == (Region(2, 1, 2, 2, 2, 5.0), Region(6, 6, 1, 1, 1, 2.0))


def test_boxes_and_areas_are_in_pixels_of_the_photo() -> None:
    (found,) = find_regions(_map((1, 2, 3.0), (1, 3, 3.0)), 1.0, (40, 80))
    assert found == Region(20, 5, 20, 5, 100, 3.0)


def test_a_box_covers_the_whole_pixels_it_touches() -> None:
    (found,) = find_regions(_map((1, 1, 3.0), size=3), 1.0, (10, 10))
    assert (found.x, found.y, found.width, found.height) == (3, 3, 4, 4)


def test_what_is_at_the_threshold_is_not_above_it() -> None:
    assert find_regions(_map((1, 1, 1.0)), 1.0, (8, 8)) == ()


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_map_that_is_not_finite_has_no_places(broken: float) -> None:
    assert find_regions(_map((1, 1, 9.0), (4, 4, broken)), 1.0, (8, 8)) == ()
    assert find_regions(_map((1, 1, 9.0)), broken, (8, 8)) == ()


def test_the_highest_peaks_are_kept() -> None:
    values = np.zeros((16, 16), np.float32)
    values[::2, ::2] = np.arange(1, 65, dtype=np.float32).reshape(8, 8)
    found = find_regions(values, 0.5, (16, 16))
    assert [region.peak for region in found] == [float(64 - index) for index in range(MOST_REGIONS)]


@pytest.mark.parametrize("count", [3, 200])
@pytest.mark.parametrize("size", [64, 700])  # labelled in 16 and in 32 bits
def test_components_are_those_of_a_flood_fill(count: int, size: int) -> None:
    rng = np.random.default_rng(count)
    values = np.zeros((size, size), np.float32)
    for row, column in rng.integers(5, 60, (count, 2)):
        values[row : row + 3, column : column + 2] = rng.uniform(0.6, 1.0)
    found = find_regions(values, 0.5, (size, size))
    assert found
    for region in found:
        mask = _filled(values > 0.5, values == np.float32(region.peak), region)
        rows, columns = np.nonzero(mask)
        box = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
        assert (region.x, region.y, region.width, region.height) == box
        assert region.area == mask.sum()
        assert region.peak == values[mask].max()


def _filled(above: np.ndarray, seeds: np.ndarray, region: Region) -> np.ndarray:
    """All pixels above that the peak inside a region's box is connected to."""
    mask = np.zeros_like(above)
    part = np.s_[region.y : region.y + region.height, region.x : region.x + region.width]
    row, column = np.argwhere(seeds[part])[0]
    mask[region.y + row, region.x + column] = True
    while True:
        grown = above & cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
        if (grown == mask).all():
            return mask
        mask = grown
