"""Projection and discriminator: two linear maps with a leaky ReLU between them once they are deployed."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.models.discriminators.metric import Metric, length
from edge_ad.models.discriminators.standardisation import Standardisation
from edge_ad.models.gaussian import MappedGaussian, is_invertible

__all__ = ["PatchHead"]

_SLOPE = 0.2  # SimpleNet's leaky ReLU
_START_SLOPE = 3.0  # of the logit over the distance, in mean distances
_TINY = 1e-12


class PatchHead(nn.Module):
    """Learned projection and discriminator of patch features.

    Trained on vectors: ``u = P z``, ``D(u) = w·leaky(BN(H u)) + b``. Deployed on maps: standardisation, projection,
    hidden layer and batch norm are all linear, so they become one 1×1 convolution behind the subtraction of the mean.
    The fold is made whenever training mode ends, and is what ``forward`` runs.

    With ``distance`` it is ``D(u) = a·|u| + b + w·leaky(BN(H u))``, w and the projection's difference from the identity
    beginning at zero: the discriminator starts as a Gaussian around the standardisation's mean and learns what to
    correct. Then only batch norm is folded.

    Args:
        standardisation: What comes before; folded in.
        channels: Feature channels C.
        hidden: Width of the hidden layer.
        distance: Start from the distance to the mean.
    """

    def __init__(self, standardisation: Standardisation, channels: int, hidden: int, *, distance: bool = False) -> None:
        super().__init__()
        self.standardisation = standardisation
        self.distance = distance
        self.scale = nn.Parameter(torch.ones(()), requires_grad=False)
        self.offset = nn.Parameter(torch.zeros(()), requires_grad=False)
        self.projection = nn.Linear(channels, channels)
        self.hidden = nn.Linear(channels, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.activation = nn.LeakyReLU(_SLOPE)
        self.out = nn.Linear(hidden, 1)
        self.folded = nn.Conv2d(channels, hidden, 1).requires_grad_(False)
        self.folded_out = nn.Conv2d(hidden, 1, 1).requires_grad_(False)
        self.whole: MappedGaussian | None = None

    def start(self, seed: int, *, mean_length: float = 1.0, random_projection: bool = False) -> None:
        """Draw new weights, as a run with this seed begins.

        Args:
            seed: Of the draw.
            mean_length: Mean of ``|z|`` over normal patches: there the logit begins at 0 with ``distance``.
            random_projection: Draw the projection too (Xavier, normal); otherwise it is the identity.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for module in (self.hidden, self.norm, self.out):
                module.reset_parameters()
            nn.init.zeros_(self.projection.bias)
            if random_projection:
                nn.init.xavier_normal_(self.projection.weight)
            else:
                nn.init.eye_(self.projection.weight)
            if self.distance:
                nn.init.zeros_(self.out.weight)
                nn.init.zeros_(self.out.bias)
                nn.init.constant_(self.scale, _START_SLOPE / max(mean_length, _TINY))
                nn.init.constant_(self.offset, -_START_SLOPE)
        self.train(self.training)

    def start_from(self, metric: Metric) -> None:
        """Begin as the logit of a learned metric."""
        self.projection.weight.copy_(metric.weight)
        self.scale.copy_(metric.scale)
        self.offset.copy_(metric.offset)
        self.train(self.training)

    def project(self, standardised: Tensor) -> Tensor:
        """Standardised z (M, C) → projected u (M, C)."""
        projected: Tensor = self.projection(standardised)
        return projected

    def projected(self, features: Tensor) -> Tensor:
        """Features (N, C, h, w) → u by position, (N, P, C)."""
        whole = self.whole
        projected: Tensor = self.project(self.standardisation(features)) if whole is None else whole(features)
        return projected

    def discriminate(self, *parts: Tensor) -> Tensor:
        """Projected u (M, C) → logits (M,), higher is more anomalous.

        Args:
            parts: Judged together, as one batch; those without a gradient are spared the way back to them.
        """
        hidden = torch.cat([self.hidden(part) for part in parts])
        logits: Tensor = self.out(self.activation(self.norm(hidden))).squeeze(1)
        return logits + torch.cat([self._from_distance(part) for part in parts]) if self.distance else logits

    @torch.no_grad()
    def gradient(self, projected: Tensor) -> Tensor:
        """``∂D/∂u`` of projected u (M, C), as a deployed head judges: batch norm by its running statistics.

        Written out, as the discriminator is two linear maps: a pass of autograd costs more than a step's own.
        """
        scale, shift = self._folded_norm()
        hidden = F.linear(projected, self.hidden.weight * scale[:, None], self.hidden.bias * scale + shift)
        slope = hidden.gt_(0).mul_(1 - _SLOPE).add_(_SLOPE).mul_(self.out.weight * scale)
        gradient = slope @ self.hidden.weight
        return gradient + self.scale * projected / length(projected)[:, None] if self.distance else gradient

    def _folded_norm(self) -> tuple[Tensor, Tensor]:
        """Batch norm by its running statistics as ``s·h + t``: (s, t), (hidden,) each."""
        assert self.norm.running_mean is not None
        assert self.norm.running_var is not None
        scale = self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()
        return scale, self.norm.bias - self.norm.running_mean * scale

    def _from_distance(self, projected: Tensor) -> Tensor:
        """``a·|u| + b``, without the last axis."""
        return self.scale * length(projected) + self.offset

    def learned(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Parameters of the projection and of the discriminator."""
        layers = (self.hidden, self.norm, self.out)
        discriminator = [weight for layer in layers for weight in layer.parameters()]
        return list(self.projection.parameters()), discriminator + [self.scale, self.offset] * self.distance

    def train(self, mode: bool = True) -> PatchHead:
        """Enter or leave training mode; leaving it folds what was learned."""
        super().train(mode)
        if not mode:
            self._fold()
        return self

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, C, h, w) → logits (N, 1, h, w), with the weights of the last fold."""
        if self._keeps_projection:
            return self.judge(features)[1]
        centred = features - self.standardisation.get_buffer("mean")
        logits: Tensor = self.folded_out(self.activation(self.folded(centred)))
        return logits

    @property
    def _keeps_projection(self) -> bool:
        """Whether the projection is no part of the folded hidden layer."""
        return self.standardisation.kind == "local" or self.distance

    def judge(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, C, h, w) → projected u as a map (N, C, h, w), and logits (N, 1, h, w)."""
        height, width = features.shape[2:]
        projected = self.projected(features)
        # Engines keep channels last: as long as they are the last here too, nothing is moved.
        as_map = projected.reshape(-1, height, width, projected.shape[2]).permute(0, 3, 1, 2)
        if not self._keeps_projection:
            return as_map, self(features)
        logits: Tensor = self.folded_out(self.activation(self.folded(as_map)))
        if self.distance:
            logits = logits + self._from_distance(projected).reshape(-1, 1, height, width)
        return as_map, logits

    def merge(self) -> None:
        """Make one of standardisation by position and projection, for deployment, where there is such a form."""
        if self.standardisation.gaussian is not None and is_invertible(self.projection.weight):
            self.whole = MappedGaussian(self.standardisation.gaussian, self.projection)

    @torch.no_grad()
    def _fold(self) -> None:
        scale, shift = self._folded_norm()
        hidden = self.hidden.weight * scale[:, None]
        weight, bias = hidden, self.hidden.bias * scale + shift
        if not self._keeps_projection:
            weight = hidden @ self.projection.weight @ self.standardisation.get_buffer("transform")
            bias = bias + hidden @ self.projection.bias
        self.folded.weight.copy_(weight[:, :, None, None])
        assert self.folded.bias is not None
        self.folded.bias.copy_(bias)
        self.folded_out.weight.copy_(self.out.weight[:, :, None, None])
        assert self.folded_out.bias is not None
        self.folded_out.bias.copy_(self.out.bias)
