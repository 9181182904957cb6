"""The whole flow: blocks along each scale, more of them where it is coarser, and the fusion of the scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from edge_ad.models.msflow.coupling import Coupling, position_code
from edge_ad.models.msflow.fusion import FusionCoupling

__all__ = ["Latents", "MultiScaleFlow", "negative_log_likelihood", "with_noise"]


class Latents(NamedTuple):
    """What a flow makes of feature maps.

    Attributes:
        scales: z of each scale, (N, C, h, w), standard normal for good parts.
        log_determinant: log |det J| of all scales together, (N,).
    """

    scales: list[Tensor]
    log_determinant: Tensor


def negative_log_likelihood(latents: Latents) -> Tensor:
    """Mean over images of ``½ Σ z² − log |det J|``: that of a standard normal without its constant, nats.

    Returns:
        Scalar.
    """
    energy = torch.stack([0.5 * z.square().sum((1, 2, 3)) for z in latents.scales]).sum(0)
    return (energy - latents.log_determinant).mean()


def with_noise(scales: Sequence[Tensor], deviation: float, generator: torch.Generator) -> list[Tensor]:
    """Feature maps with normal noise, which keeps a flow from a density of single points where photos are few.

    As Rothfuss et al., "Noise regularization for conditional density estimation", 2019.

    Args:
        scales: (N, C, h, w) each.
        deviation: Of the noise; 0 leaves them as they are.
        generator: Of the draw, on the CPU.
    """
    if not deviation:
        return list(scales)
    return [x + deviation * torch.randn(x.shape, generator=generator).to(x.device) for x in scales]


class MultiScaleFlow(nn.Module):
    """Asymmetric parallel flows and a fusion flow.

    Args:
        channels: Of the scales, even, the finest first.
        grids_hw: Height and width of each.
        blocks: Blocks along each.
        condition: Channels of the position code, a multiple of 4; 0 leaves the position out.
        clamp: Largest logarithm of a factor.
    """

    def __init__(
        self,
        channels: Sequence[int],
        grids_hw: Sequence[tuple[int, int]],
        *,
        blocks: Sequence[int] = (2, 5, 8),
        condition: int = 64,
        clamp: float = 1.9,
    ) -> None:
        super().__init__()
        self.parallel = nn.ModuleList(
            nn.ModuleList(Coupling(each, condition, clamp) for _ in range(count))
            for each, count in zip(channels, blocks, strict=True)
        )
        self.fusion = FusionCoupling(channels, grids_hw, clamp)
        for index, grid in enumerate(grids_hw):
            self.register_buffer(f"code_{index}", position_code(condition, grid), persistent=False)

    def chains(self) -> list[list[Coupling]]:
        """The blocks along each scale."""
        return [[block for block in blocks.modules() if isinstance(block, Coupling)] for blocks in self.parallel]

    def forward(self, scales: Sequence[Tensor]) -> Latents:
        """Feature maps of each scale (N, C, h, w) → z and the log-determinant."""
        mapped, log_determinants = [], []
        for index, (x, blocks) in enumerate(zip(scales, self.chains(), strict=True)):
            for block in blocks:
                x, log_determinant = block(x, self.get_buffer(f"code_{index}"))
                log_determinants.append(log_determinant)
            mapped.append(x)
        fused, log_determinant = self.fusion(mapped)
        return Latents(fused, torch.stack([*log_determinants, log_determinant]).sum(0))

    def inverse(self, latents: Sequence[Tensor]) -> list[Tensor]:
        """Feature maps of which `forward` makes these z."""
        scales = []
        for index, (x, blocks) in enumerate(zip(self.fusion.inverse(latents), self.chains(), strict=True)):
            for block in reversed(blocks):
                x = block.inverse(x, self.get_buffer(f"code_{index}"))
            scales.append(x)
        return scales
