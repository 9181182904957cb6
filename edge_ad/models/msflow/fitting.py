"""Training of a flow that is a part of another detector, and is fitted as a whole before that one trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from edge_ad.models.msflow.flows import MultiScaleFlow, negative_log_likelihood, with_noise

__all__ = ["fit_flow"]

_BATCH = 4
_WARM_UP = 0.1
_GRADIENT_NORM = 2.0


def fit_flow(
    flow: MultiScaleFlow,
    scales_of: Callable[[Tensor], Sequence[Tensor]],
    images: int,
    *,
    steps: int,
    learning_rate: float,
    noise: float,
    seed: int,
) -> None:
    """Train a flow in place, to make good photos likely; it ends in evaluation mode, without gradients.

    Args:
        flow: On the CPU.
        scales_of: Indices int64 (n,) of images → their feature maps, (n, C, h, w) for each scale.
        images: How many there are.
        steps: Steps of four images, or of all where there are fewer.
        learning_rate: Peak; one cycle.
        noise: Deviation of the noise that is added to what the flow sees.
        seed: The order of the images and the noise follow from it.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.enable_grad():
        flow.train().requires_grad_(True)
        optimiser = torch.optim.Adam(flow.parameters(), lr=learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, steps, pct_start=_WARM_UP)
        for _ in range(steps):
            chosen = torch.randperm(images, generator=generator)[:_BATCH]
            loss = negative_log_likelihood(flow(with_noise(scales_of(chosen), noise, generator)))
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(flow.parameters(), _GRADIENT_NORM)
            optimiser.step()
            schedule.step()
    flow.eval().requires_grad_(False)
