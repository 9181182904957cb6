"""What is scored in one run of the network is what scoring crops one by one would give."""

import pytest
import torch
from torch import Tensor

from edge_ad.models import create_detector
from edge_ad.models.cutpaste import CutPaste

STRIDE, MARGIN = 8, 40  # the receptive field of stride 8 is 67 pixels, so a crop needs 38 around a cell


@pytest.fixture(scope="module")
def detector() -> CutPaste:
    made = create_detector("cutpaste", {"size": 192, "levels": "8", "hidden": 8})
    assert isinstance(made, CutPaste)
    images = torch.rand(5, 3, 192, 192, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        features = made.patch_features(images)
    made.fit_features(features[:4], features[4:])
    return made


@pytest.fixture(scope="module")
def image() -> Tensor:
    return torch.rand(1, 3, 192, 192, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("cell", [(9, 12), (12, 11)])
@torch.no_grad()
def test_a_window_is_scored_as_the_crop_with_its_receptive_field(
    detector: CutPaste, image: Tensor, cell: tuple[int, int]
) -> None:
    half = 1 + MARGIN // STRIDE  # cells: the window's own neighbour and what the convolutions see
    top, left = ((index - half) * STRIDE for index in cell)
    side = (2 * half + 1) * STRIDE
    crop = image[..., top : top + side, left : left + side]
    level = detector.patch_features.network(crop)[0]
    embedding = level[..., half - 1 : half + 2, half - 1 : half + 2].mean((2, 3))
    whole = detector.patch_features(image)
    torch.testing.assert_close(embedding, whole[..., cell[0], cell[1]], rtol=1e-4, atol=1e-4)
    gaussian = detector.gaussian["window"]
    mean, whiten = gaussian.get_buffer("mean")[..., cell[0], cell[1]], gaussian.get_buffer("whiten")[..., 0, 0]
    literal = ((embedding - mean) @ whiten.T).norm(dim=1)
    torch.testing.assert_close(literal, detector.score_patches(whole)[:, 0, cell[0], cell[1]], rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_a_crop_with_less_around_it_is_another_one(detector: CutPaste, image: Tensor) -> None:
    crop = image[..., 64:88, 88:112]  # the window of the cell (9, 12) alone
    embedding = detector.patch_features.network(crop)[0].mean((2, 3))
    assert not torch.allclose(embedding, detector.patch_features(image)[..., 9, 12], rtol=1e-2, atol=1e-2)


@torch.no_grad()
def test_the_image_is_scored_by_the_mean_of_its_windows(detector: CutPaste, image: Tensor) -> None:
    embedding = detector.patch_features(image).flatten(2).mean(2)
    gaussian = detector.gaussian["image"]
    whitened = (embedding - gaussian.get_buffer("mean")[..., 0, 0]) @ gaussian.get_buffer("whiten")[..., 0, 0].T
    torch.testing.assert_close(detector(image).score, whitened.norm(dim=1), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_held_out_images_are_the_unit_of_score_and_map(detector: CutPaste) -> None:
    held_out = torch.rand(5, 3, 192, 192, generator=torch.Generator().manual_seed(1))[4:]
    score, anomaly_map = detector(held_out)
    assert score.item() == pytest.approx(1, rel=1e-4)
    assert anomaly_map.max().item() == pytest.approx(1, rel=1e-4)
