"""Control charts: p chart of shares, X̄ chart and EWMA chart of means, with limits from a base period."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_ad.spc.run_rules import RunRule, Signal, find_signals

__all__ = ["LAMBDA", "Base", "ControlChart", "ewma_chart", "mean_base", "mean_chart", "share_base", "share_chart"]

LAMBDA = 0.2
"""Weight of the newest mean in the EWMA chart; 0.2 to 0.3 is usual (NIST/SEMATECH e-Handbook, 6.3.2.4)."""

_LIMIT = 3.0  # standard deviations
_D2 = 2 / math.sqrt(math.pi)  # mean distance of two normal values, in standard deviations: 1.128


@dataclass(frozen=True)
class Base:
    """What a base period says of the process.

    Attributes:
        centre: Share of NG, or mean score.
        sigma: Standard deviation of single values inside a subgroup: √(p(1 − p)) of a share.
        dispersion: How much the subgroups of the base period differ, over how much they should by ``sigma`` alone
            (Laney's σ_z); NaN for fewer than two subgroups.
        subgroups: How many it is computed from.
        outside: How many of them are beyond their own limits; a stable process has 0.27 % of them there.
        size: Frames, or scores, of all of them together.
    """

    centre: float
    sigma: float
    dispersion: float
    subgroups: int
    outside: int
    size: int


@dataclass(frozen=True)
class ControlChart:
    """Points with their limits; all arrays are float64 (N,).

    Attributes:
        values: What is plotted of each subgroup; NaN where it has none.
        sigma: Standard deviation of each, from the base period and the subgroup's size; NaN of exact limits.
        centre: Centre line.
        lower: Lower limit of each point.
        upper: Upper limit.
        signals: Patterns that chance makes rarely.
    """

    values: NDArray[np.float64]
    sigma: NDArray[np.float64]
    centre: float
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    signals: tuple[Signal, ...]


def share_base(defective: NDArray[np.int64], sizes: NDArray[np.int64]) -> Base:
    """The base of a p chart: p̄ = Σ defective / Σ sizes.

    Args:
        defective: int64 (N,) NG of each subgroup of the base period.
        sizes: int64 (N,) frames of it, each at least 1; N ≥ 1.
    """
    centre = float(defective.sum() / sizes.sum())
    sigma = math.sqrt(centre * (1 - centre))
    return _base(defective / sizes, sizes, centre, sigma)


def mean_base(means: NDArray[np.float64], variances: NDArray[np.float64], sizes: NDArray[np.int64]) -> Base | None:
    """The base of X̄ and EWMA charts: mean of all values, and pooled standard deviation over c₄.

    σ̂ = √(Σ (nᵢ − 1) sᵢ² / Σ (nᵢ − 1)) / c₄(Σ (nᵢ − 1) + 1)

    Args:
        means: (N,) of the subgroups of the base period.
        variances: (N,) with n − 1 in the denominator; not used of a subgroup of one value.
        sizes: int64 (N,) values in each, at least 1; N ≥ 1.

    Returns:
        The base; None where no subgroup has two values.
    """
    freedom = sizes - 1
    if not freedom.any():
        return None
    pooled = float(np.sum(freedom * np.where(freedom > 0, variances, 0.0)) / freedom.sum())
    sigma = math.sqrt(pooled) / _c4(int(freedom.sum()) + 1)
    return _base(means, sizes, float(np.average(means, weights=sizes)), sigma)


def share_chart(
    defective: NDArray[np.int64],
    sizes: NDArray[np.int64],
    base: Base,
    rules: tuple[RunRule, ...],
    *,
    with_dispersion: bool = False,
) -> ControlChart:
    """A p chart: p̄ ± 3 √(p̄(1 − p̄)/nᵢ), within [0, 1].

    Args:
        defective: int64 (N,) NG of each subgroup.
        sizes: int64 (N,) frames of it, at least 1.
        base: From `share_base`.
        rules: What counts as a signal.
        with_dispersion: Widen the limits by the base's dispersion: Laney's p′ chart (Quality Engineering 14(4), 2002).
    """
    sigma = _sigma(base, sizes, with_dispersion=with_dispersion)
    return _chart(defective / sizes, sigma, base.centre, rules, lowest=0.0, highest=1.0)


def mean_chart(
    means: NDArray[np.float64],
    sizes: NDArray[np.int64],
    base: Base,
    rules: tuple[RunRule, ...],
    *,
    with_dispersion: bool = False,
) -> ControlChart:
    """An X̄ chart: x̿ ± 3 σ̂/√nᵢ.

    Args:
        means: (N,) of the subgroups; NaN where one has no values.
        sizes: int64 (N,) values in each.
        base: From `mean_base`.
        rules: What counts as a signal.
        with_dispersion: Widen the limits by the base's dispersion.
    """
    return _chart(means, _sigma(base, sizes, with_dispersion=with_dispersion), base.centre, rules)


def ewma_chart(
    means: NDArray[np.float64],
    sizes: NDArray[np.int64],
    base: Base,
    rules: tuple[RunRule, ...],
    *,
    with_dispersion: bool = False,
    weight: float = LAMBDA,
) -> ControlChart:
    """An EWMA chart (Roberts 1959): zᵢ = λ x̄ᵢ + (1 − λ) zᵢ₋₁ from z₀ = x̿, with its exact variance at every point.

    var zᵢ = λ² σᵢ² + (1 − λ)² var zᵢ₋₁; for equal sizes that is σ² λ/(2 − λ) (1 − (1 − λ)²ⁱ). A subgroup without values
    is passed over. Its points follow each other closely by themselves, so that only the first rule is looked for.

    Args:
        means: (N,) of the subgroups; NaN where one has no values.
        sizes: int64 (N,) values in each.
        base: From `mean_base`.
        rules: What counts as a signal in the other charts.
        with_dispersion: Widen the limits by the base's dispersion.
        weight: λ, in (0, 1].
    """
    single = _sigma(base, sizes, with_dispersion=with_dispersion)
    values, sigma = np.full(len(means), np.nan), np.full(len(means), np.nan)
    level, variance = base.centre, 0.0
    for place in np.flatnonzero(np.isfinite(means)):
        level += weight * (means[place] - level)
        variance = (weight * single[place]) ** 2 + (1 - weight) ** 2 * variance
        values[place], sigma[place] = level, math.sqrt(variance)
    return _chart(values, sigma, base.centre, rules[:1])


def _chart(
    values: NDArray[np.float64],
    sigma: NDArray[np.float64],
    centre: float,
    rules: tuple[RunRule, ...],
    *,
    lowest: float = -math.inf,
    highest: float = math.inf,
) -> ControlChart:
    lower, upper = np.maximum(centre - _LIMIT * sigma, lowest), np.minimum(centre + _LIMIT * sigma, highest)
    signals = find_signals(_standardised(values, sigma, centre), rules)
    return ControlChart(values, sigma, centre, lower, upper, signals)


def _base(values: NDArray[np.float64], sizes: NDArray[np.int64], centre: float, sigma: float) -> Base:
    z = _standardised(values, sigma / np.sqrt(sizes), centre)
    outside = int(np.count_nonzero(np.abs(z) > _LIMIT))
    z = z[np.isfinite(z)]
    dispersion = float(np.mean(np.abs(np.diff(z)))) / _D2 if len(z) > 1 else math.nan
    return Base(centre, sigma, dispersion, len(values), outside, int(sizes.sum()))


def _sigma(base: Base, sizes: NDArray[np.int64], *, with_dispersion: bool) -> NDArray[np.float64]:
    """Standard deviation of what a subgroup of each size shows; NaN for an empty one."""
    factor = base.dispersion if with_dispersion and math.isfinite(base.dispersion) else 1.0
    return base.sigma * factor / np.sqrt(np.where(sizes > 0, sizes, np.nan))


def _standardised(values: NDArray[np.float64], sigma: NDArray[np.float64], centre: float) -> NDArray[np.float64]:
    """Distances from the centre in standard deviations; of a spread of nothing, infinite or 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (values - centre) / sigma
    return np.where((values == centre) & ~np.isnan(sigma), 0.0, z)


def _c4(values: int) -> float:
    """Mean of the sample standard deviation of that many normal values, over the true one."""
    half = values / 2
    return math.sqrt(2 / (values - 1)) * math.exp(math.lgamma(half) - math.lgamma(half - 0.5))
