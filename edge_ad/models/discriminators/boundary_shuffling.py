"""Counterfactual shuffling on boundary regions (Khan et al., JBE 31(3), 2026): anomalies on a learned boundary.

The paper gives no value for α, t, λ, the share of the mask, the similarity constraint, w_nudge, w_cf, λ_c, m, β_mean,
β_tv or r_0. All but r_0 are parameters here. r_0 follows the batch's mean distance to the centres, and α and t are in
units of the radius: with fixed lengths the anomalies become trivial once the projection has drawn patches together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.models.discriminators.centred import CentredDiscriminator, CentredParameters
from edge_ad.models.discriminators.discriminator import Patches
from edge_ad.models.discriminators.losses import boundary_contrast, compactness, cross_entropy, radius_regularisation
from edge_ad.models.discriminators.publications import BOUNDARY_SHUFFLING
from edge_ad.models.discriminators.synthesis import at_distance, draw_similar, far_apart, nudge, shuffle
from edge_ad.models.published import Publication

__all__ = ["BoundaryShuffling", "BoundaryShufflingParameters"]

_SMALLEST_RADIUS = 1e-3  # ε of eq. 1


class BoundaryShufflingParameters(CentredParameters):
    """Parameters of boundary shuffling; a weight of 0 leaves a part out.

    Attributes:
        adaptive: Learn a radius per patch (eq. 1); otherwise every radius is r_0.
        step: α of eq. 2, in radii; 0 leaves the gradient out, so that a nudge goes straight outwards.
        reach: t of eq. 3, in radii.
        strength: λ of eq. 4.
        shuffled: Share of patches that are shuffled, the mask of eq. 4.
        candidates: Other patches that the most similar partner is chosen from; 1 drops the similarity constraint.
        partner_distance: Least distance of a partner, as a share of the feature map's longer side; 0 takes any.
        nudge_weight: w_nudge of eq. 5.
        shuffle_weight: w_cf of eq. 5.
        compactness_weight: Weight of eq. 6; the paper has 1.
        tightness: λ_c of eq. 6.
        contrast_weight: Weight of eq. 7; the paper has 1.
        contrast_margin: m of eq. 7.
        radius_weight: γ of eq. 9.
        mean_weight: β_mean of eq. 8.
        variation_weight: β_tv of eq. 8.
    """

    absent: ClassVar[Mapping[str, Any]] = {**CentredParameters.absent, "partner_distance": 0.0}

    publication: ClassVar[Publication | None] = BOUNDARY_SHUFFLING

    adaptive: bool = True
    step: float = Field(default=0.1, ge=0, le=100)
    reach: float = Field(default=1.3, gt=0, le=100)
    strength: float = Field(default=0.5, ge=0, le=1)
    shuffled: float = Field(default=0.5, gt=0, le=1)
    candidates: int = Field(default=8, ge=1, le=256)
    partner_distance: float = Field(default=0.25, ge=0, le=0.5)  # from the middle, nothing is farther than half a side
    nudge_weight: float = Field(default=1.0, ge=0, le=1000)
    shuffle_weight: float = Field(default=1.0, ge=0, le=1000)
    compactness_weight: float = Field(default=1.0, ge=0, le=1000)
    tightness: float = Field(default=1.0, ge=0, le=100)
    contrast_weight: float = Field(default=1.0, ge=0, le=1000)
    contrast_margin: float = Field(default=0.1, ge=0, le=100)
    radius_weight: float = Field(default=0.1, ge=0, le=1000)
    mean_weight: float = Field(default=1.0, ge=0, le=1000)
    variation_weight: float = Field(default=1.0, ge=0, le=1000)


class _Boundary(NamedTuple):
    normal: Tensor  # (M, C)
    centre: Tensor  # (M, C)
    distance: Tensor  # (M,) of normal to centre
    radius: Tensor  # (M,)


class BoundaryShuffling(CentredDiscriminator):
    """Adaptive radius field, gradient-linked nudge and similarity-constrained shuffling.

    Args:
        config: Parameters.
        pretrained: Load ImageNet weights into the backbone; False when a checkpoint follows.
    """

    method = "boundary-shuffling"
    purpose = "an alternative to patch-metric: a boundary from shuffled features"
    parameters_type = BoundaryShufflingParameters
    config: BoundaryShufflingParameters

    def __init__(self, config: BoundaryShufflingParameters, *, pretrained: bool = True) -> None:
        super().__init__(config, pretrained=pretrained)
        self.radius_field = nn.Linear(self.patch_features.channels, 1).requires_grad_(False)

    @torch.no_grad()
    def fit_standardised(self, standardised: Tensor) -> None:
        """Find the centres; the radius begins everywhere as the mean distance to them."""
        super().fit_standardised(standardised)
        projected = self.head.project(standardised).flatten(0, 1)
        mean = (projected - self.centre_of(projected)).norm(dim=1).mean()
        nn.init.zeros_(self.radius_field.weight)
        mean = mean.clamp_min(_SMALLEST_RADIUS)
        self.radius_field.bias.copy_(mean + torch.log(-torch.expm1(-mean)))  # the inverse of softplus

    def further_parameters(self) -> list[nn.Parameter]:
        """The radius field, which only training needs."""
        return list(self.radius_field.parameters()) if self.config.adaptive else []

    def boundary_loss(self, patches: Patches, generator: torch.Generator) -> dict[str, Tensor]:
        """Eq. 9."""
        config = self.config
        normal = patches.projected.flatten(0, 1)
        centre = self.centre_of(normal)
        distance = (normal - centre).norm(dim=1)
        radii = self._radii(patches.all) if config.adaptive else distance.detach().mean().expand(patches.all.shape[:2])
        boundary = _Boundary(normal, centre, distance, radii.gather(1, patches.chosen).flatten())
        nudged, shuffled = self._nudged(boundary), self._shuffled(patches, boundary, generator)
        terms = self._detection(normal, nudged, shuffled)
        if config.compactness_weight:
            terms["compactness"] = config.compactness_weight * compactness(distance, boundary.radius, config.tightness)
        if config.contrast_weight:
            outside = config.reach * boundary.radius  # d(u_out): where eq. 3 puts what is nudged
            contrast = boundary_contrast(distance, outside, boundary.radius, config.contrast_margin)
            terms["contrast"] = config.contrast_weight * contrast
        if config.adaptive and config.radius_weight:
            terms["radius"] = config.radius_weight * radius_regularisation(
                radii.reshape(-1, *self.grid_hw),
                distance.detach().mean(),
                mean_weight=config.mean_weight,
                variation_weight=config.variation_weight,
            )
        return terms

    def _radii(self, standardised: Tensor) -> Tensor:
        """Eq. 1: (N, P, C) → (N, P)."""
        field = self.radius_field
        linear = torch.mv(standardised.flatten(0, 1), field.weight[0]) + field.bias  # sooner than a matrix of one row
        return F.softplus(linear).reshape(standardised.shape[:2]) + _SMALLEST_RADIUS

    def _nudged(self, boundary: _Boundary) -> Tensor:
        """Eq. 2 and 3, without a gradient: eq. 7 knows how far from the centre they lie.

        The loss L_det of a normal patch rises with its logit, so that its gradient has the direction of the logit's.
        """
        moved, radius = boundary.normal.detach(), boundary.radius.detach()[:, None]
        if self.config.step:
            moved = nudge(moved, self.head.gradient(moved), self.config.step * radius)
        return at_distance(moved, boundary.centre, self.config.reach * radius)

    def _shuffled(self, patches: Patches, boundary: _Boundary, generator: torch.Generator) -> Tensor:
        """Eq. 4, brought beyond the boundary as eq. 3 does; only the patches that were shuffled, (M', C)."""
        config = self.config
        together = patches.projected.detach()
        distant = far_apart(patches.chosen, self.grid_hw, config.partner_distance) if config.partner_distance else None
        partners = draw_similar(together, config.candidates, generator, distant)
        mask = (torch.rand(together.shape[:2], generator=generator) < config.shuffled).to(together.device)
        mixed = shuffle(together, partners, mask.to(together.dtype), config.strength).flatten(0, 1)
        chosen = mask.flatten().nonzero().squeeze(1)
        reach = config.reach * boundary.radius.detach().index_select(0, chosen)[:, None]
        return at_distance(mixed.index_select(0, chosen), boundary.centre.index_select(0, chosen), reach)

    def _detection(self, normal: Tensor, nudged: Tensor, shuffled: Tensor) -> dict[str, Tensor]:
        """Eq. 5."""
        config = self.config
        sizes = [len(normal), len(nudged), len(shuffled)]
        logits = self.head.discriminate(normal, torch.cat([nudged, shuffled]))
        real, outside, mixed = torch.split(logits, sizes)
        terms = {"normal": cross_entropy(real, anomalous=False)}
        if config.nudge_weight:
            terms["nudged"] = config.nudge_weight * cross_entropy(outside, anomalous=True)
        if config.shuffle_weight and len(mixed):
            terms["shuffled"] = config.shuffle_weight * cross_entropy(mixed, anomalous=True)
        return terms
