"""A power law through measured costs: least squares on logarithms, with an interval of the exponent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["PowerLaw", "fit_power_law"]

# 97.5 % quantiles of Student's t with 1, 2, … degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
_NORMAL = 1.96


@dataclass(frozen=True)
class PowerLaw:
    """``cost = factor · size ** exponent``.

    Attributes:
        factor: Cost at size 1.
        exponent: The exponent.
        low: Lower end of its 95 % interval.
        high: Upper end.
    """

    factor: float
    exponent: float
    low: float
    high: float


def fit_power_law(points: Sequence[tuple[float, float]]) -> PowerLaw:
    """Fit sizes and costs.

    Args:
        points: (size, cost) each, all above 0; at least three, and at least two different sizes.

    Raises:
        ValueError: Too few points, or one that is not above 0.
    """
    values = np.asarray(points, np.float64)
    if len(values) < 3 or (values <= 0).any() or len(set(values[:, 0])) < 2:
        raise ValueError("a power law needs three points above 0, of at least two sizes")
    x, y = np.log(values).T
    offset = x - x.mean()
    exponent = float(offset @ (y - y.mean()) / (offset @ offset))
    residual = y - y.mean() - exponent * offset
    freedom = len(x) - 2
    error = math.sqrt(float(residual @ residual) / freedom / float(offset @ offset))
    reach = error * (_T[freedom - 1] if freedom <= len(_T) else _NORMAL)
    return PowerLaw(math.exp(float(y.mean() - exponent * x.mean())), exponent, exponent - reach, exponent + reach)
