"""The deploy graph: a detector together with what a camera frame needs before it and a user after it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edge_ad.models.base import AnomalyDetector

__all__ = ["DeployGraph"]


class DeployGraph(nn.Module):
    """uint8 BGR frames → scores and maps, as every engine runs it.

    Args:
        detector: The detector, in evaluation mode.
    """

    def __init__(self, detector: AnomalyDetector) -> None:
        super().__init__()
        self.detector = detector.deployed()
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Score frames.

        Args:
            image: uint8 (N, H, W, 3), BGR.

        Returns:
            ``score`` float32 (N,) and ``anomaly_map`` float32 (N, H, W).
        """
        # The cast comes first: TensorRT takes uint8 as an input, and for nothing but a cast.
        pixels = image.to(torch.float32).permute(0, 3, 1, 2)
        blue, green, red = (pixels[:, channel : channel + 1] for channel in range(3))
        # Slices, not an index: a Gather is slow in some backends and refused by others.
        output = self.detector(torch.cat([red, green, blue], dim=1) / 255.0)
        return output.score, output.anomaly_map.squeeze(1)
