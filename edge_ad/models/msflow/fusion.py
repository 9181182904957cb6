"""The fusion flow: a coupling of all scales, in which each is scaled and moved by what the others see."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.models.distillation.distance import upsampling_matrix
from edge_ad.models.msflow.coupling import ChannelNorm

__all__ = ["CrossScale", "FusionCoupling", "Rescaling"]

_ARCTANGENT = 0.636  # 2 / π, as the authors' code has it
_BOTTLENECK = 4


class Rescaling(nn.Module):
    """Between a scale and the coarsest: means of whole cells one way, bilinear with aligned corners the other.

    Args:
        channels: Of what is brought to the coarsest grid.
        grid_hw: The scale's height and width.
        coarsest_hw: Those of the coarsest, which divide them.
    """

    def __init__(self, channels: int, grid_hw: tuple[int, int], coarsest_hw: tuple[int, int]) -> None:
        super().__init__()
        self.cells = grid_hw[0] // coarsest_hw[0]
        # A convolution: an average pool that shares its input with a quantised one is miscompiled by some engines.
        self.register_buffer(
            "mean", torch.full((channels, 1, self.cells, self.cells), self.cells**-2.0), persistent=False
        )
        rows, columns = (
            torch.from_numpy(upsampling_matrix(size, cells)).float()
            for size, cells in zip(grid_hw, coarsest_hw, strict=True)
        )
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns.T.contiguous(), persistent=False)

    def down(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → on the coarsest grid."""
        kernel = self.get_buffer("mean")
        return x if self.cells == 1 else F.conv2d(x, kernel, stride=self.cells, groups=len(kernel))

    def up(self, x: Tensor) -> Tensor:
        """(N, C, h, w) of the coarsest grid → on the scale's."""
        return x if self.cells == 1 else self.get_buffer("rows") @ (x @ self.get_buffer("columns"))


class CrossScale(nn.Module):
    """Subnet of the fusion: all scales meet on the coarsest grid, and what they learn there is added to each.

    Args:
        channels: Of the parts of the scales that it sees, the finest first.
        grids_hw: Height and width of each scale; the last divides the others.
    """

    def __init__(self, channels: Sequence[int], grids_hw: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.channels, total = list(channels), sum(channels)
        self.rescaling = nn.ModuleList(
            Rescaling(each, grid, grids_hw[-1]) for each, grid in zip(channels, grids_hw, strict=True)
        )
        self.first = nn.Conv2d(total, total // _BOTTLENECK, 3, padding=1)
        self.norm = ChannelNorm(total // _BOTTLENECK)
        self.second = nn.Conv2d(total // _BOTTLENECK, total, 3, padding=1)
        self.factors = nn.ModuleList(nn.Conv2d(each, each, 3, padding=1) for each in channels)
        self.shifts = nn.ModuleList(nn.Conv2d(each, each, 3, padding=1) for each in channels)

    def forward(self, scales: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Parts of the scales (N, C, h, w) → s and t for the other parts, (N, C, h, w) each."""
        rescaling = [part for part in self.rescaling if isinstance(part, Rescaling)]
        together = torch.cat([part.down(x) for part, x in zip(rescaling, scales, strict=True)], 1)
        met = F.relu(self.second(F.relu(self.norm(self.first(together)))))
        learned = torch.split(met, self.channels, 1)
        seen = [x + part.up(y) for part, x, y in zip(rescaling, scales, learned, strict=True)]
        return [(s(x), t(x)) for s, t, x in zip(self.factors, self.shifts, seen, strict=True)]


class FusionCoupling(nn.Module):
    """``y₁ = x₁ e(s(x₂)) + t(x₂)``, then ``y₂ = x₂ e(s(y₁)) + t(y₁)``, ``log e(s) = 0.636 c atan(s / c)``.

    The channels of each scale are permuted first; s and t see the parts of all scales.

    Args:
        channels: Of the scales, even, the finest first.
        grids_hw: Height and width of each scale.
        clamp: c.
    """

    def __init__(self, channels: Sequence[int], grids_hw: Sequence[tuple[int, int]], clamp: float) -> None:
        super().__init__()
        self.clamp, halves = clamp, [each // 2 for each in channels]
        self.of_second, self.of_first = CrossScale(halves, grids_hw), CrossScale(halves, grids_hw)
        for index, each in enumerate(channels):
            self.register_buffer(f"order_{index}", torch.randperm(each))

    def forward(self, scales: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Scales (N, C, h, w) → the same shapes, and the logarithm of the Jacobian's determinant, (N,)."""
        permuted = [x[:, self.get_buffer(f"order_{index}")] for index, x in enumerate(scales)]
        return self.couple(permuted)

    def couple(self, permuted: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """As `forward`, of scales whose channels are permuted already."""
        first, second = zip(*(x.chunk(2, 1) for x in permuted), strict=True)
        first, by_second = self._applied(first, self.of_second(second))
        second, by_first = self._applied(second, self.of_first(first))
        return [torch.cat(pair, 1) for pair in zip(first, second, strict=True)], by_second + by_first

    def inverse(self, scales: Sequence[Tensor]) -> list[Tensor]:
        """Scales of which `forward` makes these."""
        first, second = zip(*(y.chunk(2, 1) for y in scales), strict=True)
        second = self._taken_back(second, self.of_first(first))
        first = self._taken_back(first, self.of_second(second))
        whole = [torch.cat(pair, 1) for pair in zip(first, second, strict=True)]
        return [x[:, self.get_buffer(f"order_{index}").argsort()] for index, x in enumerate(whole)]

    def _applied(
        self, parts: Sequence[Tensor], coefficients: Sequence[tuple[Tensor, Tensor]]
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        log_factors = [self._log_factor(s) for s, _ in coefficients]
        moved = zip(parts, log_factors, coefficients, strict=True)
        log_determinants = [each.sum((1, 2, 3)) for each in log_factors]
        return tuple(x * e.exp() + t for x, e, (_, t) in moved), torch.stack(log_determinants).sum(0)

    def _taken_back(self, parts: Sequence[Tensor], coefficients: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, ...]:
        return tuple((y - t) * (-self._log_factor(s)).exp() for y, (s, t) in zip(parts, coefficients, strict=True))

    def _log_factor(self, s: Tensor) -> Tensor:
        return self.clamp * _ARCTANGENT * (s / self.clamp).atan()
