"""The networks, the map and the score, and that a short training restores and finds what was simulated."""

import numpy as np
import pytest
import torch
from torch import Tensor

from edge_ad.data.simulated_defects import DefectSimulator
from edge_ad.errors import DataError, UsageError
from edge_ad.models.base import TrainingBatch
from edge_ad.models.draem import Draem, DraemParameters
from edge_ad.models.draem.networks import WIDTHS, Discriminative, Reconstructive, fold, unfold
from edge_ad.training.feature_cache import to_tensor
from tests.models.detectors import train


def _detector(**values: object) -> Draem:
    return Draem(DraemParameters.model_validate({"size": 64, **values}), pretrained=False).eval()


def _batch(index: int = 0) -> TrainingBatch:
    """Eight pictures of a square on grey, each with a simulated defect."""
    rng = np.random.default_rng(index)
    images = np.full((8, 64, 64, 3), 90, np.uint8)
    images[:, 16:48, 16:48] = 180
    images += rng.integers(0, 10, images.shape, dtype=np.uint8)
    simulator = DefectSimulator(0, clean_share=0.0)
    samples = [simulator.sample(image, (0, index, number)) for number, image in enumerate(images)]
    good, defective = (to_tensor(np.stack([sample[part] for sample in samples])) for part in (0, 1))  # type: ignore[misc]
    masks = torch.from_numpy(np.stack([sample.mask for sample in samples]))[:, None].float()
    return TrainingBatch(good, torch.empty(8, 0), defective, masks)


def test_full_has_the_size_that_was_published() -> None:
    with torch.device("meta"):
        networks = Reconstructive(WIDTHS["full"]), Discriminative(WIDTHS["full"])
    weights = sum(parameter.numel() for network in networks for parameter in network.parameters())
    assert weights == pytest.approx(97.4e6, rel=1e-3)


def test_both_networks_give_back_the_size_they_are_given() -> None:
    with torch.device("meta"):
        for spec in WIDTHS.values():
            blocks = fold(torch.rand(1, 3, 64, 96), spec.block)
            reconstruction = Reconstructive(spec)(blocks)
            assert unfold(reconstruction, spec.block).shape == (1, 3, 64, 96)
            logits = Discriminative(spec)(reconstruction, blocks)
            assert unfold(logits, spec.block).shape == (1, 2, 64, 96)


def test_the_middle_of_the_reconstruction_is_narrower_than_the_image() -> None:
    """Without skips all that is known of an image passes here; it must not fit in."""
    for spec in WIDTHS.values():
        shrinks = spec.block * 2 ** (len(spec.reconstructive) - 1)
        assert spec.reconstructive[-1] / shrinks**2 < 3 * (2 / 3 if spec.published is False else 2)


def test_the_map_is_the_softmax_and_the_score_the_largest_mean(images: Tensor) -> None:
    detector = _detector()
    output = detector(images)
    blocks = fold(images, 4)
    logits = unfold(detector.discriminative(detector.reconstructive(blocks), blocks), 4)
    torch.testing.assert_close(output.anomaly_map, logits.softmax(1)[:, 1:])
    means = torch.nn.functional.avg_pool2d(output.anomaly_map, 21, 1, 10)
    torch.testing.assert_close(output.score, means.amax((1, 2, 3)))


def test_a_short_training_restores_and_finds_defects_it_has_not_seen() -> None:
    detector, batch, other = _detector(), _batch(0), _batch(1)
    history = train(detector, batch, detector.stages()[0], steps=30)
    assert sum(history[-1].values()) < 0.5 * sum(history[0].values())
    assert history[-1]["focal"] < history[0]["focal"]
    detector.eval()
    assert other.defective is not None
    assert other.masks is not None
    with torch.no_grad():
        restored, found = detector.reconstruct(other.defective), detector(other.defective).anomaly_map
    inside = other.masks.expand_as(other.images) > 0
    before, after = ((picture - other.images)[inside].square().mean() for picture in (other.defective, restored))
    assert after < 0.5 * before
    assert found[other.masks > 0].mean() > 1.1 * found[other.masks == 0].mean()


def test_the_gradient_of_the_segmentation_reaches_the_reconstruction() -> None:
    detector, batch = _detector(), _batch()
    detector.start_stage(detector.stages()[0])
    detector.training_loss(batch, detector.stages()[0], torch.Generator())["focal"].backward()
    head = detector.reconstructive.head.weight.grad
    assert head is not None
    assert head.abs().max() > 0


def test_sizes_that_do_not_fit_and_missing_textures_are_refused() -> None:
    with pytest.raises(UsageError, match="multiple of 32"):
        _detector(size=80)
    with pytest.raises(DataError, match="no folder of textures"):
        Draem(DraemParameters(textures="/nowhere"))
    assert Draem(DraemParameters(textures="/nowhere"), pretrained=False).simulator is None
