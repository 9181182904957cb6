"""FiCo's distribution-specific compensation (DiSCo): what a student's level lacks of a picture's own style."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Compensation", "DynamicConv"]

_KERNELS = 4
_TEMPERATURE = 34.0  # the authors never lower it, so the four kernels count nearly alike
_NEGATIVE_SLOPE = 0.01
_VARIANCE_FLOOR = 1e-5


class DynamicConv(nn.Module):
    """3 × 3 convolution whose kernel is a mixture that the picture chooses (Chen et al., CVPR 2020).

    ``Σₖ aₖ (Wₖ ∗ x + bₖ)`` with ``a = softmax(z / 34)``, z from the mean of each channel. In evaluation mode the
    mixture is made of the results, not of the kernels: the same sum, with weights that are constants of the graph, for
    batches of any size. Training mixes the kernels, which takes half as long.

    Args:
        inputs: Channels that it reads.
        outputs: Channels that it makes.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        hidden = inputs // 4 + 1
        self.attention = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False), nn.ReLU(), nn.Conv2d(hidden, _KERNELS, 1)
        )
        self.kernels = nn.Conv2d(inputs, _KERNELS * outputs, 3, padding=1)
        for kernel in self.kernels.weight.chunk(_KERNELS):
            nn.init.kaiming_uniform_(kernel)
        assert self.kernels.bias is not None
        nn.init.zeros_(self.kernels.bias)
        for layer in (self.attention[0], self.attention[2]):
            assert isinstance(layer, nn.Conv2d)
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → (N, outputs, h, w)."""
        logits: Tensor = self.attention(x.mean((2, 3), keepdim=True))
        shares = F.softmax(logits / _TEMPERATURE, 1)
        return self._mixed_kernels(x, shares.flatten(1)) if self.training else self._mixed_results(x, shares)

    def _mixed_results(self, x: Tensor, shares: Tensor) -> Tensor:
        parts = zip(shares.chunk(_KERNELS, 1), self.kernels(x).chunk(_KERNELS, 1), strict=True)
        mixed: list[Tensor] = [share * part for share, part in parts]
        return sum(mixed[1:], start=mixed[0])

    def _mixed_kernels(self, x: Tensor, shares: Tensor) -> Tensor:
        """Each picture is a group of one convolution."""
        assert self.kernels.bias is not None
        kernels, biases = (torch.stack(x.chunk(_KERNELS)) for x in (self.kernels.weight, self.kernels.bias))
        weight, bias = torch.einsum("nk,koihw->noihw", shares, kernels), shares @ biases
        mixed = F.conv2d(x.flatten(0, 1)[None], weight.flatten(0, 1), bias.flatten(), padding=1, groups=len(x))
        return mixed.reshape(len(x), -1, *x.shape[2:])


class Compensation(nn.Module):
    """Four times dynamic convolution, instance norm and leaky ReLU, through a quarter of the channels.

    Args:
        channels: Of the level.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = (channels, channels // 2, channels // 4, channels // 2, channels)
        self.convs = nn.ModuleList(DynamicConv(a, b) for a, b in pairwise(widths))

    def forward(self, level: Tensor) -> Tensor:
        """(N, C, h, w) → what is added to it, the same shape."""
        for conv in self.convs:
            level = F.leaky_relu(_instance_norm(conv(level)), _NEGATIVE_SLOPE)
        return level


def _instance_norm(x: Tensor) -> Tensor:
    """Each channel of each picture to mean 0 and deviation 1; in float32, since it sums over all positions."""
    with torch.autocast(x.device.type, enabled=False):
        x = x.float() if x.dtype == torch.bfloat16 else x
        centred = x - x.mean((2, 3), keepdim=True)
        variance = centred.square().mean((2, 3), keepdim=True)
        return centred / (variance + _VARIANCE_FLOOR).sqrt()
