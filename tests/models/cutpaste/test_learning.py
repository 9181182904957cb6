"""That the classifiers learn to tell pasted patches apart, on images that they have not seen."""

import math

import torch
from torch import Tensor

from edge_ad.models.base import TrainingBatch
from edge_ad.models.cutpaste import CutPaste, CutPasteParameters
from edge_ad.models.cutpaste.detector import make_views


def _stripes(count: int, seed: int) -> Tensor:
    """Waves of 9 pixels that begin anywhere, so that what is pasted breaks them; with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    start = 2 * math.pi * torch.rand(count, 1, 1, 1, generator=generator)
    waves = 0.5 + 0.35 * torch.sin(torch.arange(64.0) * 2 * math.pi / 9 + start)
    return (waves + 0.03 * torch.randn(count, 3, 64, 64, generator=generator)).clamp(0, 1)


@torch.no_grad()
def _accuracy(detector: CutPaste) -> float:
    views, classes, _ = make_views(_stripes(40, 99), 0.1, torch.Generator().manual_seed(7))
    logits = detector.heads["image"](detector.patch_features(views).mean((2, 3)))
    return float((logits.argmax(1) == classes).float().mean())


def test_accuracy_on_images_not_seen_rises_from_a_guess() -> None:
    detector = CutPaste(CutPasteParameters(size=64, hidden=32))
    guessed = _accuracy(detector)
    stage, generator = detector.stages()[0], torch.Generator().manual_seed(1)
    groups = detector.start_stage(stage)
    optimiser = torch.optim.Adam(groups[0]["params"], 1e-2)
    for step in range(20):
        optimiser.param_groups[0]["lr"] = 1e-2 * (1 - step / 20)
        terms = detector.training_loss(TrainingBatch(_stripes(8, step), torch.empty(8, 0)), stage, generator)
        optimiser.zero_grad()
        torch.autograd.backward(list(terms.values()))
        optimiser.step()
    assert guessed < 0.45  # one third is chance, and 0.04 its standard deviation
    assert _accuracy(detector) > 0.52
