"""What is cut, where it is pasted, and that nothing else changes."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edge_ad.models.cutpaste.detector import make_views
from edge_ad.models.cutpaste.patches import Patch, draw_rectangle, draw_scar, jitter_colour, paste

SIDES = st.integers(1, 8).map(lambda tiles: 32 * tiles)
SEEDS = st.integers(0, 2**31)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _noise(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (count, 3, height, width), generator=_generator(seed)) / 255


@settings(deadline=None)
@given(height=SIDES, width=SIDES, seed=SEEDS)
def test_a_rectangle_keeps_to_the_published_area_and_aspect(height: int, width: int, seed: int) -> None:
    patch = draw_rectangle((height, width), _generator(seed))
    _, masks = paste(_noise(1, height, width), [patch])
    rows, columns = (int(masks[0, 0].any(axis).sum()) for axis in (1, 0))
    assert [rows, columns] == list(patch.size_hw)
    assert masks.sum() == rows * columns
    assert 0.02 <= rows * columns / (height * width) <= 0.15
    assert 0.3 <= columns / rows <= 3.3


@settings(deadline=None)
@given(height=SIDES, width=SIDES, seed=SEEDS)
def test_a_scar_keeps_to_the_published_size_and_angle_and_lies_within_the_image(
    height: int, width: int, seed: int
) -> None:
    patch = draw_scar((height, width), _generator(seed))
    scale, (length, across) = min(height, width) / 256, patch.size_hw
    assert max(1, 10 * scale) <= length <= max(1, 25 * scale)
    assert max(1, 2 * scale) <= across <= max(1, 16 * scale)
    assert abs(patch.angle) <= math.radians(45)
    for y, x in ((length / 2, across / 2), (length / 2, -across / 2)):
        down = abs(math.cos(patch.angle) * y + math.sin(patch.angle) * x)
        right = abs(math.cos(patch.angle) * x - math.sin(patch.angle) * y)
        assert down <= patch.target[0] + 1e-6
        assert patch.target[0] + down <= height + 1e-6
        assert right <= patch.target[1] + 1e-6
        assert patch.target[1] + right <= width + 1e-6
    _, masks = paste(_noise(1, height, width), [patch])
    assert 1 <= int(masks.sum()) <= (length + 2) * (across + 2)


def test_both_limits_of_everything_are_nearly_reached() -> None:
    rectangles = [draw_rectangle((256, 256), _generator(seed)) for seed in range(2000)]
    areas = [patch.size_hw[0] * patch.size_hw[1] / 256**2 for patch in rectangles]
    aspects = [patch.size_hw[1] / patch.size_hw[0] for patch in rectangles]
    assert (min(areas), max(areas)) == pytest.approx((0.02, 0.15), abs=0.002)
    assert (min(aspects), max(aspects)) == pytest.approx((0.3, 3.3), abs=0.02)
    scars = [draw_scar((256, 256), _generator(seed)) for seed in range(2000)]
    for values, limits in (
        ([patch.size_hw[0] for patch in scars], (10, 25)),
        ([patch.size_hw[1] for patch in scars], (2, 16)),
        ([math.degrees(patch.angle) for patch in scars], (-45, 45)),
    ):
        assert (min(values), max(values)) == pytest.approx(limits, abs=0.2)


@pytest.mark.parametrize("draw", [draw_rectangle, draw_scar])
def test_only_pixels_that_are_pasted_on_change(draw: object) -> None:
    images = _noise(6, 64, 96)
    patches = [draw((64, 96), _generator(seed)) for seed in range(6)]  # type: ignore[operator]
    pasted, masks = paste(images, patches, lambda content: jitter_colour(content, 0.1, _generator(0)))
    changed = (pasted != images).any(1, keepdim=True)
    assert not (changed & ~masks).any()
    assert changed[masks].float().mean() > 0.95
    assert bool(masks.flatten(1).any(1).all())


def test_a_rectangle_is_an_exact_copy() -> None:
    image = _noise(1, 32, 40)
    pasted, masks = paste(image, [Patch((6, 8), 0.0, (3.0, 4.0), (20.0, 30.0))])
    torch.testing.assert_close(pasted[..., 17:23, 26:34], image[..., 0:6, 0:8])
    assert masks[0, 0, 17:23, 26:34].all()
    assert masks.sum() == 48


def test_a_quarter_turn_turns_what_is_pasted() -> None:
    image = _noise(1, 32, 32)
    pasted, masks = paste(image, [Patch((3, 5), math.pi / 2, (10.5, 8.5), (20.5, 15.5))])
    assert masks.sum() == 15
    turned = pasted[0, :, 18:23, 14:17]
    cut = image[0, :, 9:12, 6:11]
    assert any(torch.allclose(turned, cut.rot90(times, (1, 2)), atol=1e-6) for times in (1, 3))


def test_what_is_pasted_has_the_levels_of_a_camera() -> None:
    views, _, _ = make_views(_noise(3, 64, 64), 0.1, _generator(1))
    torch.testing.assert_close(views * 255, (views * 255).round(), rtol=0, atol=1e-4)


def test_the_views_follow_from_the_generator() -> None:
    images = _noise(2, 64, 64)
    first, again, other = (make_views(images, 0.1, _generator(seed)) for seed in (5, 5, 6))
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])
    assert torch.equal(first[0][:2], images)
    assert first[1].tolist() == [0, 0, 1, 1, 2, 2]
    assert first[2].flatten(1).any(1).tolist() == [False, False, True, True, True, True]


def test_colour_jitter_keeps_grey_grey_and_its_strength() -> None:
    grey = torch.full((50, 3, 4, 4), 0.5)
    jittered = jitter_colour(grey, 0.1, _generator(0))
    assert torch.allclose(jittered[:, 0], jittered[:, 2], atol=1e-6)
    assert (jittered - grey).abs().max() <= 0.05 + 1e-6
    assert (jittered - grey).abs().max() > 0.04
    assert torch.equal(jitter_colour(grey, 0.0, _generator(0)), grey)


def test_colour_jitter_of_one_hue_keeps_contrast_and_saturation_in_bounds() -> None:
    red = torch.tensor([0.7, 0.3, 0.3])[None, :, None, None].expand(200, 3, 2, 2)
    jittered = jitter_colour(red, 0.1, _generator(0))[..., 0, 0]
    chroma = (jittered - jittered.mean(1, keepdim=True)).norm(dim=1) / (red[:, :, 0, 0] - 1.3 / 3).norm(dim=1)
    assert chroma.max() <= 1.1**3
    assert chroma.min() >= 0.9**3
    assert (jittered[:, 1] > jittered[:, 2]).any()
    assert (jittered[:, 1] < jittered[:, 2]).any()
