"""Round weights so that the error of one makes up for that of others, as far as their inputs go together.

GPTQ (Frantar et al. 2023, "Accurate post-training quantization for generative pre-trained transformers"), which rounds
one weight of each output after the other and lets those that are still to come take the error: the sum over the inputs
is what must be right, not the single weight.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["round_by_feedback"]

Columns = NDArray[np.float64]


def round_by_feedback(
    exact: Columns, moments: Columns, rounding: Callable[[Columns], Columns], *, damping: float
) -> Columns:
    """Round one input after the other, those that matter most first.

    Args:
        exact: float64 (outputs, inputs).
        moments: float64 (inputs, inputs), mean of the products of two inputs.
        rounding: Rounds the weights of an input, float64 (outputs,).
        damping: Added to the moments, as a share of their mean diagonal; the paper's is 0.01.

    Returns:
        float64 (outputs, inputs), all of them as ``rounding`` gives them.
    """
    order = np.argsort(-np.diag(moments), kind="stable")
    rest = exact[:, order]
    feedback = _feedback(moments[np.ix_(order, order)], damping)
    rounded = np.empty_like(rest)
    for index in range(rest.shape[1]):
        rounded[:, index] = rounding(rest[:, index])
        error = (rest[:, index] - rounded[:, index]) / feedback[index, index]
        rest[:, index:] -= np.outer(error, feedback[index, index:])
    restored = np.empty_like(rounded)
    restored[:, order] = rounded
    return restored


def _feedback(moments: Columns, damping: float) -> Columns:
    """Row i: what an error of input i costs, and how the inputs after it make up for it; upper triangular."""
    mean = float(np.trace(moments)) / len(moments)
    damped = moments + np.eye(len(moments)) * (damping * mean or 1.0)
    return np.asarray(np.linalg.cholesky(np.linalg.inv(damped)).T, np.float64)
