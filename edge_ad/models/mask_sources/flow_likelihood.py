"""MSFlow as a mask source: patches that a normalising flow, trained on good photos, finds unlikely."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.models.mask_sources.base import MaskSource
from edge_ad.models.mask_sources.patch_distance import quantile_above
from edge_ad.models.msflow.deployed import FoldedFlow
from edge_ad.models.msflow.fitting import fit_flow
from edge_ad.models.msflow.flows import MultiScaleFlow
from edge_ad.models.msflow.likelihood import LikelihoodMap, log_likelihood
from edge_ad.models.msflow.standardisation import ScaleStandardisation

__all__ = ["FlowLikelihood"]

_SCALES = (1, 2, 4)  # strides over the finest grid
_SIDE = 3
_BATCH = 8
_LEARNING_RATE, _NOISE = 3e-3, 0.3
_SMALLEST = 1e-6


class FlowLikelihood(MaskSource):
    """Patches less likely than a quantile of held-out good patches.

    The flow reads three scales of the detector's patch features: the fine level on its grid, the coarse level on half
    of it, and the coarse level averaged over 3 × 3 cells on a quarter of it. The suspicion is MSFlow's map on the
    finest grid.

    Args:
        channels: Of the fine and of the coarse level, as they lie one after the other in the features.
        grid_hw: Feature map height and width, multiples of 4.
        quantile: Share of held-out good patches below the threshold.
        steps: Steps of the flow's training.
        seed: Weights, permutations and the order of training follow from it.
    """

    needs_features: ClassVar[bool] = True
    locates: ClassVar[bool] = True

    def __init__(
        self, channels: tuple[int, int], grid_hw: tuple[int, int], *, quantile: float, steps: int, seed: int
    ) -> None:
        super().__init__()
        self.fine, self.quantile, self.steps, self.seed = channels[0], quantile, steps, seed
        self._channels = (*channels, channels[1])
        self._grids = [(grid_hw[0] // stride, grid_hw[1] // stride) for stride in _SCALES]
        self.standardisation = ScaleStandardisation(self._channels)
        self.flow: MultiScaleFlow | FoldedFlow = self._new_flow()
        self.likelihood = LikelihoodMap(grid_hw, _SCALES, sigma=None)
        for name, side in (("cells", 2), ("neighbours", _SIDE)):
            kernel = torch.full((channels[1], 1, side, side), 1 / side**2)
            self.register_buffer(name, kernel, persistent=False)
        self.register_buffer("limit", torch.ones(()))
        self.register_buffer("spread", torch.ones(()))
        self.requires_grad_(False)

    def _new_flow(self) -> MultiScaleFlow:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return MultiScaleFlow(self._channels, self._grids, condition=16)

    def scales(self, features: Tensor) -> list[Tensor]:
        """Patch features (N, C, h, w) → the three scales."""
        cells, neighbours = self.get_buffer("cells"), self.get_buffer("neighbours")
        middle = F.conv2d(features[:, self.fine :], cells, stride=2, groups=len(cells))
        coarse = F.conv2d(middle, neighbours, stride=2, padding=_SIDE // 2, groups=len(neighbours))
        return [features[:, : self.fine], middle, coarse]

    def fit(self, fit: Tensor, held_out: Tensor) -> None:
        """Train the flow; what is normal, limit and spread come from held-out good patches."""
        with torch.no_grad():
            scales = self.scales(fit)
            self.standardisation.fit(scales)
            scales = self.standardisation(scales)
        self.flow = self._new_flow()
        fit_flow(
            self.flow,
            lambda chosen: [scale[chosen] for scale in scales],
            len(fit),
            steps=self.steps,
            learning_rate=_LEARNING_RATE,
            noise=_NOISE,
            seed=self.seed,
        )
        held_out = held_out if len(held_out) else fit
        with torch.no_grad():
            self.likelihood.fit([self._log_likelihoods(part) for part in torch.split(held_out, _BATCH)])
            suspicion = self._suspicion(held_out).flatten()
        self.get_buffer("limit").copy_(quantile_above(suspicion, self.quantile))
        self.get_buffer("spread").copy_(suspicion.std().clamp_min(_SMALLEST))

    def _log_likelihoods(self, features: Tensor) -> Sequence[Tensor]:
        return [log_likelihood(z) for z in self.flow(self.standardisation(self.scales(features))).scales]

    def _suspicion(self, features: Tensor) -> Tensor:
        return torch.cat([self(part[:, :0], part) for part in torch.split(features, _BATCH)])

    def forward(self, images: Tensor, features: Tensor | None) -> Tensor:
        """(N, C, h, w) features → unlikelihoods summed over the scales, (N, 1, h, w)."""
        assert features is not None
        suspicion: Tensor = self.likelihood(self._log_likelihoods(features)).anomaly_map
        return suspicion

    def binary(self, suspicion: Tensor) -> Tensor:
        """Above the limit."""
        return (suspicion > self.get_buffer("limit")).to(suspicion.dtype)

    def soft(self, suspicion: Tensor) -> Tensor:
        """``sigmoid((d - limit) / spread)``: 0.5 at the limit."""
        return torch.sigmoid((suspicion - self.get_buffer("limit")) / self.get_buffer("spread"))

    @torch.no_grad()
    def cross_fitted(self, images: Tensor, features: Tensor | None, views: int = 0) -> Tensor:
        """Suspicion of the fitting images, in proportion so that as many of their photos' patches are above the limit.

        The flow has learned to find them likely. To train it again for each fold would take as many times as long.
        """
        assert features is not None
        suspicion = self._suspicion(features)
        own_limit = quantile_above(suspicion[:: 1 + views].flatten(), self.quantile)
        return suspicion * (self.get_buffer("limit") / own_limit.clamp_min(_SMALLEST))

    def deployed(self, size_hw: tuple[int, int]) -> MaskSource:
        """With its flow folded."""
        deployed = copy.deepcopy(self)
        assert isinstance(deployed.flow, MultiScaleFlow)
        deployed.flow = FoldedFlow(deployed.flow).eval()
        return deployed
