"""The loss against hand-computed values, and which window counts as what."""

import math

import pytest
import torch

from edge_ad.models import create_detector
from edge_ad.models.base import TrainingBatch
from edge_ad.models.cutpaste import CutPaste
from edge_ad.models.cutpaste.detector import IGNORED, balanced_cross_entropy, window_labels


def test_classes_count_alike_however_many_there_are_of_each() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [5.0, 0.0, 9.0]])
    labels = torch.tensor([0, 0, 1, IGNORED])
    rectangle = math.log(math.exp(2) + 2)  # -log(1 / (e² + 1 + 1))
    assert balanced_cross_entropy(logits, labels).item() == pytest.approx((math.log(3) + rectangle) / 2)


def test_a_window_is_pasted_on_in_the_middle_normal_outside_and_ignored_between() -> None:
    masks = torch.zeros(3, 1, 32, 48, dtype=torch.bool)
    masks[1, 0, 15, 16] = True  # one pixel of the cell (1, 2)
    masks[2, 0, 24:32, 40:48] = True  # the cell (3, 5)
    labels = window_labels(torch.tensor([0, 1, 2]), masks, (4, 6), 3)
    ignored = IGNORED
    assert labels[0].eq(0).all()
    assert labels[1].tolist() == [
        [0, ignored, ignored, ignored, 0, 0],
        [0, ignored, 1, ignored, 0, 0],
        [0, ignored, ignored, ignored, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]
    assert labels[2].tolist() == [[0] * 6, [0] * 6, [0, 0, 0, 0, ignored, ignored], [0, 0, 0, 0, ignored, 2]]


def test_classifiers_that_know_nothing_lose_the_logarithm_of_three() -> None:
    detector = create_detector("cutpaste", {"size": 64, "weights": "random", "window_weight": 0.5})
    assert isinstance(detector, CutPaste)
    for head in detector.heads.values():
        for parameter in head.parameters():
            torch.nn.init.zeros_(parameter)
    batch = TrainingBatch(torch.rand(2, 3, 64, 64), torch.zeros(2, 0))
    stage = detector.stages()[1]
    detector.start_stage(stage)
    terms = detector.training_loss(batch, stage, torch.Generator().manual_seed(0))
    assert terms["image"].item() == pytest.approx(math.log(3))
    assert terms["window"].item() == pytest.approx(0.5 * math.log(3))


def test_without_its_weight_windows_are_not_classified() -> None:
    detector = create_detector("cutpaste", {"size": 64, "weights": "random", "window_weight": 0})
    batch = TrainingBatch(torch.rand(2, 3, 64, 64), torch.zeros(2, 0))
    assert set(detector.training_loss(batch, detector.stages()[0], torch.Generator())) == {"image"}


def test_the_backbone_is_frozen_first_and_then_trained_at_its_own_rate() -> None:
    detector = create_detector("cutpaste", {"size": 64, "weights": "random", "backbone_scale": 0.3})
    head, tuned = (detector.start_stage(stage) for stage in detector.stages())
    assert [group["lr_scale"] for group in head] == [1.0]
    assert [group["lr_scale"] for group in tuned] == [0.3, 1.0]
    assert isinstance(detector, CutPaste)
    stages = []
    for stage in detector.stages():
        detector.start_stage(stage)
        stages.append(any(parameter.requires_grad for parameter in detector.patch_features.parameters()))
    assert stages == [False, True]
