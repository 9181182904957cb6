"""Which test images to look at: the mistakes and the doubtful ones first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_ad.evaluation.results import Evaluation

__all__ = ["Chosen", "choose_samples"]


class Chosen(NamedTuple):
    """Test images that are worth a look for one reason.

    Attributes:
        reason: Heading, in words.
        indices: Indices into the samples of the evaluation, the most telling first.
    """

    reason: str
    indices: tuple[int, ...]


def choose_samples(evaluation: Evaluation, per_reason: int = 3) -> list[Chosen]:
    """Choose the images for a picture sheet: worst, most ambiguous, best; none of them twice.

    Args:
        evaluation: What was measured.
        per_reason: At most this many for each reason, >= 1.

    Returns:
        Good images with the highest scores, defective ones with the lowest, those nearest to the threshold, defective
        ones with the highest scores, good ones with the lowest; reasons without an image are left out.
    """
    taken: set[int] = set()
    groups = []
    for reason, order in _orders(evaluation):
        indices = tuple(index for index in order.tolist() if index not in taken)[:per_reason]
        taken.update(indices)
        if indices:
            groups.append(Chosen(reason, indices))
    return groups


def _orders(evaluation: Evaluation) -> Iterator[tuple[str, NDArray[np.intp]]]:
    scores, labels = evaluation.scores, evaluation.labels
    rising = np.argsort(scores, kind="stable")
    good, defective = rising[~labels[rising]], rising[labels[rising]]
    yield "Good parts with the highest scores", good[::-1]
    yield "Defects with the lowest scores", defective
    middle = _decision_point(evaluation)
    if middle is not None:
        nearest = np.argsort(np.abs(scores - middle), kind="stable")
        yield ("Closest to the threshold" if evaluation.decisions else "Between good and defective"), nearest
    yield "Defects with the highest scores", defective[::-1]
    yield "Good parts with the lowest scores", good


def _decision_point(evaluation: Evaluation) -> float | None:
    """The threshold; without one, halfway between the medians of good and defective; None where one is missing."""
    if evaluation.decisions is not None:
        return evaluation.decisions.threshold.value
    scores, labels = evaluation.scores, evaluation.labels
    if labels.all() or not labels.any():
        return None
    return float((np.median(scores[labels]) + np.median(scores[~labels])) / 2)
