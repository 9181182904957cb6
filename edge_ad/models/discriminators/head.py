"""Projection and discriminator: two linear maps with a leaky ReLU between them once they are deployed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edge_ad.models.discriminators.standardisation import Standardisation

__all__ = ["PatchHead"]

_SLOPE = 0.2  # SimpleNet's leaky ReLU


class PatchHead(nn.Module):
    """Learned projection and discriminator of patch features.

    Trained on vectors: ``u = P z``, ``D(u) = w·leaky(BN(H u)) + b``. Deployed on maps: standardisation, projection,
    hidden layer and batch norm are all linear, so they become one 1×1 convolution behind the subtraction of the mean.
    The fold is made whenever training mode ends, and is what ``forward`` runs.

    Args:
        standardisation: What comes before; folded in.
        channels: Feature channels C.
        hidden: Width of the hidden layer.
    """

    def __init__(self, standardisation: Standardisation, channels: int, hidden: int) -> None:
        super().__init__()
        self.standardisation = standardisation
        self.projection = nn.Linear(channels, channels)
        self.hidden = nn.Linear(channels, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.activation = nn.LeakyReLU(_SLOPE)
        self.out = nn.Linear(hidden, 1)
        self.folded = nn.Conv2d(channels, hidden, 1).requires_grad_(False)
        self.folded_out = nn.Conv2d(hidden, 1, 1).requires_grad_(False)

    def start(self, seed: int, *, identity: bool) -> None:
        """Draw new weights, as a run with this seed begins; the projection is the identity, or Xavier-normal."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for module in (self.hidden, self.norm, self.out):
                module.reset_parameters()
            nn.init.zeros_(self.projection.bias)
            nn.init.eye_(self.projection.weight) if identity else nn.init.xavier_normal_(self.projection.weight)
        self.train(self.training)

    def project(self, standardised: Tensor) -> Tensor:
        """Standardised z (M, C) → projected u (M, C)."""
        projected: Tensor = self.projection(standardised)
        return projected

    def discriminate(self, projected: Tensor) -> Tensor:
        """Projected u (M, C) → logits (M,), higher is more anomalous."""
        logits: Tensor = self.out(self.activation(self.norm(self.hidden(projected))))
        return logits.squeeze(1)

    def learned(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Parameters of the projection and of the discriminator."""
        layers = (self.hidden, self.norm, self.out)
        return list(self.projection.parameters()), [weight for layer in layers for weight in layer.parameters()]

    def train(self, mode: bool = True) -> PatchHead:
        """Enter or leave training mode; leaving it folds what was learned."""
        super().train(mode)
        if not mode:
            self._fold()
        return self

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, C, h, w) → logits (N, 1, h, w), with the weights of the last fold."""
        centred = features - self.standardisation.get_buffer("mean")
        logits: Tensor = self.folded_out(self.activation(self.folded(centred)))
        return logits

    @torch.no_grad()
    def _fold(self) -> None:
        assert self.norm.running_mean is not None
        assert self.norm.running_var is not None
        scale = self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()
        hidden = self.hidden.weight * scale[:, None]
        weight = hidden @ self.projection.weight @ self.standardisation.get_buffer("transform")
        bias = hidden @ self.projection.bias + (self.hidden.bias - self.norm.running_mean) * scale + self.norm.bias
        self.folded.weight.copy_(weight[:, :, None, None])
        assert self.folded.bias is not None
        self.folded.bias.copy_(bias)
        self.folded_out.weight.copy_(self.out.weight[:, :, None, None])
        assert self.folded_out.bias is not None
        self.folded_out.bias.copy_(self.out.bias)
