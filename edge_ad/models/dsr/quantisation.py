"""Vector quantisation: the nearest code of each cell, a gradient that passes it, and codes that follow averages."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Codebook", "FixedCodebook", "with_fixed_codes"]

_Network = TypeVar("_Network", bound=nn.Module)

_SMOOTHING = 1e-5
_DEAD_SHARE = 0.03  # of the mean use of a code


class Codebook(nn.Module):
    """Codes that latents are replaced by, as in VQ-VAE (van den Oord et al., 2017), trained by moving averages.

    The codes are buffers: no gradient reaches them. Two things are ours, as the photos of one product are few: the
    codes start as latents of the first batch, and a code that is hardly used starts again as a latent of the batch.

    Args:
        codes: How many, K.
        channels: Of a latent, C.
        decay: Of the moving averages.
    """

    def __init__(self, codes: int, channels: int, *, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("codes", torch.randn(codes, channels))
        self.register_buffer("uses", torch.zeros(codes))
        self.register_buffer("sums", torch.zeros(codes, channels))

    def distances(self, latents: Tensor) -> Tensor:
        """Squared distance of each cell to each code, less the cell's own square, which no comparison needs.

        One product of matrices and one addition, in float32 whatever surrounds it: a rounded distance is another code.

        Args:
            latents: (N, C, h, w).

        Returns:
            (N, K, h, w).
        """
        codes = self.get_buffer("codes")
        with _full_precision(latents):
            return F.conv2d(latents.to(codes.dtype), -2 * codes[:, :, None, None], codes.square().sum(1))

    def nearest(self, latents: Tensor) -> Tensor:
        """Index of the nearest code of each cell: (N, C, h, w) → int64 (N, h, w)."""
        return self.distances(latents).argmin(1)

    def entries(self, indices: Tensor) -> Tensor:
        """The codes of some indices: int64 (N, h, w) → (N, C, h, w)."""
        return F.embedding(indices, self.get_buffer("codes")).permute(0, 3, 1, 2)

    def forward(self, latents: Tensor) -> Tensor:
        """The nearest codes, (N, C, h, w); a gradient passes as if they were the latents (straight through)."""
        quantised = self.entries(self.nearest(latents))
        return latents + (quantised - latents).detach() if latents.requires_grad else quantised

    @torch.no_grad()
    def update(self, latents: Tensor, generator: torch.Generator) -> None:
        """Move each code towards the mean of the latents that it is nearest to.

        Args:
            latents: (N, C, h, w).
            generator: On the CPU; draws the latents that unused codes start from.
        """
        codes, uses, sums = (self.get_buffer(name) for name in ("codes", "uses", "sums"))
        rows = latents.to(codes.dtype).permute(0, 2, 3, 1).flatten(0, 2)
        if not uses.any():
            self._restart(torch.ones_like(uses, dtype=torch.bool), rows, generator)
        nearest = self.nearest(latents).flatten()
        counts = torch.bincount(nearest, minlength=len(codes)).to(uses)
        uses.mul_(self.decay).add_(counts, alpha=1 - self.decay)
        total = uses.sum()
        uses.copy_((uses + _SMOOTHING) / (total + len(codes) * _SMOOTHING) * total)
        sums.mul_(self.decay).index_add_(0, nearest, rows, alpha=1 - self.decay)
        codes.copy_(sums / uses[:, None])
        self._restart(uses < _DEAD_SHARE * total / len(codes), rows, generator)

    def _restart(self, dead: Tensor, rows: Tensor, generator: torch.Generator) -> None:
        """Let some codes start anew as latents that are drawn from ``rows`` (M, C), used as much as the mean code."""
        codes, uses, sums = (self.get_buffer(name) for name in ("codes", "uses", "sums"))
        chosen = rows[torch.randint(len(rows), (int(dead.sum()),), generator=generator).to(rows.device)]
        use = len(rows) * (1 - self.decay) / len(codes) if not uses.any() else float(uses.mean())
        codes[dead], uses[dead], sums[dead] = chosen, use, chosen * use


class FixedCodebook(nn.Module):
    """A codebook for deployment: distances are one 1×1 convolution with constant weights, which every engine has.

    Args:
        book: Trained; it is left as it is.
    """

    def __init__(self, book: Codebook) -> None:
        super().__init__()
        codes = book.get_buffer("codes").detach().clone()
        self.register_buffer("codes", codes)
        self.distances = nn.Conv2d(codes.shape[1], codes.shape[0], 1)
        self.distances.weight.data = -2 * codes[:, :, None, None]
        self.distances.bias = nn.Parameter(codes.square().sum(1))
        self.requires_grad_(False)

    def forward(self, latents: Tensor) -> Tensor:
        """The nearest codes, (N, C, h, w); the first one where several are equally near."""
        return F.embedding(self.distances(latents).argmin(1), self.get_buffer("codes")).permute(0, 3, 1, 2)


def with_fixed_codes(network: _Network) -> _Network:
    """A copy of a network whose codebooks are fixed; it gives the same numbers."""
    deployed = copy.deepcopy(network)
    for name, module in [*deployed.named_modules()]:
        if isinstance(module, Codebook):
            parent, _, child = name.rpartition(".")
            setattr(deployed.get_submodule(parent), child, FixedCodebook(module))
    return deployed


def _full_precision(tensor: Tensor) -> AbstractContextManager[object]:
    kind = tensor.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()
