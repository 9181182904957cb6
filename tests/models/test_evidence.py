"""What the anomaly map is made of: the reconstruction alone, or weighed with the patch distance."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from edge_ad.errors import UsageError
from edge_ad.models import create_detector
from edge_ad.models.ear import Ear


def _fitted(evidence: str) -> tuple[Ear, torch.Tensor]:
    torch.set_num_threads(1)
    detector = create_detector("ear", {"size": 64, "width": "pico", "evidence": evidence})
    assert isinstance(detector, Ear)
    assert detector.backbone is not None
    images = torch.rand(6, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    features = detector.backbone(images)
    detector.fit_features(features[:4], features[4:])
    return detector, images


def test_the_papers_map_is_the_smoothed_msgms() -> None:
    detector, images = _fitted("reconstruction")
    with torch.inference_mode():
        expected = detector.smoothing(detector.msgms(images, detector.reconstruct(images)))
        assert torch.allclose(detector(images).anomaly_map, expected, atol=1e-6)


@pytest.mark.parametrize("evidence", ["auto", "fused"])
def test_the_fused_map_weighs_the_relative_distance_by_the_fourth_root(evidence: str) -> None:
    detector, images = _fitted(evidence)
    assert detector.backbone is not None
    with torch.inference_mode():
        smoothed = detector.smoothing(detector.msgms(images, detector.reconstruct(images)))
        distance = detector.mask_source(images, detector.backbone(images)) / detector.mask_source.get_buffer("limit")
        distance = F.interpolate(distance, (64, 64), mode="bilinear", align_corners=False)
        output = detector(images)
    assert torch.allclose(output.anomaly_map, distance * (smoothed + 1e-3) ** 0.25, atol=1e-6)
    assert torch.equal(output.score, output.anomaly_map.amax((1, 2, 3)))


def test_without_a_patch_distance_auto_is_the_papers_map_and_fused_is_refused() -> None:
    values = {"size": 64, "width": "pico", "mask_source": "full"}
    auto, plain = (create_detector("ear", {**values, "evidence": name}) for name in ("auto", "reconstruction"))
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(auto(image).anomaly_map, plain(image).anomaly_map)
    with pytest.raises(UsageError, match="patch distance"):
        create_detector("ear", {**values, "evidence": "fused"})
