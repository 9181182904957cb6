"""The focal loss of DRAEM's segmentation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["focal_loss"]


def focal_loss(logits: Tensor, masks: Tensor, *, focusing: float = 2.0) -> Tensor:
    """``mean −(1 − p)^γ · ln p``, p being the probability of each pixel's true class (Lin et al., 2017, α = 1).

    Args:
        logits: float32 (N, 2, H, W): normal, anomalous.
        masks: (N, 1, H, W), 1 where anomalous, else 0.
        focusing: γ, at least 0; 0 is the cross-entropy.

    Returns:
        Scalar.
    """
    classes = torch.cat([1 - masks, masks], dim=1)
    log_probability = (F.log_softmax(logits, dim=1) * classes).sum(1)
    return -((1 - log_probability.exp()).clamp_min(0) ** focusing * log_probability).mean()
