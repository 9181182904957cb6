"""Mask sources that are trained on images, in stages of their own before the inpainting network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from edge_ad.data.simulated_defects import Simulator
from edge_ad.models.base import Stage, TrainingBatch
from edge_ad.models.mask_sources.base import MaskSource
from edge_ad.models.mask_sources.patch_distance import quantile_above

__all__ = ["TrainedMaskSource"]

_SMALLEST_SPREAD = 1e-6


class TrainedMaskSource(MaskSource):
    """Patches more suspicious than a quantile of held-out good patches, by a network that the run itself trains.

    Args:
        quantile: Share of held-out good patches below the limit.
    """

    locates: ClassVar[bool] = True

    def __init__(self, quantile: float) -> None:
        super().__init__()
        self.quantile = quantile
        for name in ("limit", "spread", "offset"):
            self.register_buffer(name, torch.zeros(()))

    @abstractmethod
    def stages(self) -> Sequence[Stage]:
        """Its gradient stages in order; their names differ from those of the inpainting network."""

    @abstractmethod
    def simulator(self, stages: Sequence[str]) -> Simulator:
        """What simulates the defects that it learns from, and leaves images as they are in stages of other names.

        Args:
            stages: Names of all stages of the training, its own first.

        Raises:
            DataError: What defects are painted with cannot be read.
        """

    @abstractmethod
    def start_stage(self, stage: Stage) -> None:
        """Freeze all that the stage does not train."""

    @abstractmethod
    def training_loss(self, batch: TrainingBatch, stage: Stage, generator: torch.Generator) -> dict[str, Tensor]:
        """Named loss terms of a batch."""

    @torch.no_grad()
    def calibrate(self, fit: Iterable[Tensor], held_out: Iterable[Tensor]) -> None:
        """Take limit and spread from held-out good patches, once its stages are over.

        The network has learned to find the fitting photos good. So that the inpainting network sees as many of their
        patches masked as of other photos, their suspicion is moved up by what separates the two limits.

        Args:
            fit: Batches (N, 3, H, W) of the fitting photos, at least one photo in all.
            held_out: Likewise of held-out ones; where there are none, those that were fitted count.
        """
        fitted = self._suspicions(fit)
        assert fitted is not None
        others = self._suspicions(held_out)
        values = fitted if others is None else others
        limit = quantile_above(values, self.quantile)
        self.get_buffer("limit").copy_(limit)
        self.get_buffer("spread").copy_(values.std().clamp_min(_SMALLEST_SPREAD))
        self.get_buffer("offset").copy_(limit - quantile_above(fitted, self.quantile))

    def _suspicions(self, batches: Iterable[Tensor]) -> Tensor | None:
        parts = [self(images, None).flatten() for images in batches if len(images)]
        return torch.cat(parts) if parts else None

    def of_fitted(self, images: Tensor) -> Tensor:
        """Suspicion of fitting images, (N, 1, h, w), as if they were other ones."""
        suspicion: Tensor = self(images, None)
        return suspicion + self.get_buffer("offset")

    def binary(self, suspicion: Tensor) -> Tensor:
        """Above the limit."""
        return (suspicion > self.get_buffer("limit")).to(suspicion.dtype)

    def soft(self, suspicion: Tensor) -> Tensor:
        """``sigmoid((s - limit) / spread)``: 0.5 at the limit."""
        return torch.sigmoid((suspicion - self.get_buffer("limit")) / self.get_buffer("spread"))
