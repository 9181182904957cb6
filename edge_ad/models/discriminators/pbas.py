"""PBAS (Chen et al., 2024): normal patches are drawn to their centres, anomalies lead outwards from them."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from edge_ad.models.discriminators.centred import CentredDiscriminator, CentredParameters
from edge_ad.models.discriminators.discriminator import Patches
from edge_ad.models.discriminators.losses import cross_entropy
from edge_ad.models.discriminators.publications import PBAS
from edge_ad.models.discriminators.synthesis import add_noise, along_ray
from edge_ad.models.published import Publication

__all__ = ["Pbas", "PbasParameters"]


class PbasParameters(CentredParameters):
    """Parameters of PBAS.

    Attributes:
        synthesis: ``ray`` leads outwards from the centre (eq. 7), ``gaussian`` adds noise as SimpleNet; table V.
        degree: k of eq. 7: how much farther out an anomaly lies, in mean distances to the centre.
        noise: Standard deviation of ``synthesis="gaussian"``.
        compactness_weight: Weight of approximate boundary learning, eq. 6; 0 leaves it out.
        refine: Refined boundary optimisation, eq. 8 and 9. Without it the score is the distance to the nearest centre.
    """

    publication: ClassVar[Publication | None] = PBAS

    synthesis: Literal["ray", "gaussian"] = "ray"
    degree: float = Field(default=0.3, gt=0, le=100)
    noise: float = Field(default=0.5, gt=0, le=100)
    compactness_weight: float = Field(default=1.0, ge=0, le=1000)
    refine: bool = True

    @model_validator(mode="after")
    def _learns_something(self) -> PbasParameters:
        if not self.refine and not self.compactness_weight:
            raise ValueError("without refine, compactness_weight must be above 0")
        return self


class Pbas(CentredDiscriminator):
    """Approximate boundary learning, anomaly feature synthesis and refined boundary optimisation."""

    method = "pbas"
    purpose = "an alternative to patch-metric: a boundary around synthesised anomalies"
    parameters_type = PbasParameters
    config: PbasParameters

    def boundary_loss(self, patches: Patches, generator: torch.Generator) -> dict[str, Tensor]:
        """Eq. 10: mean distance to the nearest centre, and cross-entropy of normal and synthesised patches."""
        config = self.config
        normal = patches.projected.flatten(0, 1)
        centre = self.centre_of(normal)
        terms = {}
        if config.compactness_weight:
            terms["compactness"] = config.compactness_weight * (normal - centre).norm(dim=1).mean()
        if config.refine:
            fake = self._synthesise(normal, centre, generator)
            logits = self.head.discriminate(normal, fake)
            terms["normal"] = cross_entropy(logits[: len(normal)], anomalous=False)
            terms["synthetic"] = cross_entropy(logits[len(normal) :], anomalous=True)
        return terms

    def _synthesise(self, normal: Tensor, centre: Tensor, generator: torch.Generator) -> Tensor:
        if self.config.synthesis == "gaussian":
            return add_noise(normal, self.config.noise, generator)
        return along_ray(normal, centre, self.config.degree)

    def score_patches(self, features: Tensor) -> Tensor:
        """Logits of the discriminator, or without one the distance to the nearest centre."""
        return super().score_patches(features) if self.config.refine else self.distance_to_centres(features)
