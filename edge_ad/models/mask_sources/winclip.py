"""WinCLIP's map as the mask, as FADeR's Table 2 has it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.models.mask_sources.base import MaskSource, top_mass
from edge_ad.models.winclip.windows import WindowScores

__all__ = ["WinClipMap"]


class WinClipMap(MaskSource):
    """Harmonic mean of what CLIP says of each patch's windows; the top share of its mass is masked.

    Args:
        config: Configuration of CLIP's image tower, as JSON data.
        grid_hw: Grid to bring the map to, patches.
        mass: Share of the map's mass that is masked.
    """

    def __init__(self, config: dict[str, Any], grid_hw: tuple[int, int], mass: float = 0.6) -> None:
        super().__init__()
        self.windows = WindowScores(config)
        self.grid_hw, self.mass = grid_hw, mass

    def forward(self, images: Tensor, features: Tensor | None) -> Tensor:
        """(N, 3, H, W) → probability of an anomaly (N, 1, h, w) on the grid, in (0, 1)."""
        return F.interpolate(self.windows(images).patches, self.grid_hw, mode="nearest")

    def cross_fitted(self, images: Tensor, features: Tensor | None, views: int = 0) -> Tensor:
        """Nothing is fitted; image by image, because each has some hundred windows."""
        device = next(self.parameters()).device
        return torch.cat([self(image[None].to(device), None).cpu() for image in images])

    def binary(self, suspicion: Tensor) -> Tensor:
        """The patches with the top share of the map's mass."""
        return top_mass(suspicion, self.mass)

    def deployed(self, size_hw: tuple[int, int]) -> WinClipMap:
        """With CLIP's image tower as it is exported."""
        deployed = copy.deepcopy(self)
        deployed.windows = self.windows.deployed(size_hw)
        return deployed
