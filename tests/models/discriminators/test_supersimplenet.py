"""SuperSimpleNet's losses, what its steps see, and what labelled defects change."""

import math

import pytest
import torch
from torch import Tensor

from edge_ad.models import create_detector
from edge_ad.models.base import TrainingBatch
from edge_ad.models.discriminators import SuperSimpleNet
from edge_ad.models.discriminators.labelled import TrainingMaps, defective_positions, positions_beside
from edge_ad.models.discriminators.losses import focal, masked_truncated_l1
from edge_ad.models.discriminators.perlin_areas import perlin_areas
from tests.models.detectors import fit, train

SMALL = {"size": 64, "hidden": 16, "classifier_width": 8, "standardise": "channel", "start": "random"}


def _detector(**values: object) -> SuperSimpleNet:
    made = create_detector("supersimplenet", {**SMALL, **values})
    assert isinstance(made, SuperSimpleNet)
    return made


def test_the_focal_loss_is_that_of_a_hand_calculation() -> None:
    logits, targets = torch.tensor([0.0, math.log(3.0)]), torch.tensor([1.0, 0.0])
    # p = 1/2 of a defect: (1/2)² · ln 2; p = 3/4 of a good one: (3/4)² · ln 4.
    expected = (0.25 * math.log(2) + 0.5625 * math.log(4)) / 2
    assert float(focal(logits, targets, 2.0)) == pytest.approx(expected, rel=1e-6)


def test_the_truncated_l1_is_taken_over_each_side_of_the_mask() -> None:
    logits, masks = torch.tensor([[-1.0, 0.25, 2.0, 0.0]]), torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    normal, anomalous = masked_truncated_l1(logits, masks, 0.5)
    assert float(normal) == pytest.approx((0 + 0.75) / 2)
    assert float(anomalous) == pytest.approx((0 + 0.5) / 2)
    assert float(masked_truncated_l1(logits, torch.zeros_like(masks), 0.5)[1]) == 0.0


def test_maps_whose_defects_nobody_marked_are_in_the_loss_of_the_score_alone() -> None:
    detector = _detector(focus=0)
    nothing = torch.zeros(2, 1, 1, 1)
    maps = TrainingMaps(nothing, nothing, nothing, nothing, torch.tensor([0.0, 1.0]), torch.tensor([1, 0]))
    terms = detector.losses(torch.tensor([0.0, 9.0]).reshape(2, 1, 1, 1), torch.zeros(2), maps)
    assert float(terms["normal"]) == pytest.approx(0.5)
    assert float(terms["map"]) == pytest.approx(math.log(2))
    assert float(terms["score"]) == pytest.approx(math.log(2))


def test_a_marked_defect_has_its_own_mean_and_what_sees_part_of_it_is_in_none() -> None:
    logits = torch.tensor([[[[0.25, 2.0], [-2.0, 0.0]]]])
    masks, marked = torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]]]), torch.tensor([[[[0.0, 0.0], [1.0, 0.0]]]])
    spared, one = torch.tensor([[[[0.0, 0.0], [0.0, 1.0]]]]), torch.ones(1)
    maps = TrainingMaps(logits, masks, marked, spared, one, one)
    terms = _detector().losses(logits, torch.zeros(1), maps)
    found = {name: float(terms[name]) for name in ("normal", "anomalous", "defective")}
    assert found == {"normal": 0.75, "anomalous": 0.0, "defective": 2.5}
    together = _detector(own_mean=False).losses(logits, torch.zeros(1), maps)
    assert "defective" not in together
    assert float(together["anomalous"]) == pytest.approx(1.25)


def test_positions_that_a_mask_touches_and_their_neighbours_are_beside_the_defect() -> None:
    masks = torch.zeros(1, 20, 20, dtype=torch.bool)
    masks[0, 8:12, 8:13] = True  # all of the position in the middle of 5 x 5, and a rim of the next
    positions = defective_positions(masks, (5, 5))
    assert positions[0, 0].nonzero().tolist() == [[2, 2]]
    beside = positions_beside(masks, positions, 1)[0, 0]
    assert beside.sum() == 11
    assert (beside[2, 2], beside[2, 4], beside[0].sum()) == (0, 1, 0)
    assert positions_beside(masks, positions, 0).sum() == 0


def test_half_of_the_maps_get_areas_of_noise_and_the_same_seed_the_same() -> None:
    first, second = (perlin_areas(200, (16, 8), 0.2, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, second)
    shares = first.mean((1, 2, 3))
    assert 0.35 < float((shares > 0).float().mean()) < 0.6
    assert 0.1 < float(shares[shares > 0].mean()) < 0.4


def test_a_defect_smaller_than_half_a_position_marks_the_one_it_covers_most() -> None:
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    masks[0, :4, :6] = True  # all of one position of 4 x 4 pixels, half of the next
    masks[1, 3:5, 3] = True  # one pixel of each of two
    masks[1, 5, 3] = True
    found = defective_positions(masks, (2, 2))
    assert found[:, 0].tolist() == [[[1, 1], [0, 0]], [[0, 0], [1, 0]], [[0, 0], [0, 0]]]


def test_labelled_defects_are_told_from_good_parts_that_look_alike_without_them(images: Tensor) -> None:
    torch.manual_seed(1)
    shifts = {}
    for is_labelled in (False, True):
        detector = _detector(classifier_score=True, epochs=1)
        features = fit(detector, images)
        direction = torch.zeros(detector.patch_features.channels)
        direction[3] = 1.0
        assert detector.backbone is not None
        good = detector.backbone(images)
        defective, masks = good.clone(), torch.zeros(len(good), 64, 64, dtype=torch.bool)
        masks[:, 16:32, 16:32] = True
        defective[:, :, 2:4, 2:4] += 0.5 * good.std() * direction[:, None, None]
        if is_labelled:
            detector.fit_labelled(defective, masks, torch.ones(len(good), dtype=torch.bool))
        (stage,) = detector.stages()
        assert stage.gradient_norm == (1.0 if is_labelled else 0.0)
        train(detector, TrainingBatch(torch.empty(4, 0), features), stage, steps=60)
        detector.eval()
        with torch.no_grad():
            scores = [detector.score_features(features).score for features in (defective, good)]
            maps = [detector.score_patches(features)[..., 2:4, 2:4] for features in (defective, good)]
            shifts[is_labelled] = [float((one - other).mean()) for one, other in (scores, maps)]
    assert shifts[True][0] > 2 * abs(shifts[False][0])
    assert shifts[True][1] > 2 * abs(shifts[False][1])


def test_the_classification_loss_reaches_the_segmentation_head_with_labels_alone(images: Tensor) -> None:
    for stop, reaches in ((True, False), (False, True)):
        detector = _detector(stop_gradient=stop)
        features = fit(detector, images)
        detector.start_stage(detector.stages()[0])
        terms = detector.head_loss(features, torch.Generator().manual_seed(0))
        terms["score"].backward()  # type: ignore[no-untyped-call]
        gradient = detector.head.out.weight.grad
        assert (gradient is not None and bool(gradient.abs().sum() > 0)) == reaches


def test_the_highest_place_of_a_map_has_the_score_of_the_second_head(images: Tensor) -> None:
    detector = _detector(classifier_score=True)
    fit(detector, images)
    with torch.no_grad():
        score, anomaly_map = detector(images)
        detector.config = detector.config.model_copy(update={"classifier_score": False})
        plain = detector(images).anomaly_map
    torch.testing.assert_close(anomaly_map.amax((1, 2, 3)), score)
    shifts = anomaly_map - plain
    torch.testing.assert_close(shifts, shifts[..., :1, :1].expand_as(shifts), rtol=1e-4, atol=1e-4)
