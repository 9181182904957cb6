"""DSR as a mask source: where its two decodings of a photo differ because of a defect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.data.simulated_defects import DefectSimulator, Simulator, texture_photos
from edge_ad.models.base import Stage, TrainingBatch
from edge_ad.models.draem.draem import windows
from edge_ad.models.dsr.networks import FORMS
from edge_ad.models.dsr.quantisation import with_fixed_codes
from edge_ad.models.dsr.samples import StageSimulator
from edge_ad.models.dsr.subspaces import QUANTISER, SUBSPACES, DualSubspaceNetwork, LossWeights
from edge_ad.models.mask_sources.base import MaskSource
from edge_ad.models.mask_sources.trained import TrainedMaskSource

__all__ = ["DsrSegmentation"]

_QUANTISER_SHARE = 0.4  # of the steps
_LEARNING_RATE = 1e-3
_WINDOW, _WINDOWS = 128, 2
_LEAST_STRENGTH = 0.2


class DsrSegmentation(TrainedMaskSource):
    """The edge form of DSR without its upsampling module: a mask has no finer cells than the detection module.

    Args:
        stride: Pixels per patch of the mask.
        quantile: Share of held-out good patches below the limit.
        steps: Steps of both stages together.
        textures: Folder of photographs for the quantiser's stage; None renders them.
        seed: What is simulated follows from it.
    """

    def __init__(self, stride: int, *, quantile: float, steps: int, textures: str | None, seed: int) -> None:
        super().__init__(quantile)
        self.stride, self.steps, self.textures, self.seed = stride, steps, textures, seed
        self.network = DualSubspaceNetwork(FORMS["edge"])

    def forward(self, images: Tensor, features: Tensor | None) -> Tensor:
        """(N, 3, H, W) → mean log-odds of the anomalous class over each patch, (N, 1, h, w)."""
        logits = self.network(images).logits.float()
        return F.avg_pool2d(logits[:, 1:] - logits[:, :1], self.stride)

    def stages(self) -> Sequence[Stage]:
        """The quantiser, then all that reads its codes."""
        first = max(1, round(_QUANTISER_SHARE * self.steps))
        steps = {QUANTISER: first, SUBSPACES: max(1, self.steps - first)}
        return tuple(Stage(name, 0, _LEARNING_RATE, "one-cycle", count) for name, count in steps.items())

    def simulator(self, stages: Sequence[str]) -> Simulator:
        """Textures, then bare masks, as DSR has them."""
        photos = texture_photos(Path(self.textures)) if self.textures else ()
        return StageSimulator(DefectSimulator(self.seed, photos), tuple(stages))

    def start_stage(self, stage: Stage) -> None:
        """Freeze all that the stage does not train."""
        self.network.start_stage(stage.name)

    def training_loss(self, batch: TrainingBatch, stage: Stage, generator: torch.Generator) -> dict[str, Tensor]:
        """DSR's loss on windows of the batch."""
        assert batch.defective is not None
        assert batch.masks is not None
        parts = windows((batch.images, batch.defective, batch.masks), _WINDOW, _WINDOWS, generator)
        images, defective, masks = parts
        if stage.name == QUANTISER:
            return self.network.quantiser_loss(defective, generator)
        return self.network.subspace_loss(images, masks, _LEAST_STRENGTH, LossWeights(), generator)

    def deployed(self, size_hw: tuple[int, int]) -> MaskSource:
        """With codes that no training moves any more."""
        return with_fixed_codes(self)
