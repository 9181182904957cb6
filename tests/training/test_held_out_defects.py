"""Figures of simulated defects, with detectors whose answers are known."""

import numpy as np
import pytest
import torch
from torch import Tensor

from edge_ad.evaluation.sheet import DefectExample
from edge_ad.models.base import AnomalyDetector, DetectorOutput, MethodParameters
from edge_ad.training.held_out_defects import judge_defects

GREY, WHITE = 100, 200


class _Whiteness(AnomalyDetector):
    """Finds what is brighter than 150 of 255, and paints a given share of the way back to grey over it."""

    def __init__(self, restored: float | None) -> None:
        super().__init__()
        self.config, self.restored = MethodParameters(size=8), restored

    def forward(self, images: Tensor) -> DetectorOutput:
        found = (images.mean(1, keepdim=True) - 150 / 255).clamp_min(0)
        return DetectorOutput(found.amax((1, 2, 3)), found)

    def reconstruct(self, images: Tensor) -> Tensor | None:
        return None if self.restored is None else images + self.restored * (GREY / 255 - images)


def _examples(count: int = 3) -> list[DefectExample]:
    examples = []
    for index in range(count):
        good, mask = np.full((8, 8, 3), GREY, np.uint8), np.zeros((8, 8), np.bool_)
        mask[index : index + 2, 1:5] = True
        defective = good.copy()
        defective[mask] = WHITE
        examples.append(DefectExample(str(index), good, defective, mask))
    return examples


def test_one_that_finds_and_restores_all_has_ones_and_nothing_left() -> None:
    judged = judge_defects(_Whiteness(1.0), _examples())
    assert (judged.image_auroc, judged.pixel_ap, judged.left, judged.good_maximum) == (1.0, 1.0, 0.0, 0.0)
    for example in judged.examples:
        assert example.reconstruction is not None
        assert example.anomaly_map is not None
        np.testing.assert_array_equal(example.reconstruction, example.good)
        np.testing.assert_array_equal(example.anomaly_map > 0, example.mask)


def test_half_restored_leaves_a_quarter_of_the_square() -> None:
    assert judge_defects(_Whiteness(0.5), _examples()).left == pytest.approx(0.25, abs=0.01)


def test_one_that_does_not_restore_has_no_such_picture() -> None:
    judged = judge_defects(_Whiteness(None), _examples())
    assert judged.left is None
    assert judged.examples[0].reconstruction is None


def test_one_that_finds_good_images_guesses() -> None:
    class _Blind(_Whiteness):
        def forward(self, images: Tensor) -> DetectorOutput:
            ones = torch.ones_like(images[:, :1])
            return DetectorOutput(ones.amax((1, 2, 3)), ones)

    judged = judge_defects(_Blind(None), _examples())
    assert judged.image_auroc == 0.5
    assert judged.pixel_ap == pytest.approx(8 / 64)
    assert judged.good_maximum == 1.0
