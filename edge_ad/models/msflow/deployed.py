"""A trained flow as it is exported: the same z, without permutations, position codes and the mean of a layer norm.

The permutation of a block, with its affine map, is one 1×1 convolution, which engines take faster than a gather; that
of the fusion goes into the last one of each scale. The position's part of a convolution is a constant map. A layer norm
subtracts the mean over the channels, which a convolution whose kernels are centred has made zero already.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.models.msflow.coupling import Coupling
from edge_ad.models.msflow.flows import Latents, MultiScaleFlow

__all__ = ["FoldedCoupling", "FoldedFlow"]


class FoldedCoupling(nn.Module):
    """A block in its deployed form; its output's channels may be permuted once more.

    Args:
        block: Trained.
        code: Of the position, (1, condition, h, w).
        order: int64 (C,), the permutation that follows.
    """

    def __init__(self, block: Coupling, code: Tensor, order: Tensor | None = None) -> None:
        super().__init__()
        self.clamp, self.kept, self.changed, self.epsilon = block.clamp, block.kept, block.changed, block.norm.eps
        kernel, bias = block.first.weight.detach(), block.first.bias
        assert bias is not None
        kernel, bias = (part - part.mean(0, keepdim=True) for part in (kernel, bias.detach()))
        self.first = nn.Conv2d(block.kept, len(kernel), 3, padding=1, bias=False)
        self.first.weight = nn.Parameter(kernel[:, : block.kept].contiguous(), requires_grad=False)
        self.second = _scaled(block.second, block.damping)
        of_code = F.conv2d(code, kernel[:, block.kept :], bias, padding=1)
        gain, offset = block.gain().detach(), block.offset.detach()
        order = block.get_buffer("order") if order is None else block.get_buffer("order")[order]
        mixing = torch.diag(gain.flatten())[order]
        for name, value in (
            ("of_code", of_code),
            ("norm_gain", block.norm.weight.detach()[None, :, None, None]),
            ("norm_offset", block.norm.bias.detach()[None, :, None, None]),
            ("mixing", mixing[:, :, None, None]),
            ("offset", offset.flatten()[order]),
        ):
            self.register_buffer(name, value.clone())

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → the same shape."""
        kept, changed = x[:, : self.kept], x[:, self.kept :]
        hidden = self.first(kept) + self.get_buffer("of_code")
        deviation = (hidden.square().mean(1, keepdim=True) + self.epsilon).sqrt()
        hidden = hidden / deviation * self.get_buffer("norm_gain") + self.get_buffer("norm_offset")
        given = self.second(F.relu(hidden))
        log_factor, shift = self.clamp * given[:, : self.changed].tanh(), given[:, self.changed :]
        mixed = torch.cat([kept, changed * log_factor.exp() + shift], 1)
        return F.conv2d(mixed, self.get_buffer("mixing"), self.get_buffer("offset"))


def _scaled(layer: nn.Conv2d, factor: float) -> nn.Conv2d:
    scaled = copy.deepcopy(layer).requires_grad_(False)
    for part in scaled.parameters():
        part.mul_(factor)
    return scaled


class FoldedFlow(nn.Module):
    """The flow in its deployed form; its log-determinant, which no score needs, is 0.

    Args:
        flow: Trained.
    """

    def __init__(self, flow: MultiScaleFlow) -> None:
        super().__init__()
        self.fusion = flow.fusion
        scales = []
        for index, blocks in enumerate(flow.chains()):
            code, last = flow.get_buffer(f"code_{index}"), self.fusion.get_buffer(f"order_{index}")
            orders = [None] * (len(blocks) - 1) + [last]
            scales.append(nn.Sequential(*map(FoldedCoupling, blocks, [code] * len(blocks), orders)))
        self.parallel = nn.ModuleList(scales)

    def forward(self, scales: Sequence[Tensor]) -> Latents:
        """As `MultiScaleFlow`."""
        permuted = [blocks(x) for x, blocks in zip(scales, self.parallel, strict=True)]
        fused, _ = self.fusion.couple(permuted)
        return Latents(fused, fused[0].new_zeros(len(fused[0])))
