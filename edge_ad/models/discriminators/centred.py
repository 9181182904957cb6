"""What PBAS and boundary shuffling share: centres that are found once, through the untrained projection."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from edge_ad.models.discriminators.discriminator import DiscriminatorParameters, PatchDiscriminator

__all__ = ["CentreKind", "CentredDiscriminator", "CentredParameters", "find_centres", "nearest_centre"]

CentreKind = Literal["average", "iterative", "clustering", "aligned"]

_SMOOTHING = 0.1  # PBAS: share of a new batch in the moving average
_BATCH = 8  # images, as in PBAS
_ROUNDS = 10  # of k-means
_ROWS = 512  # patches compared with all centres at a time


def find_centres(projected: Tensor, kind: CentreKind, clusters: int, generator: torch.Generator) -> Tensor:
    """Centres of normal patches (PBAS, sec. III-C and table VI).

    ``average``: the mean of each position over all images, eq. 5. ``iterative``: the same as a moving average over
    batches. ``aligned``, PBAS's own: each position of a batch's mean moves the centre that is nearest to it by cosine,
    wherever that one is; centres that are nearest to none stay. ``clustering``: k-means over patches of all positions.

    Args:
        projected: (N, P, C) normal patches through the untrained projection.
        kind: How.
        clusters: Centres of k-means; the other kinds have P.
        generator: Of the order of the images, or of the first centres of k-means.

    Returns:
        (K, C).
    """
    if kind == "average":
        return projected.mean(0)
    if kind == "clustering":
        return _k_means(projected.flatten(0, 1), clusters, generator)
    order = torch.randperm(len(projected), generator=generator)
    batches = [projected[part].mean(0) for part in torch.split(order, _BATCH)]
    centres = batches[0].clone()
    for query in batches[1:]:
        own = torch.arange(len(centres), device=centres.device)
        target = _alignment(query, centres) if kind == "aligned" else own
        _move(centres, query, target)
    return centres


def nearest_centre(patches: Tensor, centres: Tensor) -> Tensor:
    """The centre (M, C) that is nearest to each patch (M, C) by Euclidean distance; no gradient passes the choice."""
    with torch.no_grad():
        return centres.index_select(0, _nearest(patches, centres))


def _nearest(patches: Tensor, centres: Tensor) -> Tensor:
    """Index of the centre that is nearest to each patch, (M,), a part of them at a time."""
    half = 0.5 * centres.norm(dim=1).square()
    return torch.cat([_largest(_closeness(part, centres, half)) for part in torch.split(patches, _ROWS)])


def _closeness(patches: Tensor, centres: Tensor, half: Tensor) -> Tensor:
    """``u·c - |c|²/2``, (M, K): largest where ``|u - c|`` is smallest.

    Args:
        patches: u, (M, C).
        centres: c, (K, C).
        half: ``|c|²/2``, (K,).
    """
    if patches.device.type != "cpu":
        return F.linear(patches, centres, -half)
    # On the CPU as a 1x1 convolution over a map that is one patch wide: its kernel is up to twice as fast as that of
    # a product, and adds the bias on the way.
    as_map = patches.reshape(1, len(patches), 1, -1).permute(0, 3, 1, 2)
    closeness = F.conv2d(as_map, centres[:, :, None, None], -half)
    return closeness.permute(0, 2, 3, 1).reshape(len(patches), -1)


def _alignment(query: Tensor, centres: Tensor) -> Tensor:
    """Index of the centre that is nearest to each query by cosine, (P,)."""
    return _largest(F.normalize(query, dim=1) @ F.normalize(centres, dim=1).T)


def _largest(closeness: Tensor) -> Tensor:
    """Index of the largest value of each row, (M,)."""
    if closeness.device.type != "cpu":
        return closeness.argmax(1)
    return torch.from_numpy(closeness.detach().numpy().argmax(1))  # a tenth of the time of torch's own


def _move(centres: Tensor, query: Tensor, target: Tensor) -> None:
    """Move each centre that is a target towards the mean of the queries that name it, in place."""
    sums = torch.zeros_like(centres).index_add_(0, target, query)
    counts = torch.bincount(target, minlength=len(centres))
    hit = counts > 0
    centres[hit] += _SMOOTHING * (sums[hit] / counts[hit, None] - centres[hit])


def _k_means(patches: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    order = torch.randperm(len(patches), generator=generator)
    centres = patches[order[torch.arange(clusters) % len(order)]].clone()
    for _ in range(_ROUNDS):
        nearest = _nearest(patches, centres)
        counts = torch.bincount(nearest, minlength=clusters)
        sums = torch.zeros_like(centres).index_add_(0, nearest, patches)
        centres[counts > 0] = sums[counts > 0] / counts[counts > 0, None]  # an empty cluster stays where it is
    return centres


class CentredParameters(DiscriminatorParameters):
    """Parameters of a learned boundary around centres.

    Attributes:
        centre: How centres are found; table VI of PBAS compares the four.
        clusters: Centres of ``centre="clustering"``; the other kinds have one per position.
        probability: The map is made of probabilities, the sigmoid of the logits, as the papers have it.
    """

    centre: CentreKind = "aligned"
    clusters: int = Field(default=256, ge=1, le=65536)
    probability: bool = False


class CentredDiscriminator(PatchDiscriminator):
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

    def score_patches(self, features: Tensor) -> Tensor:
        """Logits of the discriminator, or their probabilities."""
        logits = super().score_patches(features)
        return logits.sigmoid() if self.config.probability else logits

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
