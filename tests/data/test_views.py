"""Views of a photo: what they change, that they are drawn anew for none, and which photo each is of."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.data.views import LineView, draw_view, one_view_each, photo_of_view, with_views
from edge_ad.errors import UsageError

SAME = LineView(gain=1, gamma=1, offset=0, contrast=1, blur=0, noise=0, jpeg_quality=0, noise_seed=0)


def _photos(count: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(40, 200, (count, 32, 32, 3), dtype=np.uint8)


def test_a_view_that_changes_nothing_is_the_photo() -> None:
    photo = _photos(1)[0]
    assert np.array_equal(SAME.apply(photo), photo)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"gain": 1.5}, [60, 150]),
        ({"offset": 0.2}, [91, 151]),
        ({"gamma": 2.0}, [6, 39]),
        ({"contrast": 0.5}, [55, 85]),  # towards 70, the mean
    ],
)
def test_light_and_haze_change_values_as_stated(change: dict[str, float], expected: list[int]) -> None:
    photo = np.repeat(np.array([[[40], [100]]], np.uint8), 3, axis=2)
    assert SAME._replace(**change).apply(photo)[0, :, 0].tolist() == expected


def test_blur_is_in_pixels_of_a_picture_of_256() -> None:
    photo = np.zeros((512, 512, 3), np.uint8)
    photo[256, 256] = 255
    values = SAME._replace(blur=2.0, gain=1.0).apply(photo)[256, :, 0].astype(float)
    assert values[256] == round(255 / (2 * np.pi * 4.0**2))  # the peak of a Gaussian of 4 px


def test_noise_has_the_deviation_that_was_asked_for() -> None:
    grey = np.full((128, 128, 3), 128, np.uint8)
    assert SAME._replace(noise=6.0).apply(grey).std() == pytest.approx(6, rel=0.02)


def test_each_photo_comes_first_and_its_views_follow_it() -> None:
    photos = _photos()
    together = with_views(photos, 2, seed=5)
    assert together.shape == (9, 32, 32, 3)
    assert np.array_equal(together[::3], photos)
    assert photo_of_view(9, 2).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert np.array_equal(with_views(photos, 0), photos)


def test_views_are_the_same_for_the_same_seed_and_others_for_another_photo_view_or_seed() -> None:
    photos = np.repeat(_photos(1), 2, axis=0)
    first, again, other = (with_views(photos, 2, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    views = [first[index] for index in (1, 2, 4, 5)] + [other[1]]
    assert len({view.tobytes() for view in views}) == 5


def test_one_view_each_takes_turns_among_those_of_with_views() -> None:
    photos = _photos()
    together = with_views(photos, 2, seed=3).reshape(3, 3, 32, 32, 3)
    assert np.array_equal(one_view_each(photos, 2, 1, seed=3), together[[0, 1, 2], [1, 2, 0]])


def test_drawn_views_stay_in_their_ranges() -> None:
    views = [draw_view(np.random.default_rng(seed)) for seed in range(200)]
    assert 0.6 <= min(view.gain for view in views) < 0.75 < 1.4 < max(view.gain for view in views) <= 1.6
    assert max(view.noise for view in views) <= 12
    assert {view.jpeg_quality == 0 for view in views} == {True, False}


def test_a_grey_photo_is_refused() -> None:
    with pytest.raises(UsageError, match="uint8"):
        SAME.apply(np.zeros((4, 4), np.uint8))
