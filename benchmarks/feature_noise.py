"""Signal to noise of features in another arithmetic, on good photos and under simulated defects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edge_ad.data.pseudo_defects import PseudoDefects

__all__ = ["NoiseOnPhotos", "Whitened"]

_REGULARISATION = 1e-3  # of the mean variance

Features = NDArray[np.float32]
Photos = NDArray[np.uint8]


class Whitened:
    """The space where the signal of all positions has unit covariance, as distances see it.

    Args:
        exact: float32 (N, C, h, w), features of N photos; the signal is how they differ at a position.
    """

    def __init__(self, exact: Features) -> None:
        signal = _by_patch(exact - exact.mean(0))
        covariance = signal.T @ signal / len(signal)
        covariance += np.eye(len(covariance)) * (_REGULARISATION * np.trace(covariance) / len(covariance))
        self._root = np.linalg.cholesky(np.linalg.inv(covariance))
        self._power = float(np.square(signal @ self._root).mean())

    def decibels(self, noise: Features, at: NDArray[np.bool_] | None = None) -> float:
        """Signal of the good photos over noise (N, C, h, w): where ``at``, bool (N, h, w), says, or everywhere."""
        patches = _by_patch(noise)
        chosen = patches if at is None else patches[at.ravel()]
        return float(10 * np.log10(self._power / np.square(chosen @ self._root).mean()))


@dataclass(frozen=True)
class NoiseOnPhotos:
    """Compares arithmetic on the same photos, with and without simulated defects.

    Attributes:
        good: uint8 (N, H, W, 3), photos that nothing was calibrated on.
        exact: Photos → features in FP32, float32 (N, C, h, w).
    """

    good: Photos
    exact: Callable[[Photos], Features]

    def decibels(self, rounded: Callable[[Photos], Features]) -> tuple[float, float]:
        """Signal to noise of other features on the good photos, and under the defects.

        What is the same in all good photos is no noise: what is fitted on the features takes it away.
        """
        noise = rounded(self.good) - self._exact_good
        shared = noise.mean(0)
        painted, covered = self._defective
        under = rounded(painted) - self._exact_painted - shared
        return self._space.decibels(noise - shared), self._space.decibels(under, covered)

    @cached_property
    def _exact_good(self) -> Features:
        return self.exact(self.good)

    @cached_property
    def _exact_painted(self) -> Features:
        return self.exact(self._defective[0])

    @cached_property
    def _space(self) -> Whitened:
        return Whitened(self._exact_good)

    @cached_property
    def _defective(self) -> tuple[Photos, NDArray[np.bool_]]:
        """Photos with a defect each, and bool (N, h, w), positions more than half covered by it."""
        painted, masks = PseudoDefects(0).apply(self.good)
        height, width = self._exact_good.shape[2:]
        tiles = masks.reshape(len(masks), height, masks.shape[1] // height, width, masks.shape[2] // width)
        return painted, np.asarray(tiles.mean((2, 4)) > 0.5)


def _by_patch(values: Features) -> NDArray[np.float64]:
    return values.astype(np.float64).transpose(0, 2, 3, 1).reshape(-1, values.shape[1])
