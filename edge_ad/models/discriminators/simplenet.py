"""SimpleNet (Liu et al., CVPR 2023): a discriminator between normal features and the same features with noise."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from edge_ad.models.discriminators.discriminator import DiscriminatorParameters, PatchDiscriminator, Patches
from edge_ad.models.discriminators.losses import truncated_l1
from edge_ad.models.discriminators.publications import SIMPLENET
from edge_ad.models.discriminators.synthesis import add_noise
from edge_ad.models.published import Publication

__all__ = ["SimpleNet", "SimpleNetParameters"]


class SimpleNetParameters(DiscriminatorParameters):
    """Parameters of SimpleNet.

    Attributes:
        noise: Standard deviation of the noise on projected features.
        margin: th of the truncated L1 loss.
    """

    publication: ClassVar[Publication | None] = SIMPLENET

    noise: float = Field(default=1.0, gt=0, le=100)
    margin: float = Field(default=0.5, ge=0, le=100)


class SimpleNet(PatchDiscriminator):
    """SimpleNet on an edge backbone."""

    method = "simplenet"
    purpose = "an alternative to patch-metric: a learned boundary around normal features"
    parameters_type = SimpleNetParameters
    config: SimpleNetParameters

    def boundary_loss(self, patches: Patches, generator: torch.Generator) -> dict[str, Tensor]:
        """Truncated L1 between patches and the same patches with noise."""
        normal = patches.projected.flatten(0, 1)
        fake = add_noise(normal, self.config.noise, generator)
        logits = self.head.discriminate(normal, fake)
        real, synthetic = truncated_l1(logits[: len(normal)], logits[len(normal) :], self.config.margin)
        return {"normal": real, "synthetic": synthetic}
