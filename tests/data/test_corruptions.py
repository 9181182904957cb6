import numpy as np
import pytest

from edge_ad.data.corruptions import (
    CORRUPTIONS,
    SEVERITIES,
    brightness,
    contrast,
    corrupt,
    defocus_blur,
    gaussian_noise,
)
from edge_ad.errors import UsageError


@pytest.fixture(scope="module")
def photo():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:96, 0:120].astype(np.float32)
    image = 60 + 50 * (np.sin(x / 5) * np.cos(y / 6))[..., None] + rng.normal(0, 6, (96, 120, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_each_step_is_further_from_the_photo(photo, name):
    images = [corrupt(photo, name, severity) for severity in SEVERITIES]
    assert all(image.shape == photo.shape and image.dtype == np.uint8 for image in images)
    distances = [np.abs(image.astype(float) - photo).mean() for image in images]
    assert distances == sorted(distances)
    assert distances[0] > 1
    assert len(set(distances)) == 5


def test_brightness_raises_the_value_and_keeps_the_hue():
    image = np.array([[[20, 40, 100], [0, 0, 0], [250, 10, 10]]], np.uint8)
    np.testing.assert_array_equal(brightness(image, 1)[0], [[25, 50, 126], [26, 26, 26], [255, 10, 10]])


def test_contrast_keeps_each_channels_mean_and_shrinks_its_spread(photo):
    hazy = contrast(photo, 1)
    np.testing.assert_allclose(hazy.mean((0, 1)), photo.mean((0, 1)), atol=0.5)
    np.testing.assert_allclose(hazy.std((0, 1)), 0.4 * photo.std((0, 1)), rtol=0.05)


@pytest.mark.parametrize(("severity", "radius"), list(zip(SEVERITIES, (3, 4, 6, 8, 10), strict=True)))
def test_defocus_spreads_a_point_over_its_disc_and_loses_no_light(severity, radius):
    image = np.zeros((41, 41, 3), np.uint8)
    image[15:26, 15:26] = 255
    blurred = defocus_blur(image, severity)
    columns = np.flatnonzero(blurred[20, :, 0])
    assert columns.max() - columns.min() == pytest.approx(10 + 2 * radius, abs=4)
    assert blurred[..., 0].astype(float).sum() == pytest.approx(121 * 255, rel=0.03)


def test_noise_has_the_published_deviation_and_follows_its_seed():
    image = np.full((200, 200, 3), 128, np.uint8)
    assert gaussian_noise(image, 1).std() == pytest.approx(0.08 * 255, rel=0.02)
    np.testing.assert_array_equal(gaussian_noise(image, 3, seed=4), gaussian_noise(image, 3, seed=4))
    assert (gaussian_noise(image, 3, seed=4) != gaussian_noise(image, 3, seed=5)).any()


def test_what_cannot_be_corrupted_is_refused(photo):
    with pytest.raises(UsageError, match="1 to 5"):
        contrast(photo, 6)
    with pytest.raises(UsageError, match="uint8"):
        brightness(photo.astype(np.float32), 1)
    with pytest.raises(UsageError, match="Unknown corruption"):
        corrupt(photo, "snow", 1)
