"""Reverse distillation: what is trained, on what, and that it finds what it has not seen."""

import pytest
import torch
from torch import Tensor

from edge_ad.errors import UsageError
from edge_ad.models import create_detector
from edge_ad.models.base import TrainingBatch
from edge_ad.models.distillation import ReverseDistillation
from edge_ad.models.distillation.teacher import Teacher
from tests.models.detectors import fit, train


@pytest.fixture
def detector() -> ReverseDistillation:
    made = create_detector("rd4ad", {"size": 64})
    assert isinstance(made, ReverseDistillation)
    return made


def test_packed_levels_are_unpacked_as_they_were(images: Tensor) -> None:
    teacher = Teacher("efficientnet-lite0", "random", 0)
    packed = teacher(images)
    assert packed.shape == (4, 24 * 16 + 40 * 4 + 112, 4, 4)
    for found, level in zip(teacher.unpack(packed), teacher.levels(images), strict=True):
        assert torch.equal(found, level)


def test_the_student_learns_and_the_teacher_does_not_move(detector: ReverseDistillation, images: Tensor) -> None:
    teacher = {name: value.clone() for name, value in detector.teacher.state_dict().items()}
    batch = TrainingBatch(images, fit(detector, images))
    history = train(detector, batch, detector.stages()[0])
    assert history[-1]["levels"] < 0.6 * history[0]["levels"]
    assert all(torch.equal(value, teacher[name]) for name, value in detector.teacher.state_dict().items())


def test_the_optimiser_has_the_moments_of_the_authors(detector: ReverseDistillation) -> None:
    (group,) = detector.start_stage(detector.stages()[0])
    assert torch.optim.Adam([{"params": group["params"], "betas": group["betas"]}]).param_groups[0]["betas"] == (
        0.5,
        0.999,
    )
    assert not detector.mirrors


def test_the_map_points_at_what_was_not_seen(detector: ReverseDistillation, images: Tensor) -> None:
    train(detector, TrainingBatch(images, fit(detector, images)), detector.stages()[0], steps=60)
    detector.eval()
    defective = images[:1].clone()
    defective[..., 16:32, 40:56] = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        good, bad = detector(images[:1]), detector(defective)
    row, column = divmod(int((bad.anomaly_map - good.anomaly_map).flatten().argmax()), 64)
    assert 8 <= row < 40
    assert 32 <= column < 64


def test_folding_the_batch_norms_changes_nothing(detector: ReverseDistillation, images: Tensor) -> None:
    train(detector, TrainingBatch(images, fit(detector, images)), detector.stages()[0], steps=3)
    detector.eval()
    with torch.no_grad():
        for found, expected in zip(detector.deployed()(images), detector(images), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [32, 100])
def test_a_size_that_does_not_fit_is_refused(size: int) -> None:
    with pytest.raises(UsageError, match="does not fit"):
        create_detector("reverse-distillation", {"size": size})


@pytest.mark.parametrize("values", [{"matching": "moments"}, {"matching": "exact", "matching_share": 1.0}])
def test_the_student_learns_unmatched_levels(values: dict[str, object], images: Tensor) -> None:
    plain, matched = (create_detector("rd4ad", {"size": 64, **more}) for more in ({}, values))
    assert isinstance(plain, ReverseDistillation)
    assert isinstance(matched, ReverseDistillation)
    matched.fit_photos((images * 255).to(torch.uint8))
    darker = images * 0.3
    for found, expected in zip(matched.teacher.unmatched_levels(darker), plain.teacher.levels(darker), strict=True):
        assert torch.equal(found, expected)
    for found, expected in zip(matched.teacher.levels(darker), plain.teacher.levels(darker), strict=True):
        assert (found - expected).abs().max() > 0.1


def test_a_darker_picture_is_seen_as_the_photos_once_its_light_is_normalised(images: Tensor) -> None:
    detector = create_detector("rd4ad", {"size": 64, "input_normalisation": "picture"})
    assert isinstance(detector, ReverseDistillation)
    detector.fit_photos((images * 255).to(torch.uint8))
    for found, expected in zip(
        detector.teacher.levels(0.5 * images + 0.2), detector.teacher.levels(images), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=0.05, atol=0.02 * float(expected.abs().max()))
