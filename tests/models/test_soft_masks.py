"""From predicted errors to the soft mask, and its scaling to the skips."""

import pytest
import torch

from edge_ad.models.error_predictors import SoftMask, scale_mask


def _calibrated(errors: torch.Tensor, **options: object) -> SoftMask:
    soft_mask = SoftMask(**options)  # type: ignore[arg-type]
    for _ in range(200):
        soft_mask.update(errors)
    return soft_mask


def test_the_running_statistics_reach_those_of_the_patches() -> None:
    errors = 3 + 2 * torch.randn(8, 1, 4, 4)
    soft_mask = _calibrated(errors)
    torch.testing.assert_close(soft_mask.get_buffer("mean"), errors.mean(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(soft_mask.get_buffer("std"), errors.std(), rtol=1e-4, atol=1e-4)


def test_the_sigmoid_is_one_half_at_the_anchor() -> None:
    soft_mask = SoftMask("sigmoid", anchor=2.0)
    soft_mask.get_buffer("mean").fill_(5.0)
    soft_mask.get_buffer("std").fill_(0.5)
    errors = torch.tensor([5.0, 6.0, 6.5]).reshape(1, 1, 1, 3)
    expected = torch.sigmoid(torch.tensor([2.0, 0.0, -1.0]))
    torch.testing.assert_close(soft_mask(errors).flatten(), expected)


def test_a_drift_of_all_predictions_does_not_move_the_sigmoid() -> None:
    errors, query = torch.randn(8, 1, 4, 4), 3 * torch.randn(1, 1, 4, 4)
    there, here = _calibrated(errors + 50), _calibrated(errors)
    torch.testing.assert_close(there(query + 50), here(query), atol=1e-3, rtol=0)


def test_a_clean_image_is_hardly_attenuated_by_the_sigmoid_but_always_cut_by_minmax() -> None:
    errors = torch.randn(8, 1, 8, 8)
    assert _calibrated(errors)(errors).mean() > 0.8
    assert SoftMask("minmax")(errors).amin((1, 2, 3)).max() < 1e-5


def test_minmax_spans_zero_to_one_in_every_image_and_reverses_the_order() -> None:
    errors = torch.randn(3, 1, 4, 4) * torch.tensor([1.0, 10.0, 0.1])[:, None, None, None]
    mask = SoftMask("minmax")(errors)
    torch.testing.assert_close(mask.amax((1, 2, 3)), torch.ones(3))
    torch.testing.assert_close(mask.amin((1, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    assert torch.equal(mask.flatten(1).argsort(), errors.flatten(1).argsort(descending=True))


def test_minmax_of_equal_errors_passes_everything() -> None:
    assert torch.equal(SoftMask("minmax")(torch.full((1, 1, 3, 3), 4.0)), torch.ones(1, 1, 3, 3))


def test_hard_masking_rounds() -> None:
    soft_mask = SoftMask("sigmoid", anchor=0.0, masking="hard")
    errors = torch.tensor([-1.0, -0.01, 0.01, 1.0]).reshape(1, 1, 1, 4)
    assert soft_mask(errors).flatten().tolist() == [1, 1, 0, 0]


def test_equal_patches_do_not_break_the_statistics() -> None:
    soft_mask = _calibrated(torch.full((2, 1, 4, 4), 3.0))
    assert torch.isfinite(soft_mask(torch.full((2, 1, 4, 4), 3.0))).all()


def test_nearest_scaling_repeats_and_bilinear_scaling_blends() -> None:
    mask = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2)
    assert scale_mask(mask, (1, 4), "nearest").flatten().tolist() == [0, 0, 1, 1]
    assert scale_mask(mask, (1, 4), "bilinear").flatten().tolist() == pytest.approx([0, 0.25, 0.75, 1])
    assert torch.equal(scale_mask(mask, (1, 2), "bilinear"), mask)
