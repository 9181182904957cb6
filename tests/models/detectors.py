"""Tiny detectors for the tests: random backbone, 64 × 64 pixels, the narrowest U-Net, random weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edge_ad.models.base import AnomalyDetector, Stage, TrainingBatch
from edge_ad.models.ear import Ear, EarParameters
from edge_ad.models.fader import Fader, FaderParameters
from edge_ad.models.mask_sources import MaskSource

__all__ = ["GivenSuspicion", "fit", "make_ear", "make_fader", "train"]


class GivenSuspicion(MaskSource):
    """A mask source whose suspicion a test dictates.

    Args:
        suspicion: (1, 1, h, w) in [0, 1]; above one half is masked.
        locates: What ``composite="auto"`` asks for.
    """

    def __init__(self, suspicion: Tensor, *, locates: bool = True) -> None:
        super().__init__()
        self.suspicion = suspicion
        self.locates = locates  # type: ignore[misc]

    def forward(self, images: Tensor, features: Tensor | None) -> Tensor:
        return self.suspicion.expand(len(images), -1, -1, -1)

    def binary(self, suspicion: Tensor) -> Tensor:
        return (suspicion > 0.5).to(suspicion.dtype)

    def soft(self, suspicion: Tensor) -> Tensor:
        return suspicion


def make_ear(**values: Any) -> Ear:
    """An EAR with random weights."""
    return Ear(EarParameters.model_validate({"size": 64, "width": "pico", **values}), pretrained=False).eval()


def make_fader(**values: Any) -> Fader:
    """A FADeR with random weights."""
    return Fader(FaderParameters.model_validate({"size": 64, "width": "pico", **values}), pretrained=False).eval()


def fit(detector: AnomalyDetector, images: Tensor) -> Tensor:
    """Fit the detector on noisy copies of images and return the frozen outputs of the images."""
    if detector.backbone is None:
        return detector.frozen_outputs(images, None)
    copies = [(images + 0.03 * torch.randn_like(images)).clamp(0, 1) for _ in range(3)]
    detector.fit_features(detector.backbone(torch.cat(copies[:2])), detector.backbone(copies[2]))
    return detector.frozen_outputs(images, detector.backbone(images))


def train(detector: AnomalyDetector, batch: TrainingBatch, stage: Stage, *, steps: int = 20) -> list[dict[str, float]]:
    """Loss terms before each step of a stage, over always the same pairs of patches."""
    groups = [{"params": g["params"], "lr": 3e-3 * g["lr_scale"]} for g in detector.start_stage(stage)]
    optimiser, history = torch.optim.Adam(groups), []
    for _ in range(steps):
        terms = detector.training_loss(batch, stage, torch.Generator().manual_seed(0))
        optimiser.zero_grad()
        torch.autograd.backward(torch.stack(list(terms.values())).sum())
        optimiser.step()
        history.append({name: term.item() for name, term in terms.items()})
    return history
