"""Windows of training images: the same place in every tensor, any place, and the gradient of what was cut."""

import pytest
import torch

from edge_ad.models.draem.draem import windows


def _coordinates(images: int, height: int, width: int) -> torch.Tensor:
    """Pixels that say which image, row and column they are."""
    parts = torch.meshgrid(*(torch.arange(float(n)) for n in (images, height, width)), indexing="ij")
    return torch.stack(parts, 1)


def test_a_window_is_a_literal_crop_at_one_place_of_all_parts() -> None:
    pixels = _coordinates(3, 20, 30)
    first, second = windows((pixels, 2 * pixels[:, :1]), 8, 4, torch.Generator().manual_seed(0))
    assert first.shape == (12, 3, 8, 8)
    torch.testing.assert_close(second, 2 * first[:, :1])
    for index, window in enumerate(first):
        image, top, left = (int(value) for value in window[:, 0, 0])
        assert image == index // 4
        torch.testing.assert_close(window, pixels[image, :, top : top + 8, left : left + 8])


def test_windows_reach_every_corner_and_follow_from_the_generator() -> None:
    pixels = _coordinates(1, 9, 10)
    cut = windows((pixels,), 8, 200, torch.Generator().manual_seed(1))[0]
    assert {(int(top), int(left)) for top, left in cut[:, 1:, 0, 0]} == {(y, x) for y in range(2) for x in range(3)}
    again = windows((pixels,), 8, 200, torch.Generator().manual_seed(1))[0]
    assert torch.equal(cut, again)


@pytest.mark.parametrize("side", [0, 9, 64])
def test_no_window_and_one_that_is_not_smaller_leave_the_images_whole(side: int) -> None:
    pixels = _coordinates(2, 9, 10)
    assert windows((pixels,), side, 4, torch.Generator())[0] is pixels


def test_the_border_of_an_image_is_in_a_quarter_of_the_windows() -> None:
    rows = torch.arange(256.0).reshape(1, 1, 256, 1).expand(1, 1, 256, 256)
    (cut,) = windows([rows], 128, 4000, torch.Generator().manual_seed(0))
    seen = torch.bincount(cut[:, 0, :, 0].long().flatten(), minlength=256) / 4000
    assert seen[0] == pytest.approx(0.25, abs=0.03)  # middles in the first quarter of the image
    assert seen[-1] == pytest.approx(0.25, abs=0.03)
    assert seen.min() > 0.22
    assert seen.max() < 0.8
