"""SimpleNet learns to tell what its training features did not hold."""

import pytest
import torch
from torch import Tensor

from edge_ad.models import create_detector
from edge_ad.models.base import TrainingBatch
from edge_ad.models.discriminators import SimpleNet
from edge_ad.models.discriminators.discriminator import Patches
from tests.models.detectors import fit, train


@pytest.fixture
def detector() -> SimpleNet:
    made = create_detector(
        "simplenet", {"size": 64, "hidden": 32, "standardise": "channel", "start": "random", "positions": 0.25}
    )
    assert isinstance(made, SimpleNet)
    return made


def test_its_loss_is_truncated_l1_between_patches_and_noisy_patches(detector: SimpleNet) -> None:
    projected = torch.randn(2, 6, detector.patch_features.channels)
    terms = detector.boundary_loss(Patches(projected, torch.zeros(2, 6), projected), torch.Generator().manual_seed(5))
    noise = torch.randn(12, projected.shape[2], generator=torch.Generator().manual_seed(5))
    logits = detector.head.discriminate(torch.cat([projected.flatten(0, 1), projected.flatten(0, 1) + noise]))
    torch.testing.assert_close(terms["normal"], (0.5 + logits[:12]).clamp_min(0).mean())
    torch.testing.assert_close(terms["synthetic"], (0.5 - logits[12:]).clamp_min(0).mean())


def test_training_raises_the_scores_of_foreign_patches(detector: SimpleNet, images: Tensor) -> None:
    features = fit(detector, images)
    history = train(detector, TrainingBatch(torch.empty(4, 0), features), detector.stages()[0], steps=60)
    assert sum(history[-1].values()) < 0.5 * sum(history[0].values())
    detector.eval()
    defective = images.clone()
    defective[..., 16:32, 40:56] = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert (detector(defective).score > detector(images).score).all()


def test_only_projection_and_discriminator_are_trained(detector: SimpleNet, images: Tensor) -> None:
    fit(detector, images)
    groups = detector.start_stage(detector.stages()[0])
    trained = {id(parameter) for group in groups for parameter in group["params"]}
    assert trained == {id(parameter) for parameter in detector.trainable()}
    names = {name.split(".")[1] for name, p in detector.named_parameters() if id(p) in trained}
    assert names == {"projection", "hidden", "norm", "out"}
    assert [group["lr_scale"] for group in groups] == [1.0, 2.0]
