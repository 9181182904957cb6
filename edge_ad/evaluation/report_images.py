"""Which test images a report shows: the ones from which a person sees what works, what fails, and how narrowly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_ad.evaluation.results import Evaluation

__all__ = ["ImageGroup", "choose_images"]

_MOST_CLEAREST = 8
_MOST_WRONG = 4
_MOST_NARROW = 2
_MOST_TYPICAL = 2

_Indices = NDArray[np.intp]


@dataclass(frozen=True)
class ImageGroup:
    """Test images that show the same thing.

    Attributes:
        title: What they show.
        indices: Rows of the evaluation, in the order to show them.
    """

    title: str
    indices: tuple[int, ...]


def choose_images(evaluation: Evaluation) -> tuple[ImageGroup, ...]:
    """Choose a few test images, none of them twice; groups without an image are left out.

    With a threshold: the clearest detections of each defect type, missed defects and the worst false alarms; where
    there are none of those, the narrowest decisions stand in. Without one: the extremes of both kinds of image.
    """
    by_score = np.argsort(evaluation.scores, kind="stable")
    is_defective = evaluation.labels[by_score]
    defective, good = by_score[is_defective], by_score[~is_defective]
    hardest = (_hardest_defects(evaluation, defective), _hardest_good(evaluation, good))
    shown = {index for group in hardest for index in group.indices}
    clearest = _clearest(evaluation, _without(_called(evaluation, defective), shown))
    groups = (
        ImageGroup("Clearest detections" if evaluation.decisions else "Highest-scored defects", clearest),
        *hardest,
        ImageGroup("Typical good parts", _typical(_without(good, shown))),
    )
    return tuple(group for group in groups if group.indices)


def _hardest_defects(evaluation: Evaluation, defective: _Indices) -> ImageGroup:
    if evaluation.decisions is None:
        return ImageGroup("Lowest-scored defects", _tuple(defective[:_MOST_NARROW]))
    missed = defective[evaluation.scores[defective] <= evaluation.decisions.threshold.value]
    if missed.size:
        return ImageGroup(f"Missed defects, {_share(missed)}", _tuple(missed[:_MOST_WRONG]))
    return ImageGroup("No defect missed; weakest detections", _tuple(defective[:_MOST_NARROW]))


def _hardest_good(evaluation: Evaluation, good: _Indices) -> ImageGroup:
    highest = good[::-1]
    if evaluation.decisions is None:
        return ImageGroup("Highest-scored good parts", _tuple(highest[:_MOST_NARROW]))
    alarms = _called(evaluation, highest)
    if alarms.size:
        return ImageGroup(f"False alarms, {_share(alarms)}", _tuple(alarms[:_MOST_WRONG]))
    return ImageGroup("No false alarm; highest-scored good parts", _tuple(highest[:_MOST_NARROW]))


def _share(found: _Indices) -> str:
    return f"the worst {_MOST_WRONG} of {found.size}" if found.size > _MOST_WRONG else f"all {found.size}"


def _clearest(evaluation: Evaluation, defective: _Indices) -> tuple[int, ...]:
    """The highest scores of each defect type, at most 8, types in alphabetical order; ``defective`` is sorted."""
    by_type: dict[str, list[int]] = {}
    for index in _tuple(defective[::-1]):
        by_type.setdefault(evaluation.samples[index].defect_type, []).append(index)
    each = {1: 3, 2: 2, 3: 2}.get(len(by_type), 1)
    # More types than rows: those whose best detection is clearest.
    names = sorted(list(by_type)[: _MOST_CLEAREST // each])
    return tuple(index for name in names for index in by_type[name][:each])


def _typical(good: _Indices) -> tuple[int, ...]:
    """The images around the median score; ``good`` is sorted by score."""
    start = max(0, (good.size - _MOST_TYPICAL) // 2)
    return _tuple(good[start : start + _MOST_TYPICAL])


def _called(evaluation: Evaluation, indices: _Indices) -> _Indices:
    if evaluation.decisions is None:
        return indices
    return indices[evaluation.scores[indices] > evaluation.decisions.threshold.value]


def _without(indices: _Indices, shown: set[int]) -> _Indices:
    return indices[~np.isin(indices, list(shown))] if shown else indices


def _tuple(indices: _Indices) -> tuple[int, ...]:
    return tuple(int(index) for index in indices)
