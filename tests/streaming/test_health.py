"""Frames that say nothing about the part, and the part of the frame that is judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.errors import UsageError
from edge_ad.images import read_image
from edge_ad.streaming.filters import FrameHealth, Region


def _noisy(brightness: int, seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(0, 3, (240, 320, 3))
    return (noise + brightness).clip(0, 255).astype(np.uint8)


class _Clock:
    """Time that passes when the test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("brightness", "reason"), [(0, "black"), (8, "black"), (40, None), (128, None), (240, None), (265, "over-exposed")]
)
def test_black_and_over_exposed_frames_are_told(brightness: int, reason: str | None) -> None:
    assert FrameHealth(can_freeze=False).check(_noisy(brightness)) == reason


def test_part_before_a_black_background_or_a_back_light_is_judged() -> None:
    for background, part in ((0, 120), (255, 60)):
        image = np.full((720, 1280, 3), background, np.uint8)
        image[300:400, 500:700] = part
        assert FrameHealth(can_freeze=False, bright_share=0.99).check(image) is None


def test_one_bright_colour_is_no_over_exposure() -> None:
    image = np.zeros((240, 320, 3), np.uint8)
    image[..., 2] = 255
    assert FrameHealth(can_freeze=False).check(image) is None


def test_frozen_picture_is_told_after_frames_and_seconds_and_until_it_moves() -> None:
    clock = _Clock()
    health = FrameHealth(can_freeze=True, frozen_frames=3, frozen_seconds=1.0, clock=clock)
    still = _noisy(128)

    def checked(image: NDArray[np.uint8], at: float) -> str | None:
        clock.now = at
        return health.check(image.copy())

    assert [checked(still, at) for at in (0, 0.1, 0.2, 0.3, 0.4)] == [None] * 5  # often enough, but not for long enough
    assert [checked(still, at) for at in (1.0, 1.1)] == ["frozen", "frozen"]
    assert checked(_noisy(128, seed=1), 1.2) is None
    assert [checked(still, at) for at in (1.3, 9.0)] == [None, None]  # long enough, but not often enough


def test_noise_of_a_sensor_is_never_frozen_and_a_file_may_repeat_itself() -> None:
    clock = _Clock()
    live, file = (FrameHealth(can_freeze=live, clock=clock) for live in (True, False))
    for number in range(15):
        clock.now = float(number)
        assert live.check(_noisy(128, seed=number)) is None
        assert file.check(_noisy(128)) is None


@pytest.mark.data
def test_no_product_image_is_refused(data_root: Path) -> None:
    health = FrameHealth(can_freeze=True)
    paths = [path for path in sorted(data_root.glob("*/*/*/*.jpg")) if "ground_truth" not in path.parts][::20]
    assert paths
    assert {path.name: reason for path in paths if (reason := health.check(read_image(path)))} == {}


def test_region_is_a_view_of_the_frame() -> None:
    image = np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)
    part = Region.parse("4,2,8,6").crop(image)
    assert part.shape == (6, 8, 3)
    assert np.shares_memory(part, image)
    assert np.array_equal(part[0, 0], image[2, 4])
    assert Region.parse("0,0,16,12").crop(image).shape == image.shape


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "-1,0,4,4", "0,0,0,4", "1.5,0,4,4"])
def test_region_that_is_none_is_one_line(text: str) -> None:
    with pytest.raises(UsageError, match="region"):
        Region.parse(text)


def test_region_beyond_the_frame_is_refused_and_not_cut() -> None:
    with pytest.raises(UsageError, match="beyond the frame") as failure:
        Region.parse("10,0,10,4").crop(np.zeros((12, 16, 3), np.uint8))
    assert "16×12" in failure.value.hint
