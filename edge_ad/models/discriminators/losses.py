"""Losses of SimpleNet and its successors, term by term. Logits are high for anomalies."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "boundary_contrast",
    "compactness",
    "cross_entropy",
    "focal",
    "masked_truncated_l1",
    "radius_regularisation",
    "truncated_l1",
]


def truncated_l1(normal: Tensor, anomalous: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """SimpleNet's loss: ``E max(0, th + D(u))`` of normal and ``E max(0, th - D(u⁻))`` of anomalous patches.

    The paper scores normality, so its signs are the other way round; it has th⁺ = th⁻ = 0.5.

    Args:
        normal: Logits of normal patches, any shape.
        anomalous: Logits of synthesised patches, any shape.
        margin: th.

    Returns:
        The two means.
    """
    return F.relu(margin + normal).mean(), F.relu(margin - anomalous).mean()


def masked_truncated_l1(logits: Tensor, anomalous: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """SuperSimpleNet's L1: `truncated_l1` of positions that a mask tells apart; 0 where there is none of a kind.

    Args:
        logits: Logits of positions, any shape.
        anomalous: 1 for anomalous and 0 for normal positions, of the same shape.
        margin: th.

    Returns:
        The means over normal and over anomalous positions.
    """
    above, below = F.relu(margin + logits) * (1 - anomalous), F.relu(margin - logits) * anomalous
    count = anomalous.sum()
    return above.sum() / (anomalous.numel() - count).clamp_min(1), below.sum() / count.clamp_min(1)


def focal(logits: Tensor, targets: Tensor, focus: float) -> Tensor:
    """Focal loss (Lin et al. 2017) without class weights: mean of ``(1 - p_t)^γ · BCE``.

    Args:
        logits: Any shape.
        targets: 0 or 1, of the same shape.
        focus: γ; 0 leaves cross-entropy.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    wrong = torch.sigmoid(torch.where(targets > 0.5, -logits, logits))  # 1 - p_t
    return (wrong.pow(focus) * entropy).mean() if logits.numel() else logits.sum()


def cross_entropy(logits: Tensor, *, anomalous: bool) -> Tensor:
    """Mean binary cross-entropy of ``sigmoid(logits)`` with 1 for anomalous and 0 for normal patches.

    PBAS eq. 8 and 9, the terms of eq. 5 of boundary shuffling.
    """
    return F.softplus(-logits if anomalous else logits).mean()


def compactness(distance: Tensor, radius: Tensor, tightness: float) -> Tensor:
    """Boundary shuffling eq. 6: ``E max(0, d(u) - λ_c r)``.

    Args:
        distance: d(u), distance of normal patches to their centre.
        radius: r of the same patches.
        tightness: λ_c.
    """
    return F.relu(distance - tightness * radius).mean()


def boundary_contrast(normal: Tensor, nudged: Tensor, radius: Tensor, margin: float) -> Tensor:
    """Boundary shuffling eq. 7: ``E max(0, m r + d(u) - d(u_out))``.

    Args:
        normal: d(u), distance of normal patches to their centre.
        nudged: d(u_out) of what was synthesised from them.
        radius: r of the same patches.
        margin: m.
    """
    return F.relu(margin * radius + normal - nudged).mean()


def radius_regularisation(
    radii: Tensor, target: Tensor | float, *, mean_weight: float, variation_weight: float
) -> Tensor:
    """Boundary shuffling eq. 8: ``β_mean |mean r - r_0| + β_tv TV(r)``, the variation as a mean over neighbours.

    Args:
        radii: (N, h, w).
        target: r_0.
        mean_weight: β_mean.
        variation_weight: β_tv.
    """
    down, right = radii.diff(dim=1).abs(), radii.diff(dim=2).abs()
    variation = sum((part.mean() for part in (down, right) if part.numel()), radii.new_zeros(()))
    return mean_weight * (radii.mean() - torch.as_tensor(target)).abs() + variation_weight * variation
