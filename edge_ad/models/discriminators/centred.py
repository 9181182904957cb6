"""What PBAS and boundary shuffling share: centres that are found once, through the untrained projection."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from edge_ad.models.discriminators.centres import CentreKind, find_centres, nearest_centre
from edge_ad.models.discriminators.discriminator import Discriminator, DiscriminatorParameters

__all__ = ["CentredDiscriminator", "CentredParameters"]


class CentredParameters(DiscriminatorParameters):
    """Parameters of a learned boundary around centres.

    Attributes:
        centre: How centres are found; table VI of PBAS compares the four.
        clusters: Centres of ``centre="clustering"``; the other kinds have one per position.
    """

    centre: CentreKind = "aligned"
    clusters: int = Field(default=256, ge=1, le=65536)


class CentredDiscriminator(Discriminator):
    """A discriminator whose anomalies are synthesised around centres of normality.

    Args:
        config: Parameters.
        pretrained: Load ImageNet weights into the backbone; False when a checkpoint follows.
    """

    config: CentredParameters

    def __init__(self, config: CentredParameters, *, pretrained: bool = True) -> None:
        super().__init__(config, pretrained=pretrained)
        height, width = self.grid_hw
        count = config.clusters if config.centre == "clustering" else height * width
        self.register_buffer("centres", torch.zeros(count, self.patch_features.channels))

    @torch.no_grad()
    def fit_standardised(self, standardised: Tensor) -> None:
        """Find the centres, once, before training."""
        generator = torch.Generator().manual_seed(self.config.seed)
        projected = self.head.project(standardised)
        centres = find_centres(projected, self.config.centre, self.config.clusters, generator)
        self.get_buffer("centres").copy_(centres)

    def centre_of(self, projected: Tensor) -> Tensor:
        """The centre (M, C) that is nearest to each projected patch (M, C)."""
        return nearest_centre(projected, self.get_buffer("centres"))

    def distance_to_centres(self, features: Tensor) -> Tensor:
        """Distance of each position to its nearest centre: (N, C, h, w) → (N, 1, h, w), as matrix products."""
        centres = self.get_buffer("centres")
        projected = self.head.projected(features)
        closeness = torch.matmul(projected, centres.T) - 0.5 * centres.square().sum(1)
        squared = projected.square().sum(2) - 2 * closeness.amax(2)
        return squared.clamp_min(0).sqrt().reshape(-1, 1, *self.grid_hw)
