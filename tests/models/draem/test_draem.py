"""The networks, the map and the score, and that a short training restores and finds what was simulated."""

import numpy as np
import pytest
import torch
from torch import Tensor

from edge_ad.data.simulated_defects import DefectSimulator
from edge_ad.errors import DataError, UsageError
from edge_ad.evaluation.metrics import pixel_average_precision
from edge_ad.models.base import TrainingBatch
from edge_ad.models.draem import Draem, DraemParameters
from edge_ad.models.draem.networks import WIDTHS, Discriminative, Reconstructive, fold, unfold
from edge_ad.training.feature_cache import to_tensor


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


def _trained(batches: list[TrainingBatch], steps: int) -> Draem:
    """Trained at a rate that falls to zero."""
    detector = _detector()
    stage = detector.stages()[0]
    optimiser = torch.optim.Adam(detector.start_stage(stage), 1e-2)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 1e-2 * (1 - step / steps)
        terms = detector.training_loss(batches[step % len(batches)], stage, torch.Generator())
        optimiser.zero_grad()
        torch.autograd.backward(list(terms.values()))
        optimiser.step()
    return detector.eval()


def _judged(detector: Draem, batch: TrainingBatch) -> tuple[float, float]:
    """What is left of the defects, as a share of their square; how much better than by chance pixels are found."""
    assert batch.defective is not None
    assert batch.masks is not None
    with torch.no_grad():
        restored, found = detector.reconstruct(batch.defective), detector(batch.defective).anomaly_map
    inside = batch.masks.expand_as(batch.images) > 0
    before, after = ((picture - batch.images)[inside].square().mean() for picture in (batch.defective, restored))
    precision = pixel_average_precision(batch.masks[:, 0].numpy() > 0, found[:, 0].numpy())
    return float(after / before), precision / float(batch.masks.mean())


def test_a_short_training_restores_and_finds_defects_it_has_not_seen() -> None:
    batches, other = [_batch(index) for index in range(8)], _batch(99)
    left, lift = _judged(_trained(batches, steps=60), other)
    assert left < 0.15
    assert lift > 3  # four to six with other seeds


def test_a_training_with_the_masks_of_other_images_finds_nothing() -> None:
    """So that the test above could fail."""
    batches = [_batch(index) for index in range(8)]
    wrong = [batch._replace(masks=other.masks) for batch, other in zip(batches, reversed(batches), strict=True)]
    left, lift = _judged(_trained(wrong, steps=60), _batch(99))
    assert left < 0.15
    assert lift < 2


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
    with pytest.raises(UsageError, match="crop 48 does not fit"):
        _detector(crop=48)
    with pytest.raises(DataError, match="no folder of textures"):
        Draem(DraemParameters(textures="/nowhere"))
    assert Draem(DraemParameters(textures="/nowhere"), pretrained=False).simulator is None
