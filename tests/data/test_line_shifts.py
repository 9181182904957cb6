"""What a line does to its photos, against values computed by hand."""

import cv2
import numpy as np
import pytest

from edge_ad.data import line_shifts
from edge_ad.data.shift_kinds import IMAGENET_C, KINDS, LINE, parse_shifts
from edge_ad.errors import UsageError


def flat(*bgr: int) -> np.ndarray:
    return np.full((4, 6, 3), bgr, np.uint8)


@pytest.fixture
def photo() -> np.ndarray:
    """A smooth picture of odd sides with a bright square in it."""
    rows, columns = np.mgrid[:33, :45]
    image = np.stack([60 + rows, 80 + columns, 70 + rows + columns // 2], axis=2).astype(np.uint8)
    image[10:16, 20:30] = (200, 210, 220)
    return image


@pytest.mark.parametrize(
    ("name", "step", "given", "expected"),
    [
        ("gain", 1.25, (100, 10, 250), (125, 12, 255)),  # 12.5 is rounded to even, 312.5 is clipped
        ("gain", 0.8, (100, 11, 250), (80, 9, 200)),
        ("offset", 20.0, (0, 100, 250), (20, 120, 255)),
        ("offset", -20.0, (0, 100, 250), (0, 80, 230)),
        ("gamma", 2.0, (0, 51, 255), (0, 10, 255)),  # 255 · 0.2² = 10.2
        ("gamma", 0.5, (0, 51, 255), (0, 114, 255)),  # 255 · √0.2 = 114.04
        ("white-balance", 1.44, (120, 100, 100), (100, 100, 120)),  # blue / 1.2, red · 1.2
        ("contrast", 0.5, (100, 10, 250), (100, 10, 250)),  # a flat picture is its own mean
        ("vignetting", 0.5, (0, 0, 0), (0, 0, 0)),
        ("dust", 3.0, (0, 0, 0), (0, 0, 0)),
    ],
)
def test_values_are_those_of_the_formula(name, step, given, expected):
    assert np.array_equal(LINE[name].apply(flat(*given), step, 0), flat(*expected))


def test_contrast_keeps_the_mean_of_each_channel():
    image = flat(100, 50, 20)
    image[:, 3:] = (140, 50, 60)
    made = line_shifts.contrast(image, 0.5)
    assert np.array_equal(np.unique(made[..., 0]), [110, 130])
    assert np.array_equal(np.unique(made[..., 1]), [50])
    assert np.array_equal(np.unique(made[..., 2]), [30, 50])


def test_blur_spreads_a_point_as_a_gaussian_does():
    image = np.zeros((31, 31, 3), np.uint8)
    image[15, 15] = 255
    made = line_shifts.blur(image, 1.0).astype(float)
    assert made[15, 15, 0] == pytest.approx(255 / (2 * np.pi), abs=1)
    assert made[15, 17, 0] == pytest.approx(255 / (2 * np.pi) * np.exp(-2), abs=1)


def test_noise_has_the_deviation_it_says_and_is_the_same_for_a_seed():
    image = np.full((200, 200, 3), 128, np.uint8)
    made = line_shifts.noise(image, 8.0, seed=3)
    assert (made.astype(float) - 128).std() == pytest.approx(8.0, rel=0.02)
    assert np.array_equal(made, line_shifts.noise(image, 8.0, seed=3))
    assert not np.array_equal(made, line_shifts.noise(image, 8.0, seed=4))
    # The same draw at every step, only stronger.
    stronger = line_shifts.noise(image, 16.0, seed=3)
    assert np.corrcoef(made.ravel().astype(float), stronger.ravel().astype(float))[0, 1] > 0.99


def test_compression_loses_more_the_coarser_it_is(photo):
    def error(name: str, step: float) -> float:
        return float(np.abs(LINE[name].apply(photo, step, 0).astype(float) - photo).mean())

    assert error("jpeg", 95) < error("jpeg", 50) < error("jpeg", 10)
    assert error("h264", 12) < error("h264", 33) < error("h264", 51)
    assert error("h264", 0) < 2.0


def test_a_recorded_photo_is_neither_darker_nor_brighter(photo):
    """The conversion of the codec's own library would darken it by three levels; decoding alone costs one."""
    made = line_shifts.h264(np.ascontiguousarray(np.tile(photo, (4, 4, 1))), 5)
    assert abs(made.astype(float).mean() - photo.mean()) < 2.0


def test_a_translated_photo_has_its_pixels_elsewhere_and_its_edge_repeated(photo):
    made = line_shifts.translation(photo, 4)
    assert np.array_equal(made[4:, 4:], photo[:-4, :-4])
    assert np.array_equal(made[:4, 4:], np.repeat(photo[:1, :-4], 4, axis=0))
    assert np.array_equal(line_shifts.translation(photo, -3)[:-3, :-3], photo[3:, 3:])


def test_a_positive_rotation_is_counter_clockwise_about_the_centre(photo):
    square = np.ascontiguousarray(photo[:33, :33])
    assert np.abs(line_shifts.rotation(square, 90).astype(int) - np.rot90(square)).max() <= 1
    assert np.abs(line_shifts.rotation(square, -90).astype(int) - np.rot90(square, -1)).max() <= 1


def test_a_mask_moves_with_its_photo(photo):
    mask = (photo[..., 0] == 200).astype(np.uint8) * 255
    for name, step in (("translation", 6), ("rotation", 10)):
        matrix, by_xy = LINE[name].motion(step)
        moved = line_shifts.move(mask, matrix, by_xy, is_mask=True)
        assert set(np.unique(moved)) == {0, 255}
        bright = LINE[name].apply(photo, step, 0)[..., 0] > 150
        assert (bright & (moved > 0)).sum() / (bright | (moved > 0)).sum() > 0.85
        assert (bright & (mask > 0)).sum() < bright.sum()


def test_vignetting_takes_the_share_of_light_from_the_corners_and_none_from_the_middle():
    made = line_shifts.vignetting(np.full((21, 31, 3), 200, np.uint8), 0.3)
    assert made[10, 15, 0] == 200
    assert made[0, 0, 0] == made[-1, -1, 0] == 140
    assert made[0, 15, 0] == 170  # r² = 1/2


def test_dust_lies_in_the_same_places_of_every_photo_and_more_specks_are_added_to_fewer():
    bright, darker = np.full((64, 64, 3), 200, np.uint8), np.full((64, 64, 3), 100, np.uint8)
    few, many = line_shifts.dust(bright, 3), line_shifts.dust(bright, 10)
    assert np.abs(few / 200.0 - line_shifts.dust(darker, 3) / 100.0).max() < 0.01
    assert (many <= few).all()
    assert (many < few).any()
    assert few.min() < 180


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_step_changes_a_photo_and_leaves_its_shape_type_and_the_original(kind, photo):
    before = photo.copy()
    for step in kind.steps:
        assert kind.checked(step) == step
        made = kind.apply(photo, step, 1)
        assert (made.shape, made.dtype) == (photo.shape, np.uint8)
        assert (made != photo).any()
    assert np.array_equal(photo, before)
    assert list(kind.steps) == sorted(kind.steps)


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if len(kind.steps) > 1], ids=lambda kind: kind.name)
def test_a_step_further_from_unshifted_changes_more(kind, photo):
    image = cv2.resize(photo, (90, 66))
    for sign in (-1, 1):
        steps = sorted((s for s in kind.steps if sign * (s - kind.neutral) > 0), key=lambda s: sign * s)
        changes = [np.abs(kind.apply(image, step, 1).astype(float) - image).mean() for step in steps]
        assert changes == sorted(changes)


def test_what_is_asked_for_is_read_as_kinds_with_steps():
    assert [kind.name for kind in parse_shifts(["line"])] == list(LINE)
    assert [kind.name for kind in parse_shifts(["imagenet-c"])] == list(IMAGENET_C)
    (gain,) = parse_shifts(["gain:1.25,0.8"])
    assert (gain.name, gain.steps) == ("gain", (0.8, 1.25))
    assert [kind.steps for kind in parse_shifts(["imagenet-c:3"])] == [(3.0,)] * 4
    (both,) = parse_shifts(["noise:8", "noise:2,8"])
    assert both.steps == (2.0, 8.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("snow", "Unknown shift: snow"),
        ("gain:bright", "steps are numbers"),
        ("gain:0", "gain takes steps from 0.05 to 20"),
        ("gain:1", "and not 1"),
        ("gain:nan", "not nan"),
        ("gain:", "steps are numbers"),
        ("jpeg:50.5", "whole numbers"),
        ("jpeg:0", "from 1 to 100"),
        ("imagenet-c:6", "from 1 to 5"),
        ("line:3", "each kind has its own"),
    ],
)
def test_a_shift_that_is_not_known_is_a_usage_error(text, message):
    with pytest.raises(UsageError, match=message):
        parse_shifts([text])


def test_what_is_no_colour_picture_of_8_bits_is_refused(photo):
    for kind in LINE.values():
        with pytest.raises(UsageError, match="uint8"):
            kind.apply(photo.astype(np.float32), kind.steps[0], 0)
