"""Light and contrast of a picture: what falls out, what stays, and what a detector makes of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from edge_ad.errors import UsageError
from edge_ad.models.feature_detector import PatchFeatures
from edge_ad.models.picture_normalisation import PictureNormalisation
from edge_ad.models.registry import create_detector, restore_detector


def _photos(count: int = 3, side: int = 64) -> Tensor:
    return torch.randint(60, 180, (count, 3, side, side), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_means_are_those_of_the_photos_and_the_deviation_is_one_for_all_colours() -> None:
    normalisation = PictureNormalisation()
    normalisation.fit(_photos())
    picture = torch.rand(1, 3, 64, 64) * torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)
    normalised = normalisation(picture)
    wanted = (_photos() / 255.0).mean((0, 2, 3))
    torch.testing.assert_close(normalised.mean((0, 2, 3)), wanted, rtol=0, atol=1e-5)
    ratio = normalised.std((0, 2, 3)) / picture.std((0, 2, 3))
    assert ratio.tolist() == pytest.approx([float(ratio[0])] * 3, rel=1e-4)


def test_gain_offset_haze_and_white_balance_of_the_whole_picture_fall_out() -> None:
    normalisation = PictureNormalisation()
    normalisation.fit(_photos())
    picture = torch.rand(1, 3, 64, 64)
    other = 0.4 * picture + torch.tensor([0.1, 0.3, -0.2]).view(1, 3, 1, 1)
    torch.testing.assert_close(normalisation(other), normalisation(picture), rtol=0, atol=2e-3)


def test_a_picture_of_one_colour_stays_one() -> None:
    normalisation = PictureNormalisation()
    normalisation.fit(_photos())
    assert float(normalisation(torch.full((1, 3, 8, 8), 0.9)).std((2, 3)).max()) < 1e-4


@pytest.mark.parametrize("matching", ["none", "moments", "counts"])
def test_the_features_of_a_darker_picture_are_those_of_the_picture(matching: Any) -> None:
    network = PatchFeatures(pretrained=False, input_normalisation="picture", centring=True, matching=matching)
    network.network.draw_weights(0)
    network.fit_photos(_photos())
    picture = _photos(1) / 255.0
    features, darker = network(picture), network(0.5 * picture)
    assert float((features - darker).norm() / features.norm()) < 1e-2
    assert float(features.mean((2, 3)).abs().max()) < 1e-3


def test_matching_fits_the_deeper_level_on_what_the_finer_one_makes_of_the_photos() -> None:
    network = PatchFeatures(pretrained=False, matching="moments").network
    network.draw_weights(0)
    network.fit_matching([_photos() / 255.0])
    seen: dict[str, Tensor] = {}
    for level, module in network.matching.items():
        module.register_forward_pre_hook(lambda _, inputs, level=level: seen.update({level: inputs[0]}))
    network(_photos() / 255.0)
    assert list(seen) == ["4", "8"]
    reference = network.matching["8"].get_buffer("reference")[:, 0]
    torch.testing.assert_close(seen["8"].mean((0, 2, 3)), reference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["patch-gaussian", "patch-metric", "boundary-shuffling"])
def test_a_run_that_is_older_than_these_parameters_was_trained_with_none_of_them(method: str) -> None:
    off = {"views": 0, "input_normalisation": "none", "feature_centring": False, "matching": "none"}
    of_its_time = {"block": 1} if method == "patch-gaussian" else {}
    state = create_detector(method, {"size": 64, **off, **of_its_time}).state_dict()
    config = restore_detector(method, {"size": 64}, state).config.model_dump()
    assert {name: config[name] for name in off} == off


def test_cutpaste_classifies_the_mean_that_centring_would_take_away() -> None:
    with pytest.raises(UsageError, match="feature_centring"):
        create_detector("cutpaste", {"size": 64, "feature_centring": True})
    with pytest.raises(UsageError, match="matching"):
        create_detector("cutpaste", {"size": 64, "matching": "moments"})
