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
_TIE = 2.0**-12  # of the mean square of codes about their mean: thousands of times what float32 rounds a distance by


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
        All is measured from the mean code, as far from it squares would be rounded by more than codes are apart.

        Args:
            latents: (N, C, h, w).

        Returns:
            (N, K, h, w).
        """
        centre, codes = self._centred()
        with _full_precision(latents):
            moved = latents.to(codes.dtype) - centre[:, None, None]
            return F.conv2d(moved, -2 * codes[:, :, None, None], codes.square().sum(1))

    def _centred(self) -> tuple[Tensor, Tensor]:
        """The mean code (C,), and the codes about it (K, C)."""
        codes = self.get_buffer("codes")
        centre = codes.mean(0)
        return centre, codes - centre

    def nearest(self, latents: Tensor) -> Tensor:
        """Index of the nearest code of each cell: (N, C, h, w) → int64 (N, h, w)."""
        return self.distances(latents).argmin(1)

    def entries(self, indices: Tensor) -> Tensor:
        """The codes of some indices: int64 (N, h, w) → (N, C, h, w)."""
        return F.embedding(indices, self.get_buffer("codes")).permute(0, 3, 1, 2)

    def forward(self, latents: Tensor) -> Tensor:
        """The nearest codes, (N, C, h, w); a gradient passes as if they were the latents (straight through).

        Without a gradient, as `FixedCodebook` has them: where two are equally near, their mean.
        """
        if not latents.requires_grad:
            fixed: Tensor = FixedCodebook(self)(latents)
            return fixed
        return latents + (self.entries(self.nearest(latents)) - latents).detach()

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
    """A codebook for deployment: the nearest code, by two 1×1 convolutions with constant weights around a softmax.

    Which of two codes is nearer cannot be said where rounding decides: engines would choose differently, and what is
    computed from the code with them. So codes weigh ``softmax(-d / τ)``, with τ so small that all but such ties have
    one code alone, and so large that rounding moves the weights of a tie by a hundredth.

    Args:
        book: Trained; it is left as it is.
    """

    def __init__(self, book: Codebook) -> None:
        super().__init__()
        codes = book.get_buffer("codes").detach()
        centre = codes.mean(0)
        codes = codes - centre
        squares = codes.square().sum(1)
        tie = _TIE * squares.mean().clamp_min(torch.finfo(codes.dtype).tiny)
        self.register_buffer("centre", centre[:, None, None])
        self.scores = _pointwise(2 * codes / tie, -squares / tie)
        self.codes = _pointwise(codes.T, centre)

    def forward(self, latents: Tensor) -> Tensor:
        """(N, C, h, w) → the nearest codes, likewise."""
        with _full_precision(latents):
            centre = self.get_buffer("centre")
            codes: Tensor = self.codes(torch.softmax(self.scores(latents.to(centre.dtype) - centre), 1))
            return codes


def _pointwise(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """A 1×1 convolution with this weight (outputs, inputs) and bias (outputs,), which is not trained."""
    with torch.device("meta"):
        conv = nn.Conv2d(weight.shape[1], weight.shape[0], 1)
    conv.weight, conv.bias = nn.Parameter(weight[:, :, None, None].clone()), nn.Parameter(bias.clone())
    return conv.requires_grad_(False)


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
