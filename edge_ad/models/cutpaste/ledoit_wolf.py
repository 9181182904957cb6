"""Covariance shrunk towards a multiple of the identity, by as much as minimises the expected error.

Ledoit & Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004. With S the covariance
of n centred samples x of p dimensions and μ = tr S / p,

    Σ = (1 - ρ) S + ρ μ I,   ρ = min(b, d) / d,   d = |S - μ I|² / p,   b = (Σ |x|⁴ / n - |S|²) / (n p).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["ledoit_wolf"]


def ledoit_wolf(centred: Iterable[Tensor]) -> tuple[Tensor, float]:
    """Shrunk covariance of samples that come in parts.

    Args:
        centred: Parts (n, p) of the samples, of zero mean together.

    Returns:
        float64 (p, p), and ρ in [0, 1]; samples that are all alike have ρ = 0.

    Raises:
        ValueError: There is no part.
    """
    count, second, fourth = 0, None, 0.0
    for part in centred:
        samples = part.double()
        product = samples.T @ samples
        second = product if second is None else second + product
        fourth += float(samples.square().sum(1).square().sum())
        count += len(samples)
    if second is None:
        raise ValueError("there are no samples")
    covariance, dimensions = second / count, len(second)
    mean = covariance.diagonal().mean()
    identity = mean * torch.eye(dimensions, dtype=covariance.dtype, device=covariance.device)
    distance = float((covariance - identity).square().sum()) / dimensions
    error = (fourth / count - float(covariance.square().sum())) / (count * dimensions)
    shrinkage = max(0.0, min(error, distance)) / distance if distance > 0 else 0.0
    return (1 - shrinkage) * covariance + shrinkage * identity, shrinkage
